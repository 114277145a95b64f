"""Which cases each fold trains on and judges: nnU-Net's own five parts, or those that the user wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nnunet_losses.trainers.files import write_atomically

from .study import StudyError, some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from pathlib import Path

SPLITS = "splits_final.json"
PARTS = ("train", "val")
_FOLDS = 5

Splits = list[dict[str, list[str]]]


def check_number(cases: Collection[str], folds: Iterable[int], preprocessed: Path, raw: Path) -> None:
    """Before anything takes long: nnU-Net's own splits have five parts, the user's as many as they have.

    Raises:
        StudyError: there are too few cases, or no such fold.
    """
    written = next((folder for folder in (preprocessed, raw) if (folder / SPLITS).is_file()), None)
    if written is not None:
        check_folds(folds, read_splits(written / SPLITS))
        return
    if len(cases) < _FOLDS:
        raise StudyError(
            f"{len(cases)} training cases cannot be split in five as nnU-Net does; write "
            f"{preprocessed / SPLITS}"
        )
    check_folds(folds, [{}] * _FOLDS)


def check_folds(folds: Iterable[int], splits: Splits) -> None:
    """Refuse folds that there are not.

    Raises:
        StudyError: with the first of them.
    """
    for fold in folds:
        if fold >= len(splits):
            raise StudyError(f"there is no fold {fold}: {SPLITS} has {len(splits)}, counted from 0")


def overlap_notes(splits: Splits, folds: Iterable[int]) -> Iterator[str]:
    """Say which folds are judged on what they were trained on.

    Example:
        >>> [note[:41] for note in overlap_notes([{"train": ["a", "b"], "val": ["b"]}], [0])]
        ['Fold 0 trains on cases that it validates ']
    """
    for fold in folds:
        both = sorted(set(splits[fold]["train"]) & set(splits[fold]["val"]))
        if both:
            yield (
                f"Fold {fold} trains on cases that it validates on ({some(both)}): its validation "
                f"figures and presence threshold are too good. Write other splits in {SPLITS}."
            )


def make_splits(file: Path, names: Iterable[str]) -> Splits:
    """Read splits; where there are none, write nnU-Net's: trainings that begin together would all do so.

    Raises:
        StudyError: see ``read_splits``.
    """
    if not file.is_file():
        from nnunetv2.utilities.crossval_split import generate_crossval_split  # noqa: PLC0415 - heavy

        splits = generate_crossval_split(sorted(names), seed=12345, n_splits=_FOLDS)
        plain = [{part: [str(name) for name in split[part]] for part in PARTS} for split in splits]
        write_atomically(file, json.dumps(plain, indent=4))
    return read_splits(file)


def read_splits(file: Path) -> Splits:
    """Read splits.

    Raises:
        StudyError: the file is damaged, or holds something else.
    """
    try:
        found = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise StudyError(f"{file} is damaged ({error}); restore it, or delete it") from error
    if not isinstance(found, list) or not all(map(_is_split, found)):
        raise StudyError(
            f"{file} holds no splits; write [{{'train': [names], 'val': [names]}}, ...], or delete it"
        )
    return found


def _is_split(split: object) -> bool:
    return isinstance(split, dict) and all(isinstance(split.get(part), list) for part in PARTS)
