"""The look of presence and quality at a case of a calibration, and the way back from its record."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .candidates import Candidate, CaseCandidates, LabelCandidates, candidates

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nnunet_losses.serve.calibration.records import CaseRecord, LabelRecord, Subject

_BELOW = "below"


def look(subject: Subject) -> dict[str, dict[str, Any]]:
    """Find a case's candidates: by label, fields of ``LabelRecord``."""
    examined = subject.examined
    found = candidates(
        examined.votes,
        examined.segmentation.mask,
        subject.description,
        spacing=examined.image.spacing,
        reference=subject.reference,
    )
    return {
        label.label: {
            "reference_present": label.bears,
            "dice": label.dice,
            "candidates": tuple(one.model_dump() for one in label.components),
            "facts": {_BELOW: label.below},
        }
        for label in found
    }


def looked_at(records: Iterable[CaseRecord]) -> list[CaseCandidates]:
    """What ``fit_presence`` and ``fit_quality`` take, of those cases of which the truth is known."""
    return [
        CaseCandidates(case=record.name, labels=_labels(record.labels))
        for record in records
        if record.labels and all(label.reference_present is not None for label in record.labels.values())
    ]


def _labels(labels: Mapping[str, LabelRecord]) -> tuple[LabelCandidates, ...]:
    return tuple(
        LabelCandidates(
            label=name,
            components=tuple(Candidate.model_validate(one) for one in label.candidates),
            below=label.facts[_BELOW],
            bears=label.reference_present,
            dice=label.dice,
        )
        for name, label in labels.items()
    )
