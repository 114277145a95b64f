"""Plans and preprocessed data after interruptions, without running nnU-Net."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from nnunet_losses.compare import preprocessing
from nnunet_losses.compare.data_check import Stamp
from nnunet_losses.compare.folders import NnunetFolders
from nnunet_losses.compare.made_of import MADE_OF_FILE, check_description, check_made_of
from nnunet_losses.compare.preparation import _plans
from nnunet_losses.compare.preprocessing import Training, preprocess
from nnunet_losses.compare.sets import Case
from nnunet_losses.compare.splits import check_number
from nnunet_losses.compare.study import Network, Settings, StudyError

if TYPE_CHECKING:
    from pathlib import Path

PATIENCE = 300.0  # seconds for what a busy machine does late
NAME = "Dataset001_A"
SETTINGS = Settings(dataset=NAME, configuration="2d")
Stamps = dict["Path", Stamp]
STAMP = Stamp(size=1, changed=1, sha256="as it was")
DESCRIPTION = {"channel_names": {"0": "L"}, "labels": {"background": 0, "lesion": 1}, "file_ending": ".png"}
PLANS = {
    "plans_name": "nnUNetPlans",
    "configurations": {
        "2d": {
            "data_identifier": "nnUNetPlans_2d",
            "patch_size": [32, 32],
            "architecture": {"arch_kwargs": {"features_per_stage": [8, 16, 32]}},
        }
    },
}


class Nnunet:
    """Takes the place of nnU-Net's command: counts its calls, and writes what it would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.calls = 0
        self.dies = False

    def run(self, _folders: NnunetFolders, _settings: Settings, output: Path) -> int:
        self.calls += 1
        (output / "preprocessing.log").write_text("Preprocessing\nlast words")
        assert not (self.folder / "dataset_fingerprint.json").exists()
        (self.folder / "nnUNetPlans_2d").mkdir(parents=True, exist_ok=True)
        (self.folder / "nnUNetPlans.json").write_text(json.dumps(PLANS))
        (self.folder / "nnUNetPlans_2d" / "a.pkl").touch()
        if self.dies:
            raise KeyboardInterrupt
        return 0


@pytest.fixture
def data(tmp_path: Path) -> Training:
    folders = NnunetFolders(raw=tmp_path / "raw", preprocessed=tmp_path / "pre")
    (tmp_path / "a_0000.png").touch()
    return Training(folders, DESCRIPTION, {"a": Case(name="a", images=(tmp_path / "a_0000.png",))})


@pytest.fixture
def stamps(tmp_path: Path) -> dict[Path, Stamp]:
    return {tmp_path / "a_0000.png": STAMP}


@pytest.fixture
def nnunet(data: Training, monkeypatch: pytest.MonkeyPatch) -> Nnunet:
    made = Nnunet(data.folders.preprocessed / NAME)
    monkeypatch.setattr(preprocessing, "_run", made.run)
    return made


def test_what_was_interrupted_is_done_again_however_complete_it_looks(
    data: Training, nnunet: Nnunet, stamps: Stamps, tmp_path: Path
) -> None:
    nnunet.dies = True
    with pytest.raises(KeyboardInterrupt):
        preprocess(data, SETTINGS, tmp_path, stamps)
    nnunet.dies = False
    for _ in range(2):
        preprocess(data, SETTINGS, tmp_path, stamps)
    assert nnunet.calls == 2


def test_what_is_there_is_taken(data: Training, nnunet: Nnunet, stamps: Stamps, tmp_path: Path) -> None:
    preprocess(data, SETTINGS, tmp_path, stamps)
    other = tmp_path / "other"
    other.mkdir()
    preprocess(data, SETTINGS, other, stamps)
    assert nnunet.calls == 1


def test_half_written_files_are_removed(
    data: Training, nnunet: Nnunet, stamps: Stamps, tmp_path: Path
) -> None:
    nnunet.folder.mkdir(parents=True)
    (nnunet.folder / "dataset_fingerprint.json").write_text('{"spacings": [')
    preprocess(data, SETTINGS, tmp_path, stamps)
    assert nnunet.calls == 1


def test_a_case_that_cannot_be_read_is_named(
    data: Training, nnunet: Nnunet, stamps: Stamps, tmp_path: Path
) -> None:
    (tmp_path / "b_0000.png").write_bytes(b"no picture")
    cases = {"b": Case(name="b", images=(tmp_path / "b_0000.png",)), **data.cases}
    with pytest.raises(StudyError, match=r"could not preprocess Dataset001_A \(case b cannot be read.*see"):
        preprocess(Training(data.folders, DESCRIPTION, cases), SETTINGS, tmp_path, stamps)
    assert nnunet.calls == 1


@pytest.mark.parametrize(
    ("network", "words"),
    [
        (Network(patch=(8, 8, 8)), r"patch is \[8, 8, 8\], but that of 2d has 2 axes"),
        (Network(features=(2, 2, 2, 2)), r"4 features .* has 3 stages"),
    ],
)
def test_what_would_be_ignored_is_refused(network: Network, words: str, tmp_path: Path) -> None:
    (tmp_path / "nnUNetPlans.json").write_text(json.dumps(PLANS))
    with pytest.raises(StudyError, match=words):
        _plans(tmp_path, SETTINGS.model_copy(update={"network": network}))


def test_too_few_cases_or_folds_are_told_before_anything_takes_long(data: Training, tmp_path: Path) -> None:
    preprocessed, raw = (folder / NAME for folder in (data.folders.preprocessed, data.folders.raw))
    with pytest.raises(StudyError, match=r"1 training cases cannot be split in five"):
        check_number(data.cases, (0,), preprocessed, raw)
    check_number("abcde", (0, 4), preprocessed, raw)
    with pytest.raises(StudyError, match=r"no fold 7: splits_final.json has 5"):
        check_number("abcde", (0, 7), preprocessed, raw)
    raw.mkdir(parents=True)
    (raw / "splits_final.json").write_text('[{"train": ["a"], "val": ["a"]}]')
    check_number(data.cases, (0,), preprocessed, raw)
    with pytest.raises(StudyError, match=r"no fold 1: splits_final.json has 1"):
        check_number(data.cases, (1,), preprocessed, raw)
    (raw / "splits_final.json").write_text('["a"]')
    with pytest.raises(StudyError, match=r"holds no splits; write \[{'train'"):
        check_number(data.cases, (0,), preprocessed, raw)


def preprocessed_folder(data: Training) -> Path:
    return data.folders.preprocessed / NAME / "nnUNetPlans_2d"


def test_another_output_folder_does_not_take_what_was_preprocessed_of_other_images(
    data: Training, nnunet: Nnunet, stamps: Stamps, tmp_path: Path
) -> None:
    """And there is a way out: the folder that the refusal names may be deleted."""
    preprocess(data, SETTINGS, tmp_path, stamps)
    folder, other = preprocessed_folder(data), tmp_path / "other"
    other.mkdir()
    assert not check_made_of(folder, data.cases, stamps)
    now = {file: STAMP.model_copy(update={"sha256": "changed"}) for file in stamps}
    preprocess(data, SETTINGS, other, now)
    with pytest.raises(StudyError, match=rf"{folder} was .* other images .* \(a changed\).* or delete that"):
        check_made_of(folder, data.cases, now)
    shutil.rmtree(folder)
    preprocess(data, SETTINGS, other, now)
    assert nnunet.calls == 2
    assert not check_made_of(folder, data.cases, now)


def test_of_what_others_preprocessed_newer_images_are_doubted(
    data: Training, nnunet: Nnunet, stamps: Stamps, tmp_path: Path
) -> None:
    preprocess(data, SETTINGS, tmp_path, stamps)
    folder = preprocessed_folder(data)
    (folder / MADE_OF_FILE).unlink()
    for made, doubted in ((2, False), (1, False), (0, True)):
        os.utime(tmp_path / "a_0000.png", (1, 1))
        os.utime(folder / "a.pkl", (made, made))
        assert ("1 of them are newer (a)" in check_made_of(folder, data.cases, stamps)) is doubted


def test_a_description_that_nnunet_does_not_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({**DESCRIPTION, "numTraining": 5}))
    check_description(DESCRIPTION, tmp_path)
    with pytest.raises(StudyError, match=r'labels was {"background": 0, "lesion": 1}, now {"polyp": 1}'):
        check_description({**DESCRIPTION, "labels": {"polyp": 1}}, tmp_path)


PARENT = """
import subprocess, sys, time
child = "from nnunet_losses.compare.lifetime import end_with_parent; end_with_parent(group=True); " \
    "import subprocess, sys, time; " \
    "own = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(3600)']); " \
    "print(own.pid, flush=True); time.sleep(3600)"
process = subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, start_new_session=True)
process.wait()
"""


def test_preprocessing_and_its_helpers_end_with_the_comparison() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        helper = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + PATIENCE
    while _runs(helper):
        assert time.monotonic() < deadline, f"process {helper} goes on"
        time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:  # noqa: PTH123 - a zombie has ended, too
            return ") Z" not in file.read()
    except (FileNotFoundError, ProcessLookupError):
        return False
