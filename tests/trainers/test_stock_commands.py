"""nnU-Net's own commands, as a user types them, with our trainers: plan, train, predict."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk

from nnunet_losses.phantom import Phantom, write_dataset
from nnunet_losses.trainers import plugin
from tests.trainers.environments import Environment, make_environment
from tools.reduced_plans import Reduction, write_reduced_plans

if TYPE_CHECKING:
    import subprocess

DATASET = "Dataset901_Phantom"
PLANS = "nnUNetReducedPlans"
HOOKED = "nnUNetTrainerTversky_fp0p2_fn0p8_1epochs"
LISTED = "nnUNetTrainerDiceTopK_NoMirroring_1epochs"

# nnUNetv2_train itself, its 250 + 50 iterations an epoch cut to 2 + 1
SHORT_TRAINING = """
import nnunetv2.run.run_training as run
make = run.get_trainer_from_args
def make_short(*arguments, **named):
    trainer = make(*arguments, **named)
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch = 2, 1
    return trainer
run.get_trainer_from_args = make_short
run.run_training_entry()
"""


@dataclass(frozen=True)
class Workplace:
    """A preprocessed data set, and an environment in which to run commands on it."""

    root: Path
    environment: Environment

    def variables(self, **more: str) -> dict[str, str]:
        folders = {f"nnUNet_{name}": str(self.root / name) for name in ("raw", "preprocessed", "results")}
        return {**folders, "nnUNet_def_n_proc": "1", "nnUNet_n_proc_DA": "0", **more}

    def command(self, name: str, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run one of nnU-Net's console scripts with the environment's interpreter."""
        script = Path(sys.executable).with_name(name)
        done = self.environment.run(str(script), *arguments, **self.variables(**more))
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done

    def model(self, trainer: str) -> Path:
        return self.root / "results" / DATASET / f"{trainer}__{PLANS}__2d"

    @property
    def images(self) -> Path:
        return self.root / "raw" / DATASET / "imagesTs"


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    root = tmp_path_factory.mktemp("nnunet")
    for name in ("raw", "preprocessed", "results"):
        (root / name).mkdir()
    settings = replace(Phantom.of_dimension(2), size=(40, 40), file_ending=".nii.gz")
    write_dataset(root / "raw", dimension=2, cases=5, test_cases=2, settings=settings)
    place = Workplace(root, make_environment(root / "environment"))
    place.command(
        "nnUNetv2_plan_and_preprocess",
        "-d",
        "901",
        "-c",
        "2d",
        "-np",
        "1",
        "-npfp",
        "1",
        nnUNet_n_proc_DA="1",
    )
    reduction = Reduction(features=(4, 8, 8), patch_size=(32, 32), batch_size=2)
    write_reduced_plans(root / "preprocessed" / DATASET, reduction, name=PLANS)
    return place


@pytest.fixture(scope="module")
def hooked(planned: Workplace) -> Workplace:
    """A model trained by the unchanged command, found through ``nnunet-losses enable``."""
    assert planned.environment.nnunet_losses("enable").returncode == 0
    planned.command("nnUNetv2_train", "901", "2d", "0", "-tr", HOOKED, "-p", PLANS, "-device", "cpu")
    return planned


def masks(folder: Path) -> list[np.ndarray]:
    return [sitk.GetArrayFromImage(sitk.ReadImage(str(path))) for path in sorted(folder.glob("*.nii.gz"))]


def test_training_leaves_what_nnunet_leaves(hooked: Workplace) -> None:
    fold = hooked.model(HOOKED) / "fold_0"
    assert (fold / "checkpoint_final.pth").is_file()
    assert (fold / "validation" / "summary.json").is_file()
    (log,) = fold.glob("training_log_*.txt")
    assert "Loss tversky of nnunet-losses: fp=0.2, fn=0.8, phi='BI'" in log.read_text()


def test_both_predict_commands_find_the_trainer_and_agree(hooked: Workplace) -> None:
    by_name, by_folder = hooked.root / "by_name", hooked.root / "by_folder"
    common = ("-i", str(hooked.images), "-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1")
    hooked.command(
        "nnUNetv2_predict", "-d", "901", "-c", "2d", "-tr", HOOKED, "-p", PLANS, "-o", str(by_name), *common
    )
    hooked.command(
        "nnUNetv2_predict_from_modelfolder", "-m", str(hooked.model(HOOKED)), "-o", str(by_folder), *common
    )
    assert len(masks(by_name)) == 2
    for first, second in zip(masks(by_name), masks(by_folder), strict=True):
        np.testing.assert_array_equal(first, second)


def test_variable_and_repair_train_and_register_predicts(planned: Workplace, tmp_path: Path) -> None:
    """Without the trainers' hook: nnUNet_extTrainer in a mended environment; then the API with register()."""
    environment = make_environment(tmp_path / "environment")
    environment.code(f"from nnunet_losses.trainers import plugin; plugin.enable({plugin.TORCHVISION_HOOK!r})")
    place = Workplace(planned.root, environment)
    line = environment.nnunet_losses("env").stdout.strip()
    variable = line.removeprefix(f"export {plugin.VARIABLE}=").strip("'")
    trained = environment.run(
        "-c", SHORT_TRAINING, "901", "2d", "1", "-tr", LISTED, "-p", PLANS, "-device", "cpu",
        **place.variables(**{plugin.VARIABLE: variable}),
    )  # fmt: skip
    assert trained.returncode == 0, trained.stdout[-3000:] + trained.stderr[-3000:]
    assert f"Using trainer '{LISTED}' from: {plugin.DISCOVERY}" in trained.stdout
    code = f"""
import numpy, torch
from nnunet_losses.trainers import register
register()
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
predictor = nnUNetPredictor(device=torch.device("cpu"), perform_everything_on_device=False, allow_tqdm=False)
predictor.initialize_from_trained_model_folder({str(planned.model(LISTED))!r}, (1,))
image = numpy.random.default_rng(0).normal(size=(1, 1, 40, 40)).astype("float32")
mask = predictor.predict_single_npy_array(image, {{"spacing": [999.0, 1.0, 1.0]}})
print(predictor.trainer_name, mask.shape)
"""
    assert environment.code(code, **place.variables()).splitlines()[-1] == f"{LISTED} (1, 40, 40)"


def test_unknown_name_ends_with_nnunets_error_and_our_hint(hooked: Workplace) -> None:
    script = Path(sys.executable).with_name("nnUNetv2_train")
    done = hooked.environment.run(
        str(script),
        "901",
        "2d",
        "0",
        "-tr",
        "nnUNetTrainerTversky_fp0.2",
        "-device",
        "cpu",
        **hooked.variables(),
    )
    assert done.returncode != 0
    assert "Could not find requested nnunet trainer nnUNetTrainerTversky_fp0.2" in done.stderr
    assert "The nearest valid name is nnUNetTrainerTversky_fp0p2." in done.stderr
