"""The whole road against nnU-Net's own predictor, with the networks as ONNX files."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from scipy import ndimage

from nnunet_losses.serve.backends import NetworkOpener
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.pipeline.segment import Segmenter
from tests.models import ModelFolderSpec, write_model_folder

from .reference import (
    as_functions,
    export_network,
    make_image,
    make_predictor,
    run_reference,
    write_bundle,
    write_linear_network,
)

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.backends import TileNetwork
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.schema import Member


MARGIN = 0.1
SMALL = ModelFolderSpec(patch_size=(8, 16, 8), features=(4, 8), folds=(0, 2), mirror_axes=(0, 2))
FLAT = ModelFolderSpec(patch_size=(24, 32), spacing=(1.0, 1.0), features=(4, 8))
REGIONS: dict[str, Any] = {
    "labels": {"background": 0, "whole": [1, 2], "core": [2]},
    "regions_class_order": (1, 2),
}
MODELS: dict[str, tuple[ModelFolderSpec, tuple[int, ...], tuple[float, float, float]]] = {
    "3D, two folds": (SMALL, (1, 14, 22, 13), (1.4, 0.8, 1.1)),
    "3D regions": (SMALL.but(**REGIONS, folds=(0,), mirror_axes=(1,)), (1, 14, 22, 13), (1.4, 0.8, 1.1)),
    "3D, ignore label": (
        SMALL.but(labels={"background": 0, "lesion": 1, "ignore": 2}, folds=(1,), mirror_axes=()),
        (1, 12, 18, 13),
        (1.0, 1.0, 1.0),
    ),
    "3D, coarse and transposed": (
        SMALL.but(spacing=(4.0, 1.0, 1.0), transpose_forward=(2, 0, 1), folds=(0,), mirror_axes=(0,)),
        (1, 23, 21, 9),
        (0.8, 1.1, 5.0),
    ),
    "3D, two channels, residual encoder": (
        SMALL.but(
            channels=("T1", "T2"),
            normalization=("ZScoreNormalization", "CTNormalization"),
            use_mask=(True, False),
            architecture="ResidualEncoderUNet",
            folds=(4,),
            mirror_axes=(),
        ),
        (2, 6, 18, 13),
        (1.5, 1.0, 1.0),
    ),
    "2D on a volume": (FLAT.but(folds=("all",)), (1, 5, 31, 22), (5.0, 0.8, 1.1)),
    "2D on a picture, regions, three folds": (
        FLAT.but(**REGIONS, folds=(0, 1, 2), mirror_axes=(0,)),
        (1, 1, 41, 52),
        (999.0, 0.9, 1.0),
    ),
}


def draw(shape: tuple[int, ...]) -> np.ndarray:
    """Smooth noise in a field of zeros."""
    rng = np.random.default_rng(11)
    data = 100 * ndimage.gaussian_filter(
        rng.standard_normal(shape), (0, *[min(2, n // 4) for n in shape[1:]])
    )
    data[..., :3] = 0
    return data


class Model:
    """A model folder, its bundle, and what nnU-Net makes of one image."""

    def __init__(self, folder: Path, name: str) -> None:
        self.spec, shape, spacing = MODELS[name]
        self.predictor = make_predictor(write_model_folder(folder / "model", self.spec), self.spec)
        self.root = folder / "bundle"
        self.image = make_image(draw(shape), spacing)
        self.expected = run_reference(self.predictor, self.spec, self.image)

    def bundle(self) -> Bundle:
        """The bundle, with networks that are no networks."""
        return Bundle.load(write_bundle(self.root, self.spec))

    def exported(self) -> Bundle:
        """The bundle, with the networks as ONNX files."""
        self.root.mkdir()
        for fold, weights in zip(self.spec.folds, self.predictor.list_of_parameters, strict=True):
            self.predictor.network.load_state_dict(weights)
            export_network(self.predictor.network, self.spec, self.root / f"fold_{fold}.onnx")
        return self.bundle()


@pytest.mark.parametrize("name", MODELS)
def test_the_same_network_gives_the_same_mask(name: str, tmp_path: Path) -> None:
    model = Model(tmp_path, name)
    segmenter = Segmenter(model.bundle(), networks=as_functions(model.predictor))
    preprocessed = segmenter.preprocess(model.image)
    np.testing.assert_allclose(preprocessed.data, model.expected.data, atol=1e-5)
    # the same logits: the same mask, whatever the margins
    np.testing.assert_array_equal(segmenter.mask(model.expected.logits, preprocessed), model.expected.mask)
    logits = segmenter.stitch(preprocessed).logits
    result = segmenter.segment(model.image).mask
    assert result.dtype == model.expected.mask.dtype
    assert len(np.unique(result)) > 1
    np.testing.assert_array_equal(logits, model.expected.logits)
    np.testing.assert_array_equal(result, model.expected.mask)


def near_margins(model: Model, segmenter: Segmenter) -> np.ndarray:
    """Voxels of the image where nnU-Net itself is undecided."""
    preprocessed = segmenter.preprocess(model.image)
    near = np.zeros(preprocessed.uncropped_shape, bool)
    near[preprocessed.box] = model.expected.margin() <= MARGIN
    return near.transpose(np.argsort(model.spec.transpose_forward))


@pytest.fixture(scope="module", params=["3D, two folds", "2D on a volume"])
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Model, Bundle]:
    model = Model(tmp_path_factory.mktemp("model"), request.param)
    return model, model.exported()


@pytest.fixture(scope="module")
def simple(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Image]:
    """A bundle with two cheap networks in ONNX files, and an image."""
    root = tmp_path_factory.mktemp("simple") / "bundle"
    root.mkdir()
    for fold, factor in zip(SMALL.folds, (50.0, 200.0), strict=False):
        write_linear_network(root / f"fold_{fold}.onnx", SMALL, [-factor, factor, factor / 2])
    return Bundle.load(write_bundle(root, SMALL)), make_image(draw((1, 14, 22, 13)), (1.4, 0.8, 1.1))


@pytest.mark.parametrize("backend", ["cpu", "openvino"])
def test_exported_networks_give_the_same_mask(exported: tuple[Model, Bundle], backend: Any) -> None:
    model, bundle = exported
    segmenter = Segmenter(bundle, backend=backend, threads=1)
    far = ~near_margins(model, segmenter)
    result = segmenter.segment(model.image)
    np.testing.assert_array_equal(result.mask[far], model.expected.mask[far])
    logits = segmenter.stitch(segmenter.preprocess(model.image)).logits.astype(np.float32)
    np.testing.assert_allclose(logits, model.expected.logits.astype(np.float32), atol=0.1, rtol=2e-3)


def test_what_a_segmentation_tells(simple: tuple[Bundle, Image]) -> None:
    seen: list[tuple[int, int]] = []
    segmenter = Segmenter(simple[0], threads=1)
    result = segmenter.segment(simple[1], progress=lambda *step: seen.append(step))
    tiles = len(segmenter.tiles(segmenter.preprocess(simple[1])))
    assert result.tiles == tiles
    assert result.forward_passes == tiles * 4 * 2
    assert seen[-1] == (2 * tiles, 2 * tiles)
    assert set(result.timings) == {"preprocess", "network", "stitch", "labels"}
    assert all(seconds >= 0 for seconds in result.timings.values())
    assert segmenter.provider == "OpenVINO CPU"
    assert segmenter.precision == "float32"


def test_networks_are_opened_once_and_when_needed(
    simple: tuple[Bundle, Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    segmenter = Segmenter(simple[0], backend="cpu", threads=1)
    opened: list[str] = []
    original = NetworkOpener.__call__

    def noted(opener: NetworkOpener, member: Member, fold: int) -> TileNetwork:
        opened.append(member.folds[fold].file.rpartition("/")[2])
        return original(opener, member, fold)

    monkeypatch.setattr(NetworkOpener, "__call__", noted)
    assert segmenter.provider == "CPUExecutionProvider"
    assert opened == ["fold_0.onnx"]
    first = segmenter.segment(simple[1])
    second = segmenter.segment(simple[1])
    assert opened == ["fold_0.onnx", "fold_2.onnx"]
    np.testing.assert_array_equal(first.mask, second.mask)


def test_functions_as_networks(tmp_path: Path) -> None:
    spec = SMALL.but(labels={"background": 0, "bright": 1}, folds=(0,))
    bundle = Bundle.load(write_bundle(tmp_path / "bundle", spec))
    image = make_image(draw((1, 14, 22, 13)), (1.0, 1.0, 1.0))
    segmenter = Segmenter(bundle, networks=[lambda tile: np.concatenate([-100 * tile, 100 * tile], axis=1)])
    preprocessed = segmenter.preprocess(image)
    data = preprocessed.data[0]
    mask = segmenter.segment(image).mask[preprocessed.box]
    clear = np.abs(data) > 0.05  # smaller logits vanish in float16 under the smallest weights, as in nnU-Net
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(mask[clear], data[clear] > 0)
    with pytest.raises(ValueError, match="2 networks for 1 folds"):
        Segmenter(bundle, networks=[np.copy, np.copy])


def test_progress_may_cancel(simple: tuple[Bundle, Image]) -> None:
    class Cancelled(Exception):
        pass

    def stop(done: int, _: int) -> None:
        if done == 3:
            raise Cancelled

    segmenter = Segmenter(simple[0], threads=1)
    with pytest.raises(Cancelled):
        segmenter.segment(simple[1], progress=stop)
    assert segmenter.segment(simple[1]).mask.any()


PROGRAM = """
import sys
import numpy as np
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.image import Geometry, Image
from nnunet_losses.serve.pipeline.segment import Segmenter
image = Image(np.load(sys.argv[2]), (1.4, 0.8, 1.1), Geometry(3, (1.1, 0.8, 1.4), (0,) * 3, (1,) * 9), "")
result = Segmenter(Bundle.load(sys.argv[1]), backend=sys.argv[3], threads=1).segment(image)
np.save(sys.argv[4], result.mask)
loaded = {name.partition(".")[0] for name in sys.modules}
print(*sorted(loaded & {"torch", "nnunetv2", "skimage", "acvl_utils", "batchgenerators", "pandas"}))
"""


@pytest.mark.parametrize("backend", ["cpu", "openvino"])
def test_prediction_loads_neither_torch_nor_nnunet(
    simple: tuple[Bundle, Image], tmp_path: Path, backend: str
) -> None:
    np.save(tmp_path / "image.npy", simple[1].data)
    arguments = [str(simple[0].root), str(tmp_path / "image.npy"), backend, str(tmp_path / "mask.npy")]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
    expected = Segmenter(simple[0], backend=backend, threads=1).segment(simple[1]).mask  # type: ignore[arg-type]
    np.testing.assert_array_equal(np.load(tmp_path / "mask.npy"), expected)
