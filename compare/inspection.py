"""Data before anything is trained: is it what the cells of the output folder saw, and of any use?"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .data_check import Files, Stamp, differences, read_files, stamp_files
from .folders import NnunetFolders
from .preprocessing import Training, forget
from .results import RESULT_FILE
from .sets import Case, find_label_problem, find_problem, looks_right, mask_values
from .splits import PARTS, SPLITS, read_splits
from .study import StudyError, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from .sets import ImageSet


def inspect_files(data: Training, further: tuple[ImageSet, ...], output: Path) -> Files:
    """Stamp all files; refuse those that are others than what cells have seen, and those of no use.

    Raises:
        StudyError: it names the files.
    """
    before = read_files(output)
    cases = [case for images in further for case in images.cases]
    now = stamp_files(_files(data.cases.values()), _files(cases), before)
    if before is not None:
        _refuse_changed(data, before, now, output)
    training = _looked_into(data, now.training, before)
    _refuse_useless(cases, data, before, now)
    known = before.judging if before else {}
    return Files(training=training, judging={**known, **now.judging})  # a set may be left out once


def values_by_case(data: Training, files: Files) -> dict[str, frozenset[float]]:
    """Values of the training masks, of cases that have one."""
    return {
        name: frozenset(files.training[case.reference].values or ())
        for name, case in data.cases.items()
        if case.reference is not None
    }


def begun_folds(output: Path) -> frozenset[int]:
    """Folds of which any cell has begun: it learnt from the data."""
    begun = (
        file.parent.name for name in ("nnunet", RESULT_FILE) for file in (output / "cells").glob(f"*/{name}")
    )
    found = (re.search(r"__fold_(\d+)__seed_\d+$", name) for name in begun)
    return frozenset(int(match[1]) for match in found if match)


def is_judged(output: Path) -> bool:
    """Whether any cell is done. What an unfinished one has predicted is checked by itself."""
    return any((output / "cells").glob(f"*/{RESULT_FILE}"))


def _refuse_changed(data: Training, before: Files, now: Files, output: Path) -> None:
    changed = differences(before.training, now.training)
    if changed:
        _refuse_if(begun_folds(output), "learnt from", changed, shared=_shared(data, output))
        _check_listed(data.cases, output)
        forget(output)
    common = before.judging.keys() & now.judging
    changed = differences(*({file: files.judging[file] for file in common} for files in (before, now)))
    _refuse_if(changed and is_judged(output), "were judged on", changed)


def _refuse_if(condition: object, verb: str, changed: list[str], shared: str = "") -> None:
    if condition:
        raise StudyError(
            f"the output folder's trainings {verb} other data ({some(changed)}); restore it, or take another "
            f"folder{shared}"
        )


def _shared(data: Training, output: Path) -> str:
    """What to do about preprocessed data that another output folder would use, too."""
    if data.folders == NnunetFolders.inside(output):
        return ""
    return (
        f" and delete the preprocessed images of this data set in {data.folders.preprocessed}: they were "
        "made of the old ones, and are made anew"
    )


def _check_listed(cases: Mapping[str, Case], output: Path) -> None:
    """Splits that were made here for other cases would leave new ones out, and look for old ones."""
    for file in NnunetFolders.inside(output).preprocessed.glob(f"*/{SPLITS}"):
        listed = {name for split in read_splits(file) for part in PARTS for name in split[part]}
        if listed != set(cases):
            raise StudyError(
                f"{file} was made for other cases than there are now ({some(sorted(listed ^ set(cases)))}); "
                "delete it, and it is made anew, or write your own"
            )


def _looked_into(data: Training, now: Mapping[Path, Stamp], before: Files | None) -> dict[Path, Stamp]:
    """Look into training files that no run before has seen; stamps with the values of all masks.

    Raises:
        StudyError: for a case that nnU-Net cannot use, before it preprocesses any, and for undeclared values.
    """
    known = before.training if before else {}
    stamps = dict(now)
    for case in data.cases.values():
        if any(known.get(file) != now[file] for file in case.files):
            _refuse_problem(
                None if looks_right(case, data.description) else find_problem(case, data.description), case
            )
        if case.reference is not None and now[case.reference].values is None:
            values = mask_values(case, data.description)
            _refuse_problem(find_label_problem(case, values, data.description), case)
            stamps[case.reference] = now[case.reference].model_copy(update={"values": values})
    return stamps


def _refuse_useless(cases: Iterable[Case], data: Training, before: Files | None, now: Files) -> None:
    """Look into judged images that no run before has seen."""
    known = {**before.training, **before.judging} if before else {}
    for case in cases:
        if any(known.get(file) != now.judging[file] for file in case.files):
            _refuse_problem(find_problem(case, data.description), case)


def _refuse_problem(problem: str | None, case: Case) -> None:
    """Before anything is trained: else it would fail every cell, or none, and be learnt from."""
    if problem:
        raise StudyError(f"{case.images[0].parent}: {problem}")


def _files(cases: Iterable[Case]) -> Iterator[Path]:
    for case in cases:
        yield from case.files
