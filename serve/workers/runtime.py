"""The real engine: a bundle and its predictor behind the workers' protocol."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..approximations import Approximations
from ..backends.opening import Backend, PrecisionChoice  # noqa: TC001 - pydantic reads the annotations
from ..bundle import Bundle
from ..decode import read_in_child
from ..dicom_options import DicomOptions
from ..formats import Case
from ..media import media_type
from ..pipeline.segment import Segmenter
from ..policies import EmptyPolicy, OodPolicy, Policies
from ..predictor import Predictor
from ..schema import Frozen
from ..self_test import run_self_test
from .converting import Converter
from .drift import stream_of
from .engine import DriftScore, ResultFile, Segmentation
from .reports import CalibrationFacts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..answer import Answer
    from ..backends import TileNetwork
    from ..errors import Refusal
    from .engine import Order, Progress

_CASE = "case"  # the client's name for it never gets here


class EngineSettings(Frozen):
    """How networks are run, see ``Predictor``."""

    backend: Backend = "auto"
    precision: PrecisionChoice = "auto"
    threads: int | None = None
    ood: OodPolicy = OodPolicy.FLAG
    empty: EmptyPolicy = EmptyPolicy.FLAG


class BundleEngine:
    """One bundle with its networks open. See ``Engine`` for the methods."""

    def __init__(self, predictor: Predictor, *, provider: str, settings: EngineSettings) -> None:
        self._predictor = predictor
        self._settings = settings
        self._stream = stream_of(predictor.bundle)
        self.description = predictor.bundle.description
        self.sha256 = predictor.bundle.sha256
        self.provider = provider
        self.precision = _segmenter(predictor).precision
        self.calibration = CalibrationFacts.of(predictor.bundle.calibration)

    @classmethod
    def open(cls, path: Path, settings: EngineSettings) -> BundleEngine:
        """Verify a bundle's hashes and open all of its networks, so that no request has to wait for that.

        Raises:
            Refusal: the bundle or the backend cannot be used.
        """
        predictor = _predictor(Bundle.load(path), settings)
        _networks(predictor)
        return cls(predictor, provider=_segmenter(predictor).provider, settings=settings)

    def self_test(self) -> None:
        """Run the golden case."""
        run_self_test(self._predictor)

    def segment(
        self, files: Sequence[Path], *, folder: Path, order: Order, progress: Progress
    ) -> Segmentation:
        """Write with the function that ``nnunet-losses predict`` uses: the bytes are the same."""
        predictor = self._predictor_for(order)
        case = Case(_CASE, tuple(files))
        progress("prepare", 0, 1)
        course = predictor.prepare(case, policies=predictor.policies.changed(order.options))
        progress("network", 0, 1)
        predictor.infer(course, progress=partial(progress, "network"))
        progress("conclude", 0, 1)
        converter = Converter(order, course.found, self.description)
        prediction = predictor.conclude(course)
        progress("write", 0, 1)
        written = predictor.write(prediction, folder)
        more = {name: ResultFile(file, media_type(file.name)) for name, file in written.further.items()}
        more |= converter.write(prediction, written.answer, folder)
        drift = self._drift(written.answer) if predictor is self._predictor else None
        return Segmentation(written.answer, written.mask_file, more, drift)

    def _predictor_for(self, order: Order) -> Predictor:
        """The same networks with what a request gave up for speed, or knows of the orientation."""
        approximations = Approximations.of(order.options)
        orientation = DicomOptions.of(order.options).orientation or self._predictor.orientation
        if approximations == Approximations() and orientation == self._predictor.orientation:
            return self._predictor
        return _predictor(
            self._predictor.bundle,
            self._settings,
            approximations=approximations,
            networks=_networks(self._predictor),
            orientation=orientation,
        )

    def _drift(self, answer: Answer) -> DriftScore | None:
        score = answer.distribution.statistic
        return None if self._stream is None or score is None else DriftScore(self._stream, score)

    def rejection(self, refusal: Refusal) -> Answer:
        """Write the answer of a case that never became an image."""
        return self._predictor.rejection(_CASE, refusal)


def _predictor(
    bundle: Bundle,
    settings: EngineSettings,
    *,
    approximations: Approximations = Approximations(),  # noqa: B008 - frozen
    networks: Sequence[TileNetwork] | None = None,
    orientation: str | None = None,
) -> Predictor:
    return Predictor(
        bundle,
        backend=settings.backend,
        precision=settings.precision,
        threads=settings.threads,
        approximations=approximations,
        policies=Policies(settings.ood, settings.empty),
        read=read_in_child,
        networks=networks,
        orientation=orientation,
    )


def _segmenter(predictor: Predictor) -> Segmenter:
    assert isinstance(predictor.engine, Segmenter), "none other was given"
    return predictor.engine


def _networks(predictor: Predictor) -> list[TileNetwork]:
    """Open all networks; member after member."""
    stages = _segmenter(predictor).stages.values()
    return [stage.network(fold) for stage in stages for fold in range(len(stage.member.folds))]
