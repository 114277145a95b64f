"""What the workers need of a model. ``runtime.py`` is the real one; tests bring their own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from ..dicomweb.source import Source  # noqa: TC001 - pydantic reads the annotation
from ..schema import Frozen

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ..answer import Answer
    from ..errors import Refusal
    from ..jobs.drift import DriftStream
    from ..schema import ModelDescription

# Called with stage, steps done, steps to do. An exception that it raises ends the prediction.
Progress = Callable[[str, int, int], None]

ANSWER, MASK = "answer", "mask"


class InputFile(Frozen):
    """One file that a client sent, under the name that we gave it."""

    name: str
    bytes: int
    sha256: str


class Order(Frozen):
    """What is to be done with one case: the parameters of a job.

    Attributes:
        model: key of the model, see ``ModelReport``.
        case: the client's label for the case; shown in the answer and never a path.
        files: the input, in the order of the channels.
        source: where the input is to be fetched from, instead of files.
        outputs: kinds of artifacts beside the answer, which is always made.
        push: archive that gets the DICOM objects among the outputs.
        options: whatever else the request asked of the predictor, by name.
        identity: of the job that runs, for whatever must be the same again in a second attempt.
    """

    model: str
    case: str = "case"
    files: tuple[InputFile, ...] = ()
    source: Source | None = None
    outputs: tuple[str, ...] = (MASK, ANSWER)
    push: str | None = None
    options: Mapping[str, str] = {}
    identity: str | None = None


@dataclass(frozen=True)
class ResultFile:
    """A file that a prediction wrote."""

    path: Path
    media_type: str


@dataclass(frozen=True)
class DriftScore:
    """A served case in the stream of its model."""

    stream: DriftStream
    score: float


@dataclass(frozen=True)
class Segmentation:
    """What came out: the answer, and the mask's file with nnU-Net's ending. A rejected image has no mask.

    ``more`` holds the other artifacts that were ordered, by kind. ``drift`` is the case's place among all,
    where the model has a calibration and ran as it was calibrated.
    """

    answer: Answer
    mask: Path | None
    more: Mapping[str, ResultFile] = field(default_factory=dict)
    drift: DriftScore | None = None


class Engine(Protocol):
    """One opened model. ``segment`` is called for one case at a time."""

    @property
    def description(self) -> ModelDescription:
        """The bundle's ``model.json``."""

    @property
    def sha256(self) -> str:
        """Hash of the bundle."""

    @property
    def provider(self) -> str | None:
        """What the network really runs on, for example ``CPUExecutionProvider``."""

    def self_test(self) -> None:
        """Run the golden case; a ``Refusal`` says what differs."""

    def segment(
        self, files: Sequence[Path], *, folder: Path, order: Order, progress: Progress
    ) -> Segmentation:
        """Segment one case; write the mask into ``folder``.

        Args:
            files: the input files in the order of the channels, or one file that holds them all.
            folder: where files may be written; the caller removes it.
            order: what was asked for.
            progress: called between stages and tiles.

        Raises:
            Refusal: the input cannot be decoded.
        """

    def rejection(self, refusal: Refusal) -> Answer:
        """Write the answer of a case that never reached the network."""


# Opens a model; slow. A ``Refusal`` says why it cannot.
Opener = Callable[[], Engine]
