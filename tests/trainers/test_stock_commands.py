"""nnU-Net's own commands, as a user types them, with our trainers: plan, train, predict."""

from __future__ import annotations

import json
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


# Of the six representatives two are above: a plain loss and a variant. Below: a schedule; geometry in 2D,
# from a worker process; geometry in 3D, of regions with an ignore label, by a loss that remembers; regions.
IN_2D, IN_3D = ("901", "2d"), ("902", "3d_fullres")
REPRESENTATIVES = (
    (*IN_2D, "nnUNetTrainerCEToDiceLinear_2epochs", "0"),
    (*IN_2D, "nnUNetTrainerBlobDiceCE_2epochs", "1"),
    (*IN_3D, "nnUNetTrainerDiceHausdorff_2epochs", "0"),
    (*IN_3D, "nnUNetTrainerGDice_2epochs", "0"),
)

# The commands one after the other in one process, which spares importing them twelve times: nnUNetv2_train,
# cut short as above and interrupted after an epoch; the same with --c; nnUNetv2_predict.
TRAIN_RESUME_PREDICT = """
import os, sys
import nnunetv2.run.run_training as run
from nnunetv2.inference.predict_from_raw_data import predict_entry_point
make = run.get_trainer_from_args
interrupted = True
def make_short(*arguments, **named):
    trainer = make(*arguments, **named)
    trainer.num_iterations_per_epoch, trainer.num_val_iterations_per_epoch, trainer.save_every = 2, 1, 1
    trainer.perform_actual_validation = lambda *_: None
    trainer.logger.plot_progress_png = lambda *_: None
    end = trainer.on_epoch_end
    def end_and_stop():
        end()
        if interrupted:
            raise KeyboardInterrupt
    trainer.on_epoch_end = end_and_stop
    return trainer
run.get_trainer_from_args = make_short
for dataset, configuration, trainer, workers in REPRESENTATIVES:
    os.environ["nnUNet_n_proc_DA"] = workers
    common = ["-tr", trainer, "-p", PLANS, "-device", "cpu"]
    for interrupted, further in ((True, []), (False, ["--c"])):
        sys.argv = ["nnUNetv2_train", dataset, configuration, "0", *common, *further]
        try:
            run.run_training_entry()
        except KeyboardInterrupt:
            assert interrupted
    images = os.path.join(os.environ["nnUNet_raw"], IMAGES[dataset])
    sys.argv = ["nnUNetv2_predict", "-d", dataset, "-c", configuration, "-f", "0", "-i", images, "-o",
                os.path.join(OUTPUT, trainer), "-npp", "0", "-nps", "0", "--disable_tta", *common]
    predict_entry_point()
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
    plan(place, *IN_2D, dimension=2)
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


def plan(place: Workplace, dataset: str, configuration: str, *, dimension: int) -> None:
    options = ("-d", dataset, "-c", configuration, "-np", "1", "-npfp", "1")
    place.command("nnUNetv2_plan_and_preprocess", *options, nnUNet_n_proc_DA="1")
    reduction = Reduction(features=(4, 8, 8), patch_size=(32,) * dimension, batch_size=2)
    (folder,) = (place.root / "preprocessed").glob(f"Dataset{dataset}_*")
    write_reduced_plans(folder, reduction, name=PLANS)


def add_ignore_label(dataset: Path) -> None:
    """Let the first two slices of every label map be ignored."""
    path = dataset / "dataset.json"
    content = json.loads(path.read_text())
    content["labels"]["ignore"] = 3
    path.write_text(json.dumps(content))
    for file in (dataset / "labelsTr").iterdir():
        labels = sitk.ReadImage(str(file))
        labels[:, :, :2] = 3
        sitk.WriteImage(labels, str(file))


def test_representatives_train_resume_and_predict(hooked: Workplace, tmp_path: Path) -> None:
    settings = replace(Phantom(), size=(32, 32, 32), spacing=(2.0, 1.0, 1.0), labelling="regions")
    raw = hooked.root / "raw"
    solid = write_dataset(raw, cases=5, test_cases=1, name="Dataset902_Solid", settings=settings)
    add_ignore_label(solid)
    plan(hooked, *IN_3D, dimension=3)
    images = {"901": f"{DATASET}/imagesTs", "902": f"{solid.name}/imagesTs"}
    values = {"REPRESENTATIVES": REPRESENTATIVES, "PLANS": PLANS, "IMAGES": images, "OUTPUT": str(tmp_path)}
    given = "".join(f"{name} = {value!r}\n" for name, value in values.items())
    hooked.environment.code(given + TRAIN_RESUME_PREDICT, **hooked.variables())
    for dataset, configuration, trainer, _ in REPRESENTATIVES:
        (fold,) = (hooked.root / "results").glob(
            f"Dataset{dataset}_*/{trainer}__{PLANS}__{configuration}/fold_0"
        )
        assert (fold / "checkpoint_final.pth").is_file()
        log = "".join(file.read_text() for file in fold.glob("training_log_*.txt"))
        assert (log.count("Epoch 0"), log.count("Epoch 1")) == (1, 1)
        assert len(masks(tmp_path / trainer)) == (2 if dataset == "901" else 1)


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
