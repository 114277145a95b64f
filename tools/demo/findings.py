"""What the demonstration found out, and what it expects of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .plan import NEEDED_DICE

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from nnunet_losses.serve.schema import Parity

    from .service import Reply


@dataclass(frozen=True)
class Expectation:
    """Something that must hold, and whether it did."""

    text: str
    met: bool
    detail: str


@dataclass(frozen=True, eq=False)
class Overlap:
    """One test case against its reference, in voxels of the lesion label."""

    case: str
    reference: int
    predicted: int
    common: int

    @classmethod
    def of(cls, case: str, reference: NDArray[np.generic], prediction: NDArray[np.generic]) -> Overlap:
        """Count the voxels that are not background."""
        truth, found = reference > 0, prediction > 0
        return cls(case, int(truth.sum()), int(found.sum()), int((truth & found).sum()))

    @property
    def dice(self) -> float | None:
        """Dice; None where there is nothing to find and nothing was found."""
        total = self.reference + self.predicted
        return 2 * self.common / total if total else None


def pooled_dice(overlaps: list[Overlap]) -> float:
    """Dice over all cases as if they were one image; 0 where nothing is anywhere."""
    total = sum(overlap.reference + overlap.predicted for overlap in overlaps)
    return 2 * sum(overlap.common for overlap in overlaps) / total if total else 0.0


@dataclass(frozen=True, eq=False)
class Model:
    """One trained, exported and proven model."""

    trainer: str
    name: str
    parity: Parity
    overlaps: list[Overlap]
    bundle_bytes: int


@dataclass(frozen=True, eq=False)
class Sent:
    """One file that was sent to every model.

    Attributes:
        title: what it is.
        case: its name.
        replies: by the name of the model.
        masks: the masks in the replies, as arrays; absent where there is none.
        same_bytes: by model, whether the served mask is the file that ``predict`` wrote; None without a mask.
        image: array of the image, for the picture; None for a file that is no image.
        reference: array of the true labels.
    """

    title: str
    case: str
    replies: Mapping[str, Reply]
    masks: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    same_bytes: Mapping[str, bool] = field(default_factory=dict)
    image: NDArray[np.generic] | None = None
    reference: NDArray[np.generic] | None = None


def expectations(models: list[Model], answered: list[Sent], refused: list[Sent]) -> list[Expectation]:
    """Judge everything that must hold."""
    return [
        *(_parity(model) for model in models),
        *(_useful(model) for model in models),
        *(_answered(sent, name) for sent in answered for name in sent.replies),
        *(_same_mask(sent, name) for sent in answered for name in sent.replies),
        *(_refused(sent, name) for sent in refused for name in sent.replies),
    ]


def _parity(model: Model) -> Expectation:
    parity = model.parity
    detail = (
        f"{parity.cases} cases, {parity.tiles} tiles; {parity.differing_voxels} of {parity.voxels} voxels "
        f"differ, {parity.differing_voxels_beyond_margin} of them clearly"
    )
    return Expectation(f"{model.name}: the bundle answers as nnU-Net itself", parity.passed, detail)


def _useful(model: Model) -> Expectation:
    dice = pooled_dice(model.overlaps)
    text = f"{model.name}: finds the lesions of the test cases (pooled Dice at least {NEEDED_DICE})"
    return Expectation(text, dice >= NEEDED_DICE, f"pooled Dice {dice:.3f}")


def _answered(sent: Sent, name: str) -> Expectation:
    """An answer says ``empty`` exactly where its mask is, and then says why."""
    reply = sent.replies[name]
    text = f"{name}: {sent.title} gets an answer that fits its mask"
    if reply.status != 200 or reply.answer is None or name not in sent.masks:
        return Expectation(text, met=False, detail=f"HTTP {reply.status}, no mask")
    voxels = int((sent.masks[name] > 0).sum())
    outcome, reason = reply.answer["outcome"], reply.answer["empty"]
    fits = outcome == "segmented" if voxels else outcome == "empty" and reason is not None
    return Expectation(text, fits, f"outcome {outcome}, {voxels} voxels in the mask")


def _same_mask(sent: Sent, name: str) -> Expectation:
    same = sent.same_bytes.get(name, False)
    text = f"{name}: the served mask of {sent.title} is the predicted file, byte for byte"
    return Expectation(text, same, "equal" if same else "different")


def _refused(sent: Sent, name: str) -> Expectation:
    """A file that cannot be answered gets a code, and no mask."""
    reply = sent.replies[name]
    code = (reply.problem or {}).get("code")
    met = reply.status in (400, 422) and reply.mask is None and bool(code)
    return Expectation(f"{name}: {sent.title} is refused by name", met, f"HTTP {reply.status}, {code}")


def false_alarms(models: list[Model]) -> dict[str, tuple[int, int]]:
    """By model: lesion-free test cases with something painted, and all lesion-free test cases."""
    free = {model.name: [o for o in model.overlaps if not o.reference] for model in models}
    return {name: (sum(o.predicted > 0 for o in overlaps), len(overlaps)) for name, overlaps in free.items()}
