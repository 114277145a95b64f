"""nnU-Net's postprocessing files are converted, and nothing else in them is run."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

from nnunet_losses.export.errors import ExportError, ExportRefused
from nnunet_losses.export.postprocessing import FUNCTION, read_postprocessing, refuse_postprocessing
from nnunet_losses.serve.pipeline.postprocess import postprocess
from nnunet_losses.serve.schema import KeepLargest

STEPS = {
    "a label": (1, (1,)),
    "NumPy's label": (np.int64(2), (2,)),
    "a small number of NumPy": (np.uint8(200), (200,)),
    "a big-endian number": (np.array([3], ">i4")[0], (3,)),
    "foreground labels": ([np.int64(1), np.int64(2), np.int64(3)], (1, 2, 3)),
    "a region": ((3, 1), (1, 3)),
    "labels and regions": ([(2, 3), 1, np.int64(3)], (1, 2, 3)),
}


def nnunets_function():
    from nnunetv2.postprocessing import remove_connected_components

    return getattr(remove_connected_components, FUNCTION)


def dump(path, functions, arguments, protocol=pickle.HIGHEST_PROTOCOL):
    path.write_bytes(pickle.dumps((functions, arguments), protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", [2, 4, pickle.HIGHEST_PROTOCOL])
@pytest.mark.parametrize("step", STEPS)
def test_pickle(tmp_path, step, protocol):
    given, values = STEPS[step]
    path = dump(tmp_path / "p.pkl", [nnunets_function()], [{"labels_or_regions": given}], protocol)
    assert read_postprocessing(path) == (KeepLargest(values=values),)


def test_order_background_and_none(tmp_path):
    arguments = [{"labels_or_regions": 2, "background_label": 1}, {"labels_or_regions": [1, 2]}]
    path = dump(tmp_path / "p.pkl", [nnunets_function()] * 2, arguments)
    assert read_postprocessing(path) == (KeepLargest(values=(2,), background=1), KeepLargest(values=(1, 2)))
    assert read_postprocessing(dump(tmp_path / "none.pkl", [], [])) == ()


def test_json(tmp_path):
    arguments = [{"labels_or_regions": [1, 2]}, {"labels_or_regions": [[2, 3]]}]
    content = {"postprocessing_fns": [FUNCTION] * 2, "postprocessing_kwargs": arguments}
    (tmp_path / "p.json").write_text(json.dumps(content))
    steps = read_postprocessing(tmp_path / "p.json")
    assert steps == (KeepLargest(values=(1, 2)), KeepLargest(values=(2, 3)))


def own_function(segmentation):
    return segmentation


@pytest.mark.parametrize("function", [own_function, os.system, partial(print), np.zeros, eval])
def test_other_functions_are_refused_by_name(tmp_path, function):
    path = dump(tmp_path / "p.pkl", [function], [{"labels_or_regions": 1}])
    with pytest.raises(ExportRefused) as refused:
        read_postprocessing(path)
    named = getattr(function, "__name__", "partial")
    assert f".{named}:" in str(refused.value)


class Bomb:
    def __reduce__(self):
        return os.system, ("touch boom",)


def test_hostile_pickles_run_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExportRefused, match="system"):
        read_postprocessing(dump(tmp_path / "p.pkl", [nnunets_function()], [{"labels_or_regions": Bomb()}]))
    assert not (tmp_path / "boom").exists()


@pytest.mark.parametrize(("arguments", "reason"), [
    ({"labels_or_regions": 1, "connectivity": 1}, "connectivity"),
    ({}, "arguments []"),
    ({"labels_or_regions": []}, "labels []"),
    ({"labels_or_regions": "lesion"}, "'lesion'"),
    ({"labels_or_regions": 1, "background_label": -1}, "background -1"),
])  # fmt: skip
def test_other_arguments_are_refused(tmp_path, arguments, reason):
    with pytest.raises(ExportRefused) as refused:
        read_postprocessing(dump(tmp_path / "p.pkl", [nnunets_function()], [arguments]))
    assert reason in str(refused.value)


def test_backgrounds_beyond_a_byte_are_refused():
    with pytest.raises(ExportRefused, match="300"):
        refuse_postprocessing([KeepLargest(values=(1,), background=300)])


@pytest.mark.parametrize("content", [
    b"", b"no pickle", pickle.dumps(3), pickle.dumps(([1], [])),
    pickle.dumps((["f"], [{"labels_or_regions": np.float64(1)}])),
])  # fmt: skip
def test_damaged_files(tmp_path, content):
    (tmp_path / "p.pkl").write_bytes(content)
    with pytest.raises(ExportError, match="cannot be read as nnU-Net's postprocessing"):
        read_postprocessing(tmp_path / "p.pkl")


def test_missing_and_damaged_json(tmp_path):
    (tmp_path / "p.json").write_text('{"input_folder": 1}')
    for path in (tmp_path / "p.json", tmp_path / "absent.pkl"):
        with pytest.raises(ExportError, match="cannot be read"):
            read_postprocessing(path)


def test_files_are_what_nnunets_command_writes(tmp_path):
    """From mask files to mask files, with the command and the pickle of nnU-Net."""
    import SimpleITK as sitk

    masks = tmp_path / "masks"
    masks.mkdir()
    mask = (np.random.default_rng(0).random((9, 10, 11)) > 0.75).astype(np.uint8)
    mask[:, :, 5:] *= 2
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(masks / "case.nii.gz"))
    (masks / "plans.json").write_text(json.dumps({"image_reader_writer": "SimpleITKIO"}))
    (masks / "dataset.json").write_text(json.dumps({"file_ending": ".nii.gz"}))
    arguments = [{"labels_or_regions": [np.int64(1), np.int64(2)]}, {"labels_or_regions": np.int64(2)}]
    path = dump(tmp_path / "p.pkl", [nnunets_function()] * 2, arguments)
    (tmp_path / "run.py").write_text(
        "from nnunetv2.postprocessing import remove_connected_components\n"
        "if __name__ == '__main__':\n"
        "    remove_connected_components.entry_point_apply_postprocessing()\n"
    )
    command = [sys.executable, str(tmp_path / "run.py"), "-i", str(masks), "-o", str(tmp_path / "out")]
    subprocess.run([*command, "-pp_pkl_file", str(path), "-np", "1"], check=True, capture_output=True)
    want = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / "case.nii.gz")))
    found, removed = postprocess(mask.copy(), read_postprocessing(path))
    np.testing.assert_array_equal(found, want)
    assert removed[0].components > 0
