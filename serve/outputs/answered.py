"""One answered case, as the writers see it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4, uuid5

import numpy as np

from nnunet_losses.serve.formats.turning import own_grid

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.answer import Answer
    from nnunet_losses.serve.image import Geometry, Image
    from nnunet_losses.serve.schema import Label, ModelDescription

    from .kinds import Options

_NAMESPACE = UUID("5f2c1a0e-8f0b-4c55-9d4e-6d1f3a7b90c2")


@dataclass(frozen=True, eq=False)
class Answered:
    """One answered case.

    Attributes:
        mask: integers (z, y, x) on the image's grid.
        image: what was segmented.
        answer, description: as they are.
        options: see ``Options``.
        folder: where to write.
        probabilities: (heads, z, y, x) on the image's grid, where they were kept.
    """

    mask: NDArray[Any]
    image: Image
    answer: Answer
    description: ModelDescription
    options: Options
    folder: Path
    probabilities: NDArray[np.float16] | None = None

    def path(self, ending: str) -> Path:
        """Where the output with that ending goes."""
        return self.folder / f"{self.options.stem}{ending}"

    @cached_property
    def own(self) -> tuple[NDArray[Any], Geometry]:
        """The mask (z, y, x) on the grid of the file or series, and that grid."""
        return own_grid(self.mask, self.image.geometry)

    def labels(self) -> Iterator[tuple[int, Label, NDArray[np.bool_]]]:
        """Each label of the model: its position, itself, and where it is on ``own``'s grid."""
        mask, _ = self.own
        for index, label in enumerate(self.description.labels):
            yield index, label, np.isin(mask, np.asarray(label.members, mask.dtype))

    def uid(self, use: str) -> str:
        """A UID for one use of this answer (PS3.5, B.2): the same again where the answer has an identity."""
        identity = self.options.identity
        number = uuid4() if identity is None else uuid5(_NAMESPACE, f"{identity} {use}")
        return f"2.25.{number.int}"

    @property
    def statement(self) -> str:
        """Outcome and verdict in at most 64 characters."""
        return f"{self.answer.outcome.value}, input {self.answer.distribution.verdict.value}"[:64]
