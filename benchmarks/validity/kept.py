"""What is kept of a case, so that tens of thousands fit on a disk."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nnunet_losses.serve.safety.scores.observation import Observation

INTENSITIES = 256


@dataclass(frozen=True, eq=False)
class Kept:
    """One case of the stream, in a few kilobytes.

    Attributes:
        refused: the contract's code; None where it accepts.
        observation: without the intensities.
        raw: (1, levels) bytes.
        normalised: (256,) what each intensity becomes for the network; NaN for those that there are not.
    """

    refused: str | None
    observation: Observation
    raw: NDArray[np.uint8]
    normalised: NDArray[np.float64]

    def whole(self) -> Observation:
        """The observation as it was."""
        return replace(
            self.observation, raw=self.raw.astype(np.float64), preprocessed=self.normalised[self.raw]
        )


def keep(refused: str | None, observation: Observation) -> Kept:
    """Pack; exact, and checked."""
    assert observation.preprocessed is not None, "the pipeline preprocesses"
    raw = observation.raw.astype(np.uint8)
    normalised = np.full(INTENSITIES, np.nan)
    normalised[raw[0]] = observation.preprocessed[0]
    nothing = np.empty((1, 0))
    kept = Kept(refused, replace(observation, raw=nothing, preprocessed=nothing), raw, normalised)
    again = kept.whole()
    assert np.array_equal(again.raw, observation.raw), "the intensities are bytes"
    assert np.array_equal(again.preprocessed, observation.preprocessed), "normalised one by one"  # type: ignore[arg-type]
    return kept
