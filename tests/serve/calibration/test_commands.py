"""``nnunet-losses calibrate`` and ``recalibrate``, from files to answers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.bundle import SUMS, Bundle, write_sums
from nnunet_losses.serve.bundle_writing import write_zip
from nnunet_losses.serve.calibration.running import Runner
from nnunet_losses.serve.errors import Refusal
from nnunet_losses.serve.predictor import Predictor

from ..formats.files import write
from ..test_commands import run
from ..test_predictor import FakeEngine

if TYPE_CHECKING:
    from click.testing import Result

    from nnunet_losses.serve.calibration.planning import Planned

TRAINED, NEW, CHANNELS = 4, 3, 2
CALIBRATION = {"calibration.json", "calibration.npz", "calibration_levels.svg", "calibration_presence.svg"}


def image(folder: Path, name: str, seed: int, channels: int = 1, scale: float = 20.0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    shape = tuple(18 + random.integers(0, 4, 3))
    for index in range(channels):
        voxels = random.normal(50, scale, shape).astype("float32")
        write(folder / f"{name}_{index:04d}.nii.gz", voxels, spacing=(1.0, 1.0, 1.0))
    labels = folder.parent / folder.name.replace("images", "labels")
    labels.mkdir(exist_ok=True)
    mask = np.zeros(shape, np.uint8)
    mask[5:9, 5:9, 5:9] = 1 + seed % 2
    write(labels / f"{name}.nii.gz", mask, spacing=(1.0, 1.0, 1.0))


def dataset(folder: Path, channels: int = 1) -> Path:
    names = [f"case_{index}" for index in range(TRAINED + NEW)]
    for index, name in enumerate(names):
        image(folder / "imagesTr", name, index, channels)
    both = [{"train": names[:TRAINED], "val": names[TRAINED:]}, {"train": names[NEW:], "val": names[:NEW]}]
    (folder / "splits_final.json").write_text(json.dumps(both))
    return folder


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dataset(tmp_path_factory.mktemp("raw"))


def calibrate(bundle: Path, raw: Path, *arguments: object) -> Result:
    splits = () if "--held-out" in arguments else ("--splits", raw / "splits_final.json")
    fixed = ("--raw", raw, *splits, "--backend", "cpu", "--threads", 1)
    return run("calibrate", bundle, *fixed, *arguments)


@pytest.fixture(scope="module")
def calibrated(volume_bundle: Bundle, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    bundle = tmp_path_factory.mktemp("calibrated") / "model.bundle"
    shutil.copytree(volume_bundle.root, bundle)
    result = calibrate(bundle, raw)
    assert result.exit_code == 0, result.output
    assert "3 new to the model" in result.output
    return bundle


def answer_of(bundle: Path, folder: Path, **options: Any) -> dict[str, Any]:
    image(folder / "images", "x", 77, **options)
    result = run(
        "predict", bundle, folder / "images", "-o", folder / "out", "--backend", "cpu", "--threads", 1
    )
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads((folder / "out" / "x.json").read_text())
    return answer


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_bundle_holds_its_calibration(calibrated: Path, volume_bundle: Bundle) -> None:
    added = {path.name for path in calibrated.iterdir()} - {
        path.name for path in volume_bundle.root.iterdir()
    }
    assert added == CALIBRATION
    assert not list(calibrated.parent.glob(".*"))
    stored = Bundle.load(calibrated).calibration
    assert stored is not None
    assert stored.model is not None
    counts = stored.calibration.counts
    assert (counts.fitted, counts.ranked, counts.lesion_bearing) == (TRAINED, NEW, NEW)
    assert stored.model.folds[0].pool.shape == (NEW, len(stored.model.section.scores))
    assert stored.model.folds[0].strangest is not None
    assert "## Calibration" in (calibrated / "MODEL_CARD.md").read_text()


def test_an_answer_is_judged(calibrated: Path, tmp_path: Path) -> None:
    answer = answer_of(calibrated, tmp_path)
    found = answer["distribution"]
    assert found["verdict"] != "not_calibrated"
    assert (found["n_calibration"], found["p_min"], found["guarantee"]) == (NEW, 0.25, "conformal")
    assert found["levels"] == {"suspicious": None, "out_of_distribution": None}
    assert "cannot be reached with 3 calibration cases; it needs 19." in found["remark"]
    assert "safety" in answer["manifest"]["timings"]


def test_a_strange_image_is_told_apart(calibrated: Path, tmp_path: Path) -> None:
    found = answer_of(calibrated, tmp_path, scale=4000.0)["distribution"]
    assert (found["verdict"], found["basis"]) == ("out_of_distribution", "heuristic")
    raw_histogram = next(item for item in found["evidence"] if item["name"] == "histogram.raw")
    assert raw_histogram["outside"]
    assert "MRI has intensities from" in raw_histogram["message"]
    (first, *_) = found["unusual_tiles"]
    assert len(first["voxels"]) == 3
    low, high = np.array(first["corners_mm"])
    assert (low < high).all()


def test_inspect_shows_it(calibrated: Path) -> None:
    result = run("inspect", calibrated)
    assert result.exit_code == 0, result.output
    assert "conformal, n = 3" in result.output
    assert "not reachable with 3 cases (needs 19)" in result.output
    assert json.loads(run("inspect", calibrated, "--json").output)["calibration"]["counts"]["ranked"] == NEW


def test_an_interrupted_run_goes_on(
    volume_bundle: Bundle, raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "model.bundle"
    shutil.copytree(volume_bundle.root, bundle)
    ran: list[str] = []
    true_run = Runner.run

    def counted(self: Runner, planned: Planned) -> Any:
        if len(ran) == 3 and "interrupted" not in ran:
            ran.append("interrupted")
            raise KeyboardInterrupt
        ran.append(planned.case.name)
        return true_run(self, planned)

    monkeypatch.setattr(Runner, "run", counted)
    assert calibrate(bundle, raw).exit_code != 0
    assert content(bundle) == content(volume_bundle.root)
    assert calibrate(bundle, raw).exit_code == 0
    ran.remove("interrupted")
    assert sorted(ran) == [f"case_{index}" for index in range(TRAINED + NEW)]


def test_records_of_another_model_are_not_used(volume_bundle: Bundle, tmp_path: Path) -> None:
    from nnunet_losses.serve.calibration.record_store import RecordStore

    store = RecordStore.open(tmp_path / "r", volume_bundle.description, ("cpu", "float32"))
    (store.folder / "a.npz").write_bytes(b"")
    assert (
        RecordStore.open(tmp_path / "r", volume_bundle.description, ("cpu", "float32")).folder / "a.npz"
    ).exists()
    RecordStore.open(tmp_path / "r", volume_bundle.description, ("cpu", "bfloat16"))
    assert not (tmp_path / "r" / "a.npz").exists()
    (tmp_path / "r" / "thesis.docx").write_bytes(b"")
    with pytest.raises(OSError, match=r"thesis\.docx, which is no record"):
        RecordStore.open(tmp_path / "r", volume_bundle.description, ("cpu", "float32"))
    assert (tmp_path / "r" / "thesis.docx").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "probabilities.npz").write_bytes(b"")
    with pytest.raises(OSError, match=r"probabilities\.npz, which is no record"):
        RecordStore.open(tmp_path / "mine", volume_bundle.description, ("cpu", "float32"))
    assert (tmp_path / "mine" / "probabilities.npz").exists()


def test_several_folds_promise_about(region_bundle: Bundle, tmp_path: Path) -> None:
    bundle = tmp_path / "model.zip"
    write_zip(region_bundle.root, bundle)
    result = calibrate(bundle, dataset(tmp_path / "raw", CHANNELS))
    assert result.exit_code == 0, result.output
    found = answer_of(bundle, tmp_path, channels=CHANNELS)["distribution"]
    assert (found["guarantee"], found["n_calibration"]) == ("approximate", 2 * NEW)
    assert "Every calibration case trained some of the bundle's folds" in found["remark"]


def test_held_out_cases_promise_more(region_bundle: Bundle, tmp_path: Path) -> None:
    bundle, raw = tmp_path / "model.bundle", dataset(tmp_path / "raw", CHANNELS)
    shutil.copytree(region_bundle.root, bundle)
    for seed in range(2):
        image(tmp_path / "new" / "imagesTs", f"new_{seed}", 100 + seed, CHANNELS)
    result = calibrate(bundle, raw, "--held-out", tmp_path / "new")
    assert result.exit_code == 0, result.output
    found = answer_of(bundle, tmp_path, channels=CHANNELS)["distribution"]
    assert (found["guarantee"], found["n_calibration"]) == ("conformal", 2)


def test_a_site_lies_over_the_calibration_and_goes_again(calibrated: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "model.bundle"
    shutil.copytree(calibrated, bundle)
    before = content(bundle)
    for seed in range(4):
        image(tmp_path / "local" / "images", f"local_{seed}", 200 + seed, scale=4000.0)
    options = (
        "--images",
        tmp_path / "local" / "images",
        "--site",
        "Ward 9",
        "--backend",
        "cpu",
        "--threads",
        1,
    )
    result = run("recalibrate", bundle, *options)
    assert result.exit_code == 0, result.output
    found = answer_of(bundle, tmp_path, scale=4000.0)["distribution"]
    assert (found["site"], found["n_calibration"]) == ("Ward 9", 4)
    assert found["verdict"] == "in_distribution"
    assert "Ward 9: ranked against its 4 images" in run("inspect", bundle).output
    assert run("recalibrate", bundle, "--remove").exit_code == 0
    assert content(bundle) == before
    again = run("recalibrate", bundle, "--remove")
    assert again.exit_code == 2
    assert "no cases of a site" in again.output


@pytest.mark.parametrize("damage", ["network", "preprocessing", "arrays", "future"])
def test_a_calibration_of_something_else_is_refused(calibrated: Path, tmp_path: Path, damage: str) -> None:
    bundle = tmp_path / "model.bundle"
    shutil.copytree(calibrated, bundle)
    known = json.loads((bundle / "calibration.json").read_text())
    if damage == "network":
        known["identity"]["networks"] = dict.fromkeys(known["identity"]["networks"], "f" * 64)
    elif damage == "preprocessing":
        description = json.loads((bundle / "model.json").read_text())
        description["members"][0]["tiling"]["step_size"] = 0.25
        (bundle / "model.json").write_text(json.dumps(description))
    elif damage == "arrays":
        (bundle / "calibration.npz").write_bytes(b"PK")
    else:
        known["schema_version"] = 2
    (bundle / "calibration.json").write_text(json.dumps(known))
    (bundle / SUMS).unlink()
    write_sums(bundle)
    with pytest.raises(Refusal) as refused:
        Predictor(Bundle.load(bundle), engine=FakeEngine())
    expected = "bundle.unsupported" if damage == "future" else "bundle.hash_mismatch"
    assert refused.value.code.value == expected
    assert "calibrate" in refused.value.remedy


def test_a_calibration_of_something_else_is_made_anew(calibrated: Path, raw: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "model.bundle"
    shutil.copytree(calibrated, bundle)
    known = json.loads((bundle / "calibration.json").read_text())
    known["identity"]["preprocessing"] = "f" * 64
    (bundle / "calibration.json").write_text(json.dumps(known))
    (bundle / SUMS).unlink()
    write_sums(bundle)
    result = calibrate(bundle, raw)
    assert result.exit_code == 0, result.output
    assert Bundle.load(bundle).calibration is not None


def test_a_site_has_no_images_that_were_trained_with(calibrated: Path, raw: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "model.bundle"
    shutil.copytree(calibrated, bundle)
    result = run("recalibrate", bundle, "--images", raw / "imagesTr", "--backend", "cpu", "--threads", 1)
    assert result.exit_code == 2
    told = " ".join(result.output.replace("│", " ").split())
    assert "trained with case_0 (4 of 7 images are known to it)" in told
    assert content(bundle) == content(calibrated)


def test_a_refused_new_case_counts_as_the_strangest(volume_bundle: Bundle, tmp_path: Path) -> None:
    bundle, raw = tmp_path / "model.bundle", dataset(tmp_path / "raw")
    shutil.copytree(volume_bundle.root, bundle)
    blank = f"case_{TRAINED}"
    write(
        raw / "imagesTr" / f"{blank}_0000.nii.gz", np.zeros((18, 18, 18), "float32"), spacing=(1.0, 1.0, 1.0)
    )
    result = calibrate(bundle, raw)
    assert result.exit_code == 0, result.output
    assert f"refused: {blank}" in result.output
    found = answer_of(bundle, tmp_path)["distribution"]
    assert (found["n_calibration"], found["p_min"]) == (NEW, 0.5)
    assert "refused 1 of the 3 calibration cases" in found["remark"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--splits, or --held-out; one of the two"),
        (("--splits", "nowhere.json"), "is no splits_final.json"),
        (
            ("--splits", "default", "--suspicious", "0.01", "--out-of-distribution", "0.2"),
            "is above --suspicious",
        ),
        (("--splits", "default", "--groups", "model.json"), "lacks the columns case and group"),
    ],
)
def test_wrong_command_lines(
    volume_bundle: Bundle,
    raw: Path,
    arguments: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(volume_bundle.root)
    result = run("calibrate", volume_bundle.root, "--raw", raw, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.replace("│", " ").split())


def test_recalibrating_needs_a_calibration(volume_bundle: Bundle, raw: Path) -> None:
    result = run("recalibrate", volume_bundle.root, "--images", raw / "imagesTr", "--backend", "cpu")
    assert result.exit_code == 2
    assert "is not calibrated yet" in " ".join(result.output.replace("│", " ").split())
    assert run("recalibrate", volume_bundle.root).exit_code == 2
