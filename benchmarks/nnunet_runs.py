"""What the studies on real data share: nnU-Net's folders, and its stock commands as a user types them."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]
PLANS = "nnUNetReducedPlans"


@dataclass(frozen=True)
class Dataset:
    """One data set of a study.

    Attributes:
        number: nnU-Net's identifier.
        name: without number.
        source: folder with imagesTr, labelsTr and dataset.json.
        configuration: nnU-Net's.
        reduction: arguments of tools/reduced_plans.py.
    """

    number: int
    name: str
    source: Path
    configuration: str
    reduction: tuple[str, ...]

    @property
    def folder(self) -> str:
        """Name of the data set's folders."""
        return f"Dataset{self.number}_{self.name}"


class Runs:
    """A work folder with nnU-Net's three folders; steps whose result exists are not repeated.

    Args:
        work: folder for everything that is made; ``commands.log`` keeps every command and its output.
    """

    def __init__(self, work: Path) -> None:
        self.work = work.resolve()
        folders = {
            f"nnUNet_{kind}": self.work / f"nnUNet_{kind}" for kind in ("raw", "preprocessed", "results")
        }
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
        self.environment = {
            **os.environ,
            **{name: str(folder) for name, folder in folders.items()},
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "nnUNet_extTrainer": str(ROOT / "trainers" / "discovery"),
            "nnUNet_def_n_proc": "2",
            "OMP_WAIT_POLICY": "PASSIVE",  # spinning threads are slow where there are more of them than cores
        }

    def run(self, *command: str | Path, **variables: str) -> None:
        """Run one command, its output in the log; raises CalledProcessError where it fails."""
        words = [str(word) for word in command]
        print("$", " ".join(words), flush=True)
        with (self.work / "commands.log").open("a") as log:
            log.write(f"$ {' '.join(words)}\n")
            log.flush()
            environment: Mapping[str, str] = {**self.environment, **variables}
            subprocess.run(words, check=True, env=environment, stdout=log, stderr=subprocess.STDOUT)

    def preprocessed(self, dataset: Dataset) -> Path:
        """Link, plan and preprocess a data set; write the reduced plans; return nnU-Net's folder."""
        link = self.work / "nnUNet_raw" / dataset.folder
        if not link.exists():
            link.symlink_to(dataset.source.resolve())
        folder = self.work / "nnUNet_preprocessed" / dataset.folder
        if not (folder / "nnUNetPlans.json").exists():
            self.run("nnUNetv2_plan_and_preprocess", "-d", str(dataset.number), "-c", dataset.configuration,
                     "-np", "1", "-npfp", "1", nnUNet_n_proc_DA="1")  # fmt: skip
        if not (folder / f"{PLANS}.json").exists():
            self.run(sys.executable, ROOT / "tools" / "reduced_plans.py", folder, *dataset.reduction)
        return folder

    def trained(self, dataset: Dataset, trainer: str) -> Path:
        """Train fold 0 with the stock command; return the model folder."""
        self.preprocessed(dataset)
        name = f"{trainer}__{PLANS}__{dataset.configuration}"
        folder = self.work / "nnUNet_results" / dataset.folder / name
        if not (folder / "fold_0" / "validation" / "summary.json").exists():
            again = ["--c"] if (folder / "fold_0" / "checkpoint_latest.pth").exists() else []
            what = (str(dataset.number), dataset.configuration, "0", "-tr", trainer, "-p", PLANS)
            self.run("nnUNetv2_train", *what, "-device", "cpu", *again, nnUNet_n_proc_DA="0")
        return folder

    def bundle(self, model: Path) -> Path:
        """Export a model folder; return the bundle."""
        bundle = self.work / "bundles" / model.parent.name / model.name
        if not (bundle / "model.json").exists():
            self.run("nnunet-losses", "export", model, bundle, "--folds", "0", "--overwrite")
        return bundle

    def predicted(self, bundle: Path, images: Path) -> Path:
        """Predict a folder of images with a bundle; return the folder of masks and answers."""
        masks = self.work / "masks" / bundle.parent.name / bundle.name
        self.run("nnunet-losses", "predict", bundle, images, "--output", masks, "--overwrite")
        return masks
