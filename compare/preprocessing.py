"""nnU-Net's plans and preprocessed data, by its own commands, whatever interrupted them before.

``python -m nnunet_losses.compare.preprocessing ...`` is ``nnUNetv2_plan_and_preprocess`` that ends with the
process that started it: two of them in one folder would take each other's files away.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from filelock import FileLock

from nnunet_losses.trainers.files import write_atomically

from .lifetime import end_with_parent
from .made_of import write_made_of
from .sets import find_problem
from .study import StudyError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .data_check import Stamp
    from .folders import NnunetFolders
    from .sets import Case
    from .study import Settings

_PLANS = "nnUNetPlans"
_DONE = "preprocessed.done"
_LOG = "preprocessing.log"  # it without _DONE: begun, and not ended well


@dataclass(frozen=True)
class Training:
    """What is trained on: nnU-Net's folders, ``dataset.json``, and all cases by name."""

    folders: NnunetFolders
    description: Mapping[str, Any]
    cases: Mapping[str, Case]


def preprocess(data: Training, settings: Settings, output: Path, stamps: Mapping[Path, Stamp]) -> str:
    """Plan and preprocess unless all cases are there; plans that are there are kept.

    Args:
        data: to train on.
        settings: of the comparison.
        output: its folder, for the log.
        stamps: of the files of ``data``.

    Returns:
        Name of the folder of the preprocessed data beside the plans.

    Raises:
        StudyError: it is not possible; the message says why.
    """
    folders, cases = data.folders, len(data.cases)
    folder = folders.preprocessed / settings.dataset
    if _is_done(folder, settings, cases, output):
        return _identifier(folder, settings)
    folders.preprocessed.mkdir(parents=True, exist_ok=True)
    with FileLock(folders.preprocessed / f".{settings.dataset}.lock"):  # another comparison may be at it
        if _is_done(folder, settings, cases, output):
            return _identifier(folder, settings)
        _remove_damaged(folder)
        forget(output)
        code = _run(folders, settings, output)
        if code or not _is_complete(folder, settings, cases):
            raise StudyError(_why(data, settings.dataset, output / _LOG))
        write_made_of(folder / _identifier(folder, settings), data.cases, stamps)
        write_atomically(output / _DONE, "")
    return _identifier(folder, settings)


def forget(output: Path) -> None:
    """Let everything be preprocessed again: the data is no longer what it was."""
    (output / _DONE).unlink(missing_ok=True)
    (output / _LOG).touch()


def configuration(plans: Path, name: str) -> dict[str, Any]:
    """One configuration of plans, with what it inherits.

    Raises:
        StudyError: the plans have no such configuration.
    """
    return resolved(json.loads(plans.read_text("utf-8")), name, plans)


def resolved(plans: Mapping[str, Any], name: str, file: Path) -> dict[str, Any]:
    """``configuration`` of plans that have been read; ``file`` is named where they have no such one."""
    every = plans["configurations"]
    if name not in every:
        raise StudyError(f"{file} has no configuration {name!r}; it has {', '.join(every)}")
    own: dict[str, Any] = every[name]
    parent = own.get("inherits_from")
    return {**resolved(plans, parent, file), **own} if parent else own


def _is_done(folder: Path, settings: Settings, cases: int, output: Path) -> bool:
    was_interrupted = (output / _LOG).is_file() and not (output / _DONE).is_file()
    return not was_interrupted and _is_complete(folder, settings, cases)


def _is_complete(folder: Path, settings: Settings, cases: int) -> bool:
    plans = folder / f"{settings.plans}.json"
    if not _is_json(plans):
        return False
    return len(list((folder / _identifier(folder, settings)).glob("*.pkl"))) >= cases


def _identifier(folder: Path, settings: Settings) -> str:
    return str(configuration(folder / f"{settings.plans}.json", settings.configuration)["data_identifier"])


def _run(folders: NnunetFolders, settings: Settings, output: Path) -> int:
    """Run nnU-Net's command in a process of its own; its exit status."""
    number = str(int(settings.dataset[len("Dataset") :][:3]))
    options = ["-d", number, "-c", settings.configuration, "-np", "1"]
    folder = folders.preprocessed / settings.dataset
    if all((folder / f"{name}.json").is_file() for name in (settings.plans, "dataset")):
        options += ["-plans_name", settings.plans]
    elif settings.plans == _PLANS:
        options += ["-npfp", "1"]
    else:
        raise StudyError(f"{folder} has no {settings.plans}.json; run nnUNetv2_plan_experiment first")
    environment = {**folders.environment(output / "nnunet" / "results"), "nnUNet_n_proc_DA": "1"}
    with (output / _LOG).open("w") as log:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", __name__, *options],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return process.wait()


def _remove_damaged(folder: Path) -> None:
    """Remove what nnU-Net was killed while writing; else it would read it again and again."""
    for name in (_PLANS, "dataset_fingerprint", "dataset"):
        file = folder / f"{name}.json"
        if file.is_file() and not _is_json(file):
            file.unlink()


def _is_json(file: Path) -> bool:
    try:
        json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return False
    return True


def _why(data: Training, name: str, log: Path) -> str:
    """The first case that cannot be read, which nnU-Net does not name; else the end of its log."""
    problems = (find_problem(case, data.description) for case in data.cases.values())
    last = " ".join(log.read_text("utf-8", errors="replace").strip().splitlines()[-1:])
    return f"nnU-Net could not preprocess {name} ({next(filter(None, problems), last)}); see {log}"


def main() -> None:
    """Run nnU-Net's command; with the name of plans that are there only its second half."""
    end_with_parent(group=True)
    from nnunetv2.experiment_planning.plan_and_preprocess_entrypoints import (  # noqa: PLC0415 - heavy
        plan_and_preprocess_entry,
        preprocess_entry,
    )

    if "-plans_name" in sys.argv:
        preprocess_entry()
    else:
        plan_and_preprocess_entry()


if __name__ == "__main__":
    main()
