"""The Triton model repository: a configuration that protobuf reads, networks that fit it, versions."""

from __future__ import annotations

import shutil
from typing import Any

import onnx
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from typer.testing import CliRunner

from nnunet_losses.cli import app
from nnunet_losses.export.errors import ExportError
from nnunet_losses.export.triton import model_name, write_triton
from nnunet_losses.serve.bundle import Bundle

INT32, INT64, STRING, MESSAGE, ENUM, UINT32, UINT64 = 5, 3, 9, 11, 14, 13, 4
# what is used of inference.ModelConfig (model_config.proto of triton-inference-server/common):
# message -> field -> (number, type, is it repeated, name of the type)
SCHEMA: dict[str, dict[str, tuple[int, int, bool, str | None]]] = {
    "ModelInput": {"name": (1, STRING, False, None), "data_type": (2, ENUM, False, "DataType"),
                   "dims": (4, INT64, True, None)},
    "ModelOutput": {"name": (1, STRING, False, None), "data_type": (2, ENUM, False, "DataType"),
                    "dims": (3, INT64, True, None)},
    "Latest": {"num_versions": (1, UINT32, False, None)},
    "ModelVersionPolicy": {"latest": (1, MESSAGE, False, "Latest")},
    "ModelInstanceGroup": {"count": (2, INT32, False, None), "kind": (4, ENUM, False, "Kind")},
    "ModelDynamicBatching": {"preferred_batch_size": (1, INT32, True, None),
                             "max_queue_delay_microseconds": (2, UINT64, False, None)},
    "ModelParameter": {"string_value": (1, STRING, False, None)},
    "ParametersEntry": {"key": (1, STRING, False, None), "value": (2, MESSAGE, False, "ModelParameter")},
    "ModelConfig": {"name": (1, STRING, False, None), "platform": (2, STRING, False, None),
                    "max_batch_size": (4, INT32, False, None), "input": (5, MESSAGE, True, "ModelInput"),
                    "output": (6, MESSAGE, True, "ModelOutput"),
                    "version_policy": (3, MESSAGE, False, "ModelVersionPolicy"),
                    "instance_group": (7, MESSAGE, True, "ModelInstanceGroup"),
                    "dynamic_batching": (11, MESSAGE, False, "ModelDynamicBatching"),
                    "parameters": (14, MESSAGE, True, "ParametersEntry")},
}  # fmt: skip
ENUMS = {"DataType": {"TYPE_INVALID": 0, "TYPE_FP32": 11}, "Kind": {"KIND_AUTO": 0, "KIND_GPU": 1}}


def model_config() -> Any:
    """The message class, made of the table above."""
    file = descriptor_pb2.FileDescriptorProto(name="triton_subset.proto", package="subset", syntax="proto3")
    for name, values in ENUMS.items():
        enum = file.enum_type.add(name=name)
        for value, number in values.items():
            enum.value.add(name=value, number=number)
    for name, fields in SCHEMA.items():
        message = file.message_type.add(name=name)
        for field, (number, kind, repeated, type_name) in fields.items():
            entry = message.field.add(name=field, number=number, type=kind, label=3 if repeated else 1)
            if type_name is not None:
                entry.type_name = f".subset.{type_name}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("subset.ModelConfig"))


def parsed(model):
    return text_format.Parse((model / "config.pbtxt").read_text(), model_config()())


def shapes(values):
    return {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in values
    }


def test_the_configuration_fits_the_network(plain, tmp_path):
    bundle = Bundle.load(plain.bundle)
    (model,) = write_triton(bundle, tmp_path / "repository")
    config = parsed(model)
    assert config.name == model.name == "bundle_3d_fullres_fold_0"
    network = onnx.load(model / "1" / "model.onnx")
    declared = {tensor.name: ["batch", *tensor.dims] for tensor in (*config.input, *config.output)}
    assert declared == shapes([*network.graph.input, *network.graph.output])
    assert {tensor.data_type for tensor in (*config.input, *config.output)} == {11}
    assert (config.platform, config.max_batch_size) == ("onnxruntime_onnx", 8)
    assert list(config.dynamic_batching.preferred_batch_size) == [8]
    told = {entry.key: entry.value.string_value for entry in config.parameters}
    assert told["bundle_sha256"] == bundle.sha256
    assert bundle.description.members[0].tiling.model_validate_json(told["tiling"]) == (
        bundle.description.members[0].tiling
    )
    assert {path.name for path in model.iterdir()} == {"config.pbtxt", "1"}


def test_a_batch_gives_what_single_tiles_give(plain, tmp_path):
    """Triton joins requests along the first axis."""
    import numpy as np
    import onnxruntime

    (model,) = write_triton(Bundle.load(plain.bundle), tmp_path)
    session = onnxruntime.InferenceSession(model / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    config = parsed(model)
    tiles = np.random.default_rng(0).normal(size=(3, *config.input[0].dims)).astype(np.float32)
    names = [output.name for output in config.output]
    whole = session.run(names, {config.input[0].name: tiles})
    for index in range(3):
        single = session.run(names, {config.input[0].name: tiles[index : index + 1]})
        for one, two, output in zip(whole, single, config.output, strict=True):
            assert two.shape == (1, *output.dims)
            np.testing.assert_allclose(one[index], two[0], atol=1e-4)


def test_versions(plain, tmp_path):
    bundle = Bundle.load(plain.bundle)
    (model,) = write_triton(bundle, tmp_path)
    write_triton(bundle, tmp_path)
    assert sorted(path.name for path in model.iterdir() if path.is_dir()) == ["1"]
    (model / "1" / "model.onnx").write_bytes(b"an earlier network")
    write_triton(bundle, tmp_path)
    assert sorted(path.name for path in model.iterdir() if path.is_dir()) == ["1", "2"]
    config = model / "config.pbtxt"
    config.write_text(config.read_text().replace("dims: [ 1,", "dims: [ 2,"))
    with pytest.raises(ExportError, match="already in the Triton repository"):
        write_triton(bundle, tmp_path)


def test_names_that_triton_takes():
    from types import SimpleNamespace as Named

    name = model_name('../b "x".bundle', Named(name="3d_fullres"), Named(name="all"))
    assert name == "b_x_3d_fullres_fold_all"


def test_on_the_command_line(plain, tmp_path):
    done = CliRunner().invoke(app, ["triton", str(plain.bundle), str(tmp_path / "repository")])
    assert done.exit_code == 0, done.output
    assert done.stdout.split() == [str(tmp_path / "repository" / "bundle_3d_fullres_fold_0")]
    archive = shutil.make_archive(str(tmp_path / "b"), "zip", plain.bundle)
    assert CliRunner().invoke(app, ["triton", archive, str(tmp_path / "other")]).exit_code == 0
    (tmp_path / "file").touch()
    for wrong in ([tmp_path, tmp_path / "x"], [plain.bundle, tmp_path / "file"], [plain.bundle, "/proc/x"]):
        assert CliRunner().invoke(app, ["triton", *map(str, wrong)]).exit_code == 2


def test_together_with_the_export(plain, tmp_path):
    arguments = ["export", plain.model, tmp_path / "b.zip", "--triton", tmp_path / "repository"]
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "repository" / "b_3d_fullres_fold_0" / "1" / "model.onnx").is_file()
