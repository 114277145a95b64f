"""Probabilities on the grid of the image's file, in half precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats.turning import own_grid
from nnunet_losses.serve.formats.writing import replacing
from nnunet_losses.serve.pipeline.ensemble import probability_slabs
from nnunet_losses.serve.policies import OOD_SUPPRESSED
from nnunet_losses.serve.safety.memory import available_memory
from nnunet_losses.serve.schema import Head

from .kinds import ENDINGS, OutputKind

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from nnunet_losses.serve.pipeline.segment import Votes
    from nnunet_losses.serve.schema import ModelDescription

    from .answered import Answered


def mean_probabilities(
    votes: Votes, description: ModelDescription, *, memory_bytes: int | None = None
) -> NDArray[np.float16]:
    """Average the members' probabilities: (heads, z, y, x) on the image's grid, a few slices at a time.

    Outside of the box that nnU-Net crops to, background (under softmax) has probability 1, as in nnU-Net.

    Args:
        votes: of a ``Segmenter``.
        description: of the model.
        memory_bytes: budget for the result; None takes 80 % of what is free.

    Raises:
        Refusal: ``output.impossible``, the result is larger than the budget.
    """
    assert votes.frame is not None, "votes have a frame"
    first, *_ = votes.votes.values()
    shape = first.resize.shape
    _check_memory(description.heads, votes.frame.shape, memory_bytes)
    cropped = np.empty((description.heads, *shape), np.float16)
    for rows, members in probability_slabs(list(votes.votes.values()), description.head):
        cropped[:, rows] = sum(members[1:], start=members[0]) / np.float32(len(members))
    surroundings = [float(description.head is Head.SOFTMAX and head == 0) for head in range(len(cropped))]
    whole = [votes.frame.whole(values, fill=fill) for values, fill in zip(cropped, surroundings, strict=True)]
    return np.stack(whole)


def _check_memory(heads: int, shape: Sequence[int], budget: int | None) -> None:
    needed = 2 * 2 * heads * int(np.prod(shape, dtype=np.int64))
    allowed = available_memory() if budget is None else budget
    if needed > allowed:
        raise Refusal(
            Code.OUTPUT_IMPOSSIBLE,
            f"The probabilities of {heads} classes need {needed:,} bytes; {allowed:,} are free.",
            remedy="Crop the image, or do not ask for probabilities.",
            observed=needed,
            expected={"bytes_at_most": allowed},
        )


def write_probabilities(answered: Answered) -> Sequence[Path]:
    """Write ``probabilities`` (heads, z, y, x), as nnU-Net's ``--save_probabilities`` names them, and labels.

    None where the mask was suppressed: it could be read off them.

    Raises:
        Refusal: ``output.impossible``, they were not kept.
    """
    if OOD_SUPPRESSED in answered.answer.policy.applied:
        return []
    if answered.probabilities is None:
        raise Refusal(
            Code.OUTPUT_IMPOSSIBLE,
            "The probabilities of this answer were not kept.",
            remedy="Ask for them when the image is sent.",
        )
    values, _ = own_grid(answered.probabilities, answered.image.geometry)
    path = answered.path(ENDINGS[OutputKind.PROBABILITIES])
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, probabilities=values, classes=np.array(_classes(answered.description)))
    return [path]


def _classes(description: ModelDescription) -> list[Any]:
    """Name of each head."""
    names = {label.channel: label.name for label in description.labels}
    return [names.get(head, "background") for head in range(description.heads)]
