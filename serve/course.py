"""A case under way, and the engines that it meets."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from .errors import Code, Refusal
from .policies import Policies

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .answer import Warning_
    from .image import Image
    from .pipeline.segment import Segmentation
    from .safety.scores.observation import Observation

    Progress = Callable[[int, int], None]


class Engine(Protocol):
    """What turns an image into a mask: ``Segmenter``, or a stand-in for it."""

    @property
    def provider(self) -> str:
        """Engine truly in use."""

    @property
    def precision(self) -> str:
        """Precision that it computes with."""

    def segment(self, image: Image, *, progress: Progress | None = None) -> Segmentation:
        """Segment an image."""


@runtime_checkable
class StagedEngine(Protocol):
    """An engine whose work falls into three parts, so that those of several images can overlap."""

    def prepare(self, image: Image) -> Any:
        """Do what needs no network."""

    def vote(self, image: Image, *, progress: Progress | None = None, prepared: Any = None) -> Any:
        """Run the networks."""

    def conclude(self, found: Any) -> Segmentation:
        """Make a segmentation of it."""


@dataclass(eq=False)
class Course:
    """A case under way: what is known of it so far, for whatever answer it ends in.

    Attributes:
        case: its name.
        image: once it was read.
        seen: what the safety scores saw of the image, where somebody judges.
        prepared: the engine's input, once it was made.
        found: what the engine said.
        policies: what was asked for.
        probabilities: whether they are to be kept.
        breach: why the image is not what the model was made for, if it is not.
        warnings, timings: for the answer.
    """

    case: str
    image: Image | None = None
    seen: Observation | None = None
    prepared: Any = None
    found: Any = None
    policies: Policies = Policies()  # noqa: RUF009 - frozen
    probabilities: bool = False
    breach: Refusal | None = None
    warnings: list[Warning_] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=perf_counter)

    def begin(self) -> None:
        """Start the clock of the next stage."""
        self.began = perf_counter()

    def stage(self, name: str) -> None:
        """Note the time that a stage took."""
        now = perf_counter()
        self.spend({name: now - self.began})
        self.began = now

    def spend(self, timings: dict[str, float]) -> None:
        """Add seconds by stage."""
        for name, seconds in timings.items():
            self.timings[name] = self.timings.get(name, 0.0) + seconds

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Keep a breach of the contract, which ends in an answer; turn a lack of memory into a refusal."""
        try:
            yield
        except Refusal as refusal:
            if not refusal.is_contract_breach:
                raise
            self.breach = refusal
        except MemoryError as error:
            raise _out_of_memory(self.case) from error


def _out_of_memory(case: str) -> Refusal:
    return Refusal(
        Code.BACKEND_FAILED,
        f"The memory was not enough for case {case}.",
        remedy="Crop the image to the region of interest, or use a machine with more memory.",
    )
