"""A stress test from images to report."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.errors import Refusal
from nnunet_losses.serve.formats import Case, read_image
from nnunet_losses.serve.outputs.colours import colour
from nnunet_losses.serve.schema import Normalization

from .page import page
from .pictures import Painter
from .summary import Summary
from .trials import Bench, Trial

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.formats import Incomplete
    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.predictor import Predictor
    from nnunet_losses.serve.schema import ModelDescription

    from .page import Key
    from .trials import Memory

    # done and all trials of the present case, how many cases are done, and what is being done
    Progress = Callable[[int, int, int, str], None]

PICTURE = "report.html"


@dataclass(eq=False)
class StressTest:
    """Tries a bundle on damaged copies of a user's images.

    Args:
        predictor: made with ``read=memory``.
        memory: what the predictor reads from.
        cases: the user's.
        only: keys of damages; None takes all.

    Attributes:
        trials: so far.
        unreadable: cases that could not be tried, and why.
        pictures: of the first case.
    """

    predictor: Predictor
    memory: Memory
    cases: Sequence[Case | Incomplete]
    only: Collection[str] | None = None
    trials: list[Trial] = field(default_factory=list)
    unreadable: list[tuple[str, Refusal]] = field(default_factory=list)
    pictures: dict[Key, str] = field(default_factory=dict)

    def run(self, progress: Progress) -> None:
        """Try every case. What was tried before an interruption is kept."""
        for index, (name, image) in enumerate(self._images()):
            painter = Painter.of(image, is_colour=_is_colour(self.description)) if index == 0 else None
            bench = Bench(self.predictor, self.memory, self.only, self._shower(painter))

            def report(done: int, total: int, what: str, index: int = index) -> None:
                progress(done, total, index, what)

            for trial in bench.trials(name, image, report):
                self.trials.append(trial)

    @property
    def description(self) -> ModelDescription:
        """Of the model."""
        return self.predictor.bundle.description

    def _images(self) -> Iterator[tuple[str, Image]]:
        for case in self.cases:
            try:
                if not isinstance(case, Case):
                    raise case.refusal
                image = self._read(case)
            except Refusal as refusal:
                self.unreadable.append((case.name, refusal))
                continue
            yield case.name, image

    def _read(self, case: Case) -> Image:
        """As the predictor would read it, did it not read from memory."""
        predictor, reader = self.predictor, self.description.reader
        return read_image(
            case.files, reader=reader, limits=predictor.limits, orientation=predictor.orientation
        )

    def _shower(self, painter: Painter | None) -> Callable[[Trial, Image, NDArray[Any] | None], None]:
        def show(trial: Trial, image: Image, mask: NDArray[Any] | None) -> None:
            if painter is not None:
                self.pictures[trial.corruption, trial.severity] = painter.paint(image, mask, trial.corruption)

        return show

    def summary(self) -> Summary:
        """What the trials say together."""
        judge = self.predictor.judge
        n = 0 if judge is None else judge.model.section.n
        return Summary(self.description.name, n > 0, n, tuple(self.trials), len(self.cases))

    def write(self, folder: Path) -> Path:
        """Write the page, ``stress.json`` and ``stress.csv``; return the page.

        Raises:
            OSError: where the folder cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        summary = self.summary()
        summary.write(folder)
        names = [
            (label.name, "#" + "".join(f"{part:02x}" for part in colour(label.value - 1)))
            for label in self.description.labels
        ]
        (folder / PICTURE).write_text(page(summary, self.pictures, names), encoding="utf-8")
        return folder / PICTURE


def _is_colour(description: ModelDescription) -> bool:
    channels = description.members[0].preprocessing.channels
    return len(channels) == 3 and all(one.normalization is Normalization.RGB_0_1 for one in channels)
