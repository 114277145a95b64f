"""The real engine: a bundle and its predictor behind the workers' protocol."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ..backends.opening import Backend, PrecisionChoice  # noqa: TC001 - pydantic reads the annotations
from ..bundle import Bundle
from ..decode import read_in_child
from ..formats import Case
from ..media import media_type
from ..pipeline.segment import Segmenter
from ..policies import EmptyPolicy, OodPolicy, Policies
from ..predictor import Predictor
from ..schema import Frozen
from ..self_test import run_self_test
from .engine import ResultFile, Segmentation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..answer import Answer
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

    def __init__(self, predictor: Predictor, *, provider: str) -> None:
        self._predictor = predictor
        self.description = predictor.bundle.description
        self.sha256 = predictor.bundle.sha256
        self.provider = provider

    @classmethod
    def open(cls, path: Path, settings: EngineSettings) -> BundleEngine:
        """Verify a bundle's hashes and open all of its networks, so that no request has to wait for that.

        Raises:
            Refusal: the bundle or the backend cannot be used.
        """
        bundle = Bundle.load(path)
        segmenter = Segmenter(
            bundle, backend=settings.backend, precision=settings.precision, threads=settings.threads
        )
        for stage in segmenter.stages.values():
            for fold in range(len(stage.member.folds)):
                stage.network(fold)
        policies = Policies(settings.ood, settings.empty)
        predictor = Predictor(bundle, engine=segmenter, policies=policies, read=read_in_child)
        return cls(predictor, provider=segmenter.provider)

    def self_test(self) -> None:
        """Run the golden case."""
        run_self_test(self._predictor)

    def segment(
        self, files: Sequence[Path], *, folder: Path, order: Order, progress: Progress
    ) -> Segmentation:
        """Write with the function that ``nnunet-losses predict`` uses: the bytes are the same."""
        predictor, case = self._predictor, Case(_CASE, tuple(files))
        progress("prepare", 0, 1)
        course = predictor.prepare(case, policies=predictor.policies.changed(order.options))
        progress("network", 0, 1)
        predictor.infer(course, progress=partial(progress, "network"))
        progress("conclude", 0, 1)
        prediction = predictor.conclude(course)
        progress("write", 0, 1)
        written = predictor.write(prediction, folder)
        more = {name: ResultFile(file, media_type(file.name)) for name, file in written.further.items()}
        return Segmentation(written.answer, written.mask_file, more)

    def rejection(self, refusal: Refusal) -> Answer:
        """Write the answer of a case that never became an image."""
        return self._predictor.rejection(_CASE, refusal)
