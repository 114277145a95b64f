"""Labels that nnU-Net cannot train, and those that no training mask has: nothing can be learnt of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.metrics.labels import LabelSet

from .study import StudyError, some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from .splits import Splits

Values = frozenset[float]


def check_declared(file: Path, description: Mapping[str, Any]) -> None:
    """Refuse labels that nnU-Net would fail at, some of them not before it trains.

    Args:
        file: ``dataset.json``, which is named.
        description: its content.

    Raises:
        StudyError: they are not whole numbers from 0 without gaps, or regions without their order.
    """
    try:
        labels = LabelSet.of_dataset(description)
    except ValueError as error:
        raise StudyError(f"{file}: {error}") from error
    declared = sorted(labels.known)
    if "background" not in description["labels"] or declared != list(range(len(declared))):
        raise StudyError(
            f"{file} declares the labels {dict(description['labels'])}; nnU-Net needs 'background' = 0, and "
            "whole numbers from 1 without a gap. Number the labels anew, in the masks, too"
        )
    order = description.get("regions_class_order")
    if labels.by_region and len(order or ()) != len(labels.labels):
        raise StudyError(
            f"{file} declares {len(labels.labels)} regions, but its regions_class_order is {order}; write "
            "the value that each region's voxels get, in the order in which they paint over each other"
        )


def check_any_label(name: str, description: Mapping[str, Any], values: Mapping[str, Values]) -> None:
    """Refuse a training set without anything to find: nnU-Net would fail at it, or learn nothing.

    Args:
        name: of the data set.
        description: ``dataset.json``.
        values: of the training masks, by case.

    Raises:
        StudyError: it names the labels that were expected.

    Example:
        >>> check_any_label("A", {"labels": {"background": 0, "lesion": 1}}, {"a": frozenset({0.0, 1.0})})
    """
    labels = LabelSet.of_dataset(description).labels
    if len(_absent(description, values.values())) < len(labels):
        return
    expected = ", ".join(f"{label.name} = {' or '.join(map(str, label.members))}" for label in labels)
    raise StudyError(
        f"no training mask of {name} has any label: all {len(values)} hold only background, so there is "
        f"nothing to learn; expected is {expected} in some of them. Check how those in labelsTr were "
        "written, and add cases with a lesion; images without any belong beside them, or into --negatives"
    )


def absent_notes(
    description: Mapping[str, Any], values: Mapping[str, Values], splits: Splits, folds: Collection[int]
) -> Iterator[str]:
    """Say which labels no training mask has, of all cases or of those that a fold trains on.

    Example:
        >>> described = {"labels": {"background": 0, "organ": 1, "tumour": 2}}
        >>> masks = {"a": frozenset({0.0, 1.0}), "b": frozenset({0.0})}
        >>> for note in absent_notes(described, masks, [{"train": ["b"], "val": ["a"]}], [0]):
        ...     print(note[:44])
        No training mask has tumour, which dataset.j
        No training mask of fold 0 has organ: its tr
    """
    never = _absent(description, values.values())
    if never:
        yield (
            f"No training mask has {some(never)}, which dataset.json declares: it cannot be learnt, and "
            "rankings for it mean nothing. Check the masks, or take it out of dataset.json."
        )
    for fold in folds:
        trained = [values[case] for case in splits[fold]["train"] if case in values]
        here = [name for name in _absent(description, trained) if name not in never]
        if here:
            yield (
                f"No training mask of fold {fold} has {some(here)}: its trainings cannot learn it, and their "
                "figures mean nothing. Write splits that spread the cases which have it."
            )


def _absent(description: Mapping[str, Any], values: Collection[Values]) -> list[str]:
    present = frozenset[float]().union(*values)
    return [
        label.name for label in LabelSet.of_dataset(description).labels if not present & set(label.members)
    ]
