"""Losses that count every connected component alike, however small."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from .compound import dice_ce_loss
from .dice import dice_loss
from .overlap import ratio
from .ranks import mean_over_ranks, sum_over_ranks
from .schedule import check_epoch, warm_up
from .segments import Segments
from .spatial import SpatialLoss, foreground

if TYPE_CHECKING:
    from torch import Tensor

    from .geometry.recipe import Geometry
    from .inputs import Inputs

CAT_FP, CAT_FN = 0.3, 0.7
CAT_OUTSIDE, CAT_SIZE = 0.01, 5  # weight of a voxel: outside, and 1 / (size + 5) in a component
MIL_FLOOR = 1e-6


def blob_loss(
    inputs: Inputs, components: Tensor, sizes: Tensor, *, smooth: float, with_cross_entropy: bool
) -> Tensor:
    """Mean over (sample, class) with components of the mean over components k of L(k); 0 if there are none.

    L(k) is Dice (plus the mean cross-entropy) of component k on the voxels outside all others of its class.
    Source: Kofler et al., blob loss, https://arxiv.org/abs/2205.08209.

    Args:
        inputs: the prepared batch.
        components: ids (B, F, *S), 0 outside.
        sizes: number of voxels of each component, (B, F, K), filled up with 0.
        smooth: epsilon of Dice.
        with_cross_entropy: whether L has a cross-entropy.
    """
    segments = Segments(components, sizes.shape[2] + 1)
    outside, inside = _split(segments.sums(foreground(inputs, inputs.probabilities)))
    values = 1 - ratio(2 * inside + smooth, outside + inside + sizes + smooth)
    if with_cross_entropy:
        background = inputs.voxels[:, None, None] - sizes.sum(2, keepdim=True)
        outside, inside = _split(segments.sums(inputs.cross_entropy))
        values = values + (outside + inside) / (background + sizes).clamp_min(1)
    present = (sizes > 0).any(2)
    return mean_over_ranks((_mean_over(values, sizes) * present).sum(), present.sum().to(values.dtype))


def cell_loss(inputs: Inputs, cells: Tensor, sizes: Tensor, truth_sizes: Tensor, *, smooth: float) -> Tensor:
    """Mean over (sample, class) of the mean over Voronoi cells of Dice + mean cross-entropy on the cell.

    Source: Bouteille et al., https://arxiv.org/abs/2511.17146; Jaus et al., CC-Metrics, https://arxiv.org/abs/2410.18684.

    Args:
        inputs: the prepared batch.
        cells: ids (B, F, *S), from 1; without a component one cell fills the patch.
        sizes: number of valid voxels of each cell, (B, F, K), filled up with 0.
        truth_sizes: number of voxels of the cell's component, (B, F, K).
        smooth: epsilon of Dice.
    """
    truth = foreground(inputs, inputs.truth)
    segments = Segments(2 * (cells - 1) + truth.to(cells.dtype), 2 * sizes.shape[2])
    halves = segments.sums(foreground(inputs, inputs.probabilities)).view(*sizes.shape, 2)
    losses = segments.sums(inputs.cross_entropy).view(*sizes.shape, 2).sum(3)
    scores = ratio(2 * halves[..., 1] + smooth, halves.sum(3) + truth_sizes + smooth)
    return _mean_over(1 - scores + losses / sizes.clamp_min(1), sizes).mean()


def cat_loss(sums: Tensor, sizes: Tensor, *, smooth: float) -> Tensor:
    """Component-adaptive Tversky loss of each sample, (B,).

    A voxel of a component weighs 1 / (size + 5), any other 0.01. Source: Luu et al.,
    https://arxiv.org/abs/2604.08015.

    Args:
        sums: sum of the foreground's probability outside the components and in each, (B, K + 1).
        sizes: number of voxels of each component, (B, K), filled up with 0.
        smooth: epsilon, once in numerator and denominator.
    """
    weights = 1 / (sizes.to(sums.dtype) + CAT_SIZE)
    tp = (weights * sums[:, 1:]).sum(1)
    fn = (weights * (sizes - sums[:, 1:])).sum(1)
    fp = CAT_OUTSIDE * sums[:, 0]
    return 1 - ratio(tp + smooth, tp + CAT_FP * fp + CAT_FN * fn + smooth)


def _split(sums: Tensor) -> tuple[Tensor, Tensor]:
    return sums[..., :1], sums[..., 1:]


def _mean_over(values: Tensor, sizes: Tensor) -> Tensor:
    """Mean over the components (B, F, K) that have voxels, (B, F); 0 if none has."""
    exists = sizes > 0
    return torch.where(exists, values, 0).sum(2) / exists.sum(2).clamp_min(1)


class BlobDiceLoss(SpatialLoss):
    """w_global Dice + w_blob blob loss with Dice; see ``blob_loss``. Range: [0, w_global + w_blob].

    Example:
        >>> loss = BlobDiceLoss()
        >>> loss(torch.zeros(1, 2, 1, 4), torch.tensor([[[[1, 0, 1, 1]]]]))  # 2 * 0.4 + (0.5 + 0.4286) / 2
        tensor(1.2643)
    """

    key = "blob_dice"
    with_cross_entropy = False

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.require_one_of("w_global", "w_blob")

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        blob = blob_loss(
            inputs,
            geometry["components"],
            geometry["component_sizes"],
            smooth=self.params["smooth"],
            with_cross_entropy=self.with_cross_entropy,
        )
        w_global, w_blob = (float(self.params[name]) for name in ("w_global", "w_blob"))
        return w_global * self._everything(inputs) + w_blob * blob

    def _everything(self, inputs: Inputs) -> Tensor:
        return dice_loss(inputs, **self.region)


class BlobDiceCELoss(BlobDiceLoss):
    """w_global (Dice + cross-entropy) + w_blob blob loss with both; see ``blob_loss``. Range: [0, inf).

    Example:
        >>> loss = BlobDiceCELoss()
        >>> loss(torch.zeros(1, 2, 1, 4), torch.tensor([[[[1, 0, 1, 1]]]]))  # 1.2643 + 3 log 2
        tensor(3.3437)
    """

    key = "blob_dice_ce"
    with_cross_entropy = True

    def _everything(self, inputs: Inputs) -> Tensor:
        return dice_ce_loss(inputs, w_dice=1, w_ce=1, **self.region)


class CellDiceCELoss(SpatialLoss):
    """Dice + cross-entropy on each component's Voronoi cell, + w_global (both on everything).

    See ``cell_loss``. Range: [0, inf).

    Example:
        >>> loss = CellDiceCELoss()
        >>> loss(torch.zeros(1, 2, 1, 5), torch.tensor([[[[1, 0, 0, 1, 1]]]]))  # log 2 + (0.5 + 0.4286) / 2
        tensor(1.1574)
    """

    key = "cc_dice_ce"

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry."""
        names = ("cells", "cell_sizes", "cell_component_sizes")
        value = cell_loss(inputs, *(geometry[name] for name in names), smooth=self.params["smooth"])
        w_global = float(self.params["w_global"])
        return value + w_global * dice_ce_loss(inputs, w_dice=1, w_ce=1, **self.region) if w_global else value


class CATMILLoss(SpatialLoss):
    """Dice + cross-entropy + w_cat min(1, epoch / warmup) CAT + w_mil MIL on the union of the foreground.

    CAT: see ``cat_loss``. MIL, multiple-instance learning: mean over all components of -log of the largest
    probability in it. Components share faces. No foreground in the batch: Dice + cross-entropy.
    Range: [0, inf).

    Example:
        >>> loss = CATMILLoss(w_mil=1.0)
        >>> loss.weights
        {'cat': 0.0, 'mil': 1.0}
        >>> loss(torch.zeros(1, 2, 1, 4), torch.tensor([[[[1, 0, 1, 1]]]]))  # 0.4 + 2 log 2
        tensor(1.7863)
    """

    key = "cat_mil"

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.set_epoch(0, 1)

    def set_epoch(self, epoch: int, num_epochs: int) -> None:
        """Set the weights of an epoch, counted from 0."""
        check_epoch(epoch, num_epochs)
        cat = self.params["w_cat"] * warm_up(epoch, self.params["warmup"])
        self.weights: dict[str, float] = {"cat": cat, "mil": self.params["w_mil"]}

    def compute_on(self, inputs: Inputs, geometry: Geometry) -> Tensor:
        """Return the loss of a prepared batch and its geometry.

        Raises:
            NotImplementedError: for several regions; the published loss knows one lesion class.
        """
        if inputs.foreground == 0 and inputs.logits.shape[1] > 1:
            raise NotImplementedError(
                f"loss 'cat_mil' is defined for one region, the logits have {inputs.logits.shape[1]}; use "
                "'blob_dice_ce' for several"
            )
        base = dice_ce_loss(inputs, w_dice=1, w_ce=1, **self.region)
        return base + self._instance_terms(inputs, geometry["lesions"], geometry["lesion_sizes"])

    def _instance_terms(self, inputs: Inputs, lesions: Tensor, sizes: Tensor) -> Tensor:
        union = foreground(inputs, inputs.probabilities).sum(1, keepdim=True)
        segments = Segments(lesions, sizes.shape[2] + 1)
        exists = sizes[:, 0] > 0
        cat = cat_loss(segments.sums(union)[:, 0], sizes[:, 0], smooth=self.params["smooth"])
        mil = -segments.maxima(union)[:, 0, 1:].clamp_min(MIL_FLOOR).log()
        components = sum_over_ranks(exists.sum().to(cat.dtype))
        mil_mean = mean_over_ranks(torch.where(exists, mil, 0).sum(), exists.sum().to(cat.dtype))
        return self.weights["cat"] * cat.mean() * (components > 0) + self.weights["mil"] * mil_mean
