"""What the service needs of a model. ``runtime.py`` is the real one; tests bring their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nnunet_losses.serve.answer import Answer
    from nnunet_losses.serve.errors import Refusal
    from nnunet_losses.serve.schema import ModelDescription

# Called now and then while the network runs, with whatever the engine has to say about its progress.
# An exception that it raises ends the prediction.
Progress = Callable[..., Any]


@dataclass(frozen=True)
class Segmentation:
    """What came out: the answer, and the mask's file with nnU-Net's ending. A rejected image has no mask."""

    answer: Answer
    mask: Path | None


class Engine(Protocol):
    """One opened model. All methods are called from worker threads, ``segment`` from one at a time."""

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

    def segment(self, files: Sequence[Path], *, folder: Path, progress: Progress) -> Segmentation:
        """Segment one case; write the mask into ``folder``.

        Args:
            files: the input files in the order of the channels, or one file that holds them all.
            folder: where the mask may be written; the caller removes it.
            progress: called between tiles.

        Raises:
            Refusal: the input cannot be decoded.
        """

    def rejection(self, refusal: Refusal) -> Answer:
        """Write the answer of a case that never reached the network."""


# Opens a model; slow, run in a thread. A ``Refusal`` says why it cannot.
Opener = Callable[[], Engine]
