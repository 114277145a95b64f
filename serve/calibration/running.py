"""Runs the served pipeline over the cases of a calibration, once each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.formats import read_image
from nnunet_losses.serve.predictor import Predictor
from nnunet_losses.serve.safety.candidates import candidates

from .errors import CalibrationError
from .records import CaseRecord, Kind, Refused, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.backends import Backend, PrecisionChoice
    from nnunet_losses.serve.course import Course
    from nnunet_losses.serve.pipeline.segment import Segmentation
    from nnunet_losses.serve.safety.candidates import LabelCandidates
    from nnunet_losses.serve.schema import Reader

    from .planning import Planned
    from .record_store import RecordStore

    Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class EngineChoice:
    """On what networks run; see ``Predictor``."""

    backend: Backend = "auto"
    precision: PrecisionChoice = "auto"
    threads: int | None = None


class Runner:
    """Turns cases into records.

    Args:
        bundle: the model.
        engine: on what it runs.
        compares: whether it is also observed how far mirrored passes and folds agree.
        position: which of the first member's folds is looked at where the whole bundle runs.

    Example:
        >>> runner = Runner(Bundle.load("liver.bundle"), EngineChoice())  # doctest: +SKIP
        >>> record = runner.run(planned)  # doctest: +SKIP
    """

    def __init__(
        self, bundle: Bundle, engine: EngineChoice, *, compares: bool = False, position: int = 0
    ) -> None:
        self._bundle = bundle
        self._position = position
        self._compares = compares
        self._engine = engine
        self._predictors: dict[str | None, Predictor] = {}

    @property
    def engine(self) -> tuple[str, str]:
        """Provider and precision in use; opens the networks of the whole bundle's first fold."""
        served = self.predictor(None).engine
        return served.provider, served.precision

    def predictor(self, fold: str | None) -> Predictor:
        """Predictor of the whole bundle, or of one fold of every member."""
        if fold not in self._predictors:
            bundle = self._bundle if fold is None else single_fold(self._bundle, fold)
            self._predictors[fold] = Predictor(
                bundle,
                backend=self._engine.backend,
                precision=self._engine.precision,
                threads=self._engine.threads,
                observe=True,
            )
            if self._compares:
                self._predictors[fold].compare_passes()
        return self._predictors[fold]

    def run_all(
        self,
        cases: Sequence[Planned],
        store: RecordStore,
        progress: Progress = lambda _name, _done, _all: None,
    ) -> tuple[list[CaseRecord], list[Refused]]:
        """Run all cases; those whose records are stored are taken from there.

        Args:
            cases: to run.
            store: keeps each record as soon as it is made.
            progress: called with (case, cases done, cases to do).

        Raises:
            Refusal: for a case that cannot be read, or an engine that fails.
            CalibrationError: for a reference that does not fit its image.
        """
        records, refused = [], []
        for index, planned in enumerate(cases):
            progress(planned.case.name, index, len(cases))
            made: CaseRecord | Refused | None = store.load(planned)
            if made is None:
                made = self.run(planned)
                if isinstance(made, CaseRecord):
                    store.save(planned, made)
            if isinstance(made, Refused):
                refused.append(made)
            else:
                records.append(made)
        progress("", len(cases), len(cases))
        return records, refused

    def run(self, planned: Planned) -> CaseRecord | Refused:
        """Run one case on the very way on which it would be answered."""
        predictor = self.predictor(planned.fold)
        course = predictor.prepare(planned.case)
        if course.breach is not None:
            return _refused(planned, course)
        predictor.infer(course)
        return _recorded(planned, predictor, course, position=self._position if planned.fold is None else 0)


def _recorded(
    planned: Planned, predictor: Predictor, course: Course, *, position: int
) -> CaseRecord | Refused:
    if course.breach is not None:  # found by the network's part of the way
        return _refused(planned, course)
    assert course.image is not None, "prepared before"
    assert course.seen is not None, "the predictor observes"
    votes, image = course.found, course.image
    made: Segmentation = predictor.engine.conclude(votes)  # type: ignore[attr-defined] # it is a Segmenter
    observation = predictor.examiner.observe(image, course.seen, made)[position]
    description = predictor.bundle.description
    reference = _reference(planned, made, description.reader)
    found = candidates(votes, made.mask, description, spacing=image.spacing, reference=reference)
    return CaseRecord(
        name=planned.case.name,
        group=planned.group,
        fold=planned.fold,
        kind=_kind(planned, reference, found),
        role=planned.role,
        input_sha256=image.sha256,
        observation=observation,
        candidates=found,
        tiles=_tiles(made) if planned.role is Role.RANKED else None,
    )


def _refused(planned: Planned, course: Course) -> Refused:
    known = f"unread: {planned.case.name}" if course.image is None else course.image.sha256
    return Refused(planned.case.name, planned.group, planned.fold, planned.role, known, str(course.breach))


def _tiles(made: Segmentation) -> dict[str, NDArray[np.float16]] | None:
    largest = np.finfo(np.float16).max
    return {
        name: np.clip(values, -largest, largest).astype(np.float16) for name, values in made.features.items()
    } or None


def _reference(planned: Planned, made: Segmentation, reader: Reader) -> NDArray[Any] | None:
    """Labels (z, y, x) on the image's grid; zeros where it is known that there is nothing."""
    if planned.is_negative:
        return np.zeros(made.mask.shape, np.int64)
    if planned.label is None:
        return None
    labels = read_image([planned.label], reader=reader).data[0]
    if labels.shape != made.mask.shape:
        raise CalibrationError(
            f"The reference {planned.label.name} has {labels.shape} voxels (z, y, x), its image "
            f"{made.mask.shape}."
        )
    reference: NDArray[np.int64] = labels.astype(np.int64)
    return reference


def _kind(planned: Planned, reference: NDArray[Any] | None, found: Sequence[LabelCandidates]) -> Kind:
    if planned.role is Role.OUTLIER:
        return Kind.OUTLIER
    if reference is None:
        return Kind.UNLABELLED
    return Kind.LESION_BEARING if any(label.bears for label in found) else Kind.LESION_FREE


def single_fold(bundle: Bundle, fold: str) -> Bundle:
    """View of a bundle that answers with one fold of every member alone."""
    description = bundle.description
    members = tuple(
        member.model_copy(update={"folds": tuple(own for own in member.folds if own.name == fold)})
        for member in description.members
    )
    view = Bundle(bundle.root, description.model_copy(update={"members": members, "variants": ()}))
    view.origin = bundle  # an unpacked archive lives as long as its bundle
    return view
