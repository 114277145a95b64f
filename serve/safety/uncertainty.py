"""Maps of the uncertainty, voxel by voxel, in the image's geometry.

The entropy of the mean probabilities is large where the answer is open; the part of it that the members do
not agree about is the mutual information between member and label (BALD: Houlsby et al.,
https://arxiv.org/abs/1112.5745). Computed a few slices at a time, so that what is held are the logits and the
finished maps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.answer import UncertaintyMap
from nnunet_losses.serve.pipeline.agreement import entropy
from nnunet_losses.serve.pipeline.ensemble import probability_slabs
from nnunet_losses.serve.schema import Head

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from nnunet_losses.serve.pipeline.segment import Votes

    Maps = Mapping[str, NDArray[np.uint8]]

ENTROPY, MUTUAL_INFORMATION = "entropy", "mutual_information"
MAP_FILES = {ENTROPY: "uncertainty", MUTUAL_INFORMATION: "mutual_information"}  # CASE_uncertainty.nii.gz
STEPS = 255  # of a map; the largest possible uncertainty


def uncertainty_maps(found: Votes, head: Head) -> dict[str, NDArray[np.uint8]]:
    """Make the maps of an image.

    Args:
        found: what the members say.
        head: of the model.

    Returns:
        By measure, (z, y, x) on the image's grid; 255 is the largest possible, ln(heads) for labels and ln 2
        for a region. Of overlapping regions the most uncertain counts. Mutual information only of several
        members. 0 outside of what the network looked at.
    """
    assert found.frame is not None, "votes have a frame"
    votes = [vote.on_host() for vote in found.votes.values()]
    measures = (ENTROPY, MUTUAL_INFORMATION) if len(votes) > 1 else (ENTROPY,)
    maps = {measure: np.zeros(votes[0].resize.shape, np.uint8) for measure in measures}
    for rows, each in probability_slabs(votes, head):
        whole = entropy(sum(each[1:], each[0]) / np.float32(len(each)), head)
        maps[ENTROPY][rows] = _steps(whole, head)
        if MUTUAL_INFORMATION in maps:
            within = sum(entropy(one, head) for one in each) / np.float32(len(each))
            maps[MUTUAL_INFORMATION][rows] = _steps(whole - within, head)
    return {measure: found.frame.whole(values) for measure, values in maps.items()}


def _steps(shares: Any, head: Head) -> NDArray[np.uint8]:
    largest = shares.max(axis=0) if head is Head.SIGMOID else shares
    return np.asarray(np.rint(np.clip(largest, 0, 1) * STEPS), np.uint8)


def described(maps: Maps, mask: NDArray[Any]) -> tuple[UncertaintyMap, ...]:
    """What an answer says of maps that were not written yet."""
    marked = mask > 0
    return tuple(
        UncertaintyMap(
            measure=measure,
            scale=1 / STEPS,
            mean_in_mask=round(float(values[marked].mean()) / STEPS, 6) if marked.any() else None,
        )
        for measure, values in maps.items()
    )
