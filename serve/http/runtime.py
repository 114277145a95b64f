"""The real engine: a bundle and its predictor behind the service's protocol."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.formats import Case
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.predictor import Predictor
from nnunet_losses.serve.self_test import run_self_test

from .engine import Segmentation

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nnunet_losses.serve.answer import Answer
    from nnunet_losses.serve.errors import Refusal

    from .engine import Opener, Progress
    from .settings import Settings

_CASE = "case"  # the client's name for it never gets here


def openers(settings: Settings) -> Mapping[str, Opener]:
    """One function per bundle that opens it, by the bundle's file name (numbered where two are alike)."""
    found: dict[str, Opener] = {}
    for index, path in enumerate(settings.bundles):
        name = path.resolve().name
        found[name if name not in found else f"{name} ({index})"] = partial(BundleEngine.open, path, settings)
    return found


class BundleEngine:
    """One bundle with its networks open. See ``Engine`` for the methods."""

    def __init__(self, predictor: Predictor, *, provider: str) -> None:
        self._predictor = predictor
        self.description = predictor.bundle.description
        self.sha256 = predictor.bundle.sha256
        self.provider = provider

    @classmethod
    def open(cls, path: Path, settings: Settings) -> BundleEngine:
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
        return cls(Predictor(bundle, engine=segmenter), provider=segmenter.provider)

    def self_test(self) -> None:
        """Run the golden case."""
        run_self_test(self._predictor)

    def segment(self, files: Sequence[Path], *, folder: Path, progress: Progress) -> Segmentation:
        """Write with the function that ``nnunet-losses predict`` uses: the bytes are the same."""
        case = Case(_CASE, tuple(files))
        written = self._predictor.predict_to_folder(case, folder / "result", progress=progress)
        return Segmentation(written.answer, written.mask_file)

    def rejection(self, refusal: Refusal) -> Answer:
        """Write the answer of a case that never became an image."""
        return self._predictor.rejection(_CASE, refusal)
