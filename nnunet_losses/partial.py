"""Dice for data where not every sample has labels for every class."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from .inputs import SoftmaxInputs, prepare
from .loss import Loss
from .overlap import class_sums, ratio
from .ranks import mean_over_ranks

if TYPE_CHECKING:
    from torch import Tensor

    from .inputs import Inputs


def leaf_dice_loss(inputs: Inputs, labelled: Tensor, *, smooth: float) -> Tensor:
    """Mean of 1 - Dice over the labelled foreground classes of all samples; 0 if there are none.

    Source: Fidon et al., Label-set loss functions, https://arxiv.org/abs/2107.03846.

    Args:
        inputs: the prepared batch.
        labelled: (B, C) bool, true where the sample has labels for the class.
        smooth: epsilon, once in numerator and denominator.
    """
    terms = _dice_terms(class_sums(inputs), smooth)[:, inputs.foreground :]
    return _mean_where(terms, labelled[:, inputs.foreground :])


def marginal_dice_loss(inputs: Inputs, labelled: Tensor, *, smooth: float) -> Tensor:
    """Mean of 1 - Dice over the labelled classes of all samples; the background takes in the unlabelled ones.

    Source: Shi et al., Marginal loss and exclusion loss, https://doi.org/10.1016/j.media.2021.101979.

    Args:
        inputs: the prepared batch, under softmax.
        labelled: (B, C) bool, true where the sample has labels for the class; the background always counts.
        smooth: epsilon, once in numerator and denominator.
    """
    labelled = torch.cat([torch.ones_like(labelled[:, :1]), labelled[:, 1:]], 1)
    merged = ~labelled
    merged[:, 0] = True
    weights = merged.view(*merged.shape, *[1] * (inputs.logits.ndim - 2)).to(inputs.logits.dtype)
    background, truth = ((item * weights).sum(1) for item in (inputs.probabilities, inputs.truth))
    sums = torch.stack([item.flatten(1).sum(1) for item in (background * truth, background, truth)])
    terms = torch.cat(
        [_dice_terms(sums[:, :, None], smooth), _dice_terms(class_sums(inputs), smooth)[:, 1:]], 1
    )
    return _mean_where(terms, labelled)


def _dice_terms(sums: Tensor, smooth: float) -> Tensor:
    tp, predicted, truth = sums
    return 1 - ratio(2 * tp + smooth, predicted + truth + smooth)


def _mean_where(terms: Tensor, counted: Tensor) -> Tensor:
    return mean_over_ranks(torch.where(counted, terms, 0).sum(), counted.sum().to(terms.dtype))


class PartialLabelLoss(Loss):
    """A loss that is told which classes are labelled. Subclasses set ``key`` and ``compute_labelled``."""

    def forward(
        self, logits: Tensor, target: Tensor, mask: Tensor | None = None, labelled: Tensor | None = None
    ) -> Tensor:
        """Return the loss, a scalar in float32 (float64 for float64 logits).

        Args:
            logits: (B, C, *S), raw outputs of the network.
            target: (B, 1, *S) class ids or (B, C, *S) channels of 0 and 1.
            mask: (B, 1, *S), true where the voxel counts.
            labelled: (B, C) bool, true where the sample has labels for the class; None: all are labelled.
        """
        with torch.autocast(logits.device.type, enabled=False):
            inputs = prepare(logits, target, mask, activation=self.activation, ignore_index=self.ignore_index)
            return self.compute_labelled(inputs, _check_labelled(labelled, logits))

    def compute(self, inputs: Inputs) -> Tensor:
        """Return the loss of a prepared batch whose classes are all labelled."""
        return self.compute_labelled(inputs, _check_labelled(None, inputs.logits))

    def compute_labelled(self, inputs: Inputs, labelled: Tensor) -> Tensor:
        """Return the loss of a prepared batch."""
        raise NotImplementedError


class LeafDiceLoss(PartialLabelLoss):
    """Dice over the labelled classes; see ``leaf_dice_loss``. Range: [0, 1].

    Example:
        >>> loss = LeafDiceLoss()
        >>> logits, target = torch.zeros(1, 3, 1, 3), torch.tensor([[[[0, 1, 1]]]])
        >>> loss(logits, target, labelled=torch.tensor([[True, True, False]]))  # 1 - (4 / 3) / 3
        tensor(0.5556)
    """

    key = "leaf_dice"

    def compute_labelled(self, inputs: Inputs, labelled: Tensor) -> Tensor:
        """Return the loss of a prepared batch."""
        return leaf_dice_loss(inputs, labelled, **self.params)


class MarginalDiceLoss(PartialLabelLoss):
    """Dice with the unlabelled classes in the background; see ``marginal_dice_loss``. Range: [0, 1].

    Example:
        >>> loss = MarginalDiceLoss()
        >>> logits, target = torch.zeros(1, 3, 1, 3), torch.tensor([[[[0, 1, 1]]]])
        >>> loss(logits, target, labelled=torch.tensor([[True, True, False]]))  # both 1 - (4 / 3) / 3
        tensor(0.5556)
    """

    key = "marginal_dice"

    def compute_labelled(self, inputs: Inputs, labelled: Tensor) -> Tensor:
        """Return the loss of a prepared batch."""
        assert isinstance(inputs, SoftmaxInputs)  # the catalogue allows no other
        return marginal_dice_loss(inputs, labelled, **self.params)


def _check_labelled(labelled: Tensor | None, logits: Tensor) -> Tensor:
    if labelled is None:
        return torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device)
    if labelled.shape != logits.shape[:2]:
        raise ValueError(
            f"labelled has shape {tuple(labelled.shape)}; expected {tuple(logits.shape[:2])}: one truth "
            "value per sample and channel of the logits, background included"
        )
    return labelled.to(logits.device, torch.bool)
