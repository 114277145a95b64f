"""Batches that the tests share, and the parameter sets with which every loss has to keep the laws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from nnunet_losses import create_loss, get_loss_spec, list_losses

# Beside the defaults, which every key is tested with. Three classes or regions everywhere.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "weighted_ce": [{"class_weights": [0.2, 1.0, 2.5]}],
    "topk": [{"k": 0.5}, {"k": 1.0}],
    "focal": [{"gamma": 0.5}, {"gamma": 0}, {"alpha": 0.25}, {"alpha": [0.3, 1.0, 2.0]}],
    "dice": [{"phi": phi} for phi in ("CI", "BI", "BCI")]
    + [{"squared": True}, {"smooth": 0}, {"include_background": True}],
    "iou": [{"phi": phi} for phi in ("CI", "BI", "BCI")] + [{"smooth": 0}],
    "tversky": [{"phi": "BI", "fp": 0.0}, {"phi": "CI", "fn": 0.0}, {"phi": "BCI", "smooth": 0}],
    "dice_ce": [{"phi": "BI", "w_ce": 0.5}, {"phi": "CI"}, {"phi": "BCI", "w_dice": 0.0}],
    "dice_focal": [{"phi": "BI", "gamma": 1}],
    "dice_topk": [{"phi": "BI", "k": 0.3}],
    "sensitivity_specificity": [{"phi": phi, "w": 0.5} for phi in ("CI", "BI", "BCI")] + [{"smooth": 0}],
    "focal_tversky": [{"phi": "BI", "gamma": 2}, {"phi": "CI", "gamma": 0.5}],
    "asymmetric": [{"phi": "BCI", "beta": 0}],
    "generalized_dice": [{"phi": "BI"}, {"weighting": "simple"}, {"weighting": "uniform", "smooth": 0}],
    "penalty_gdice": [{"phi": "BI", "k": 0}],
    "lovasz": [{"classes": "all"}, {"per_image": True}],
    "exp_log": [{"phi": "BI", "gamma": 1}, {"class_frequencies": [5, 1, 0]}],
    "combo": [{"phi": "BI", "alpha": 0.3, "beta": 0.4}, {"alpha": 1}],
    "ce_dice": [{"phi": "BI"}],
    "unified_focal": [{"delta": 0.7, "gamma": 0.25, "weight": 0.3}, {"gamma": 0.0, "weight": 1.0}],
    "boundary_dou": [{"phi": phi} for phi in ("CI", "BI", "BCI")] + [{"include_background": True}],
    "ce_to_dice_finetune": [{"fraction": 0}],
    "dice_boundary": [{"phi": "BI", "schedule": "increase"}],
    "hausdorff_dt": [{"alpha": 1}],
    "hausdorff_one_sided": [{"alpha": 1.5}],
    "dice_hausdorff": [{"phi": "BI", "smooth": 0}],
    "generalized_surface": [{"smooth": 0}],
    "dice_image_eps": [{"smooth": [0, 2.5, 40]}, {"smooth": [1, 2, 3], "include_background": True}],
    "leaf_dice": [{"smooth": 0}],
    "marginal_dice": [{"smooth": 0}],
    "blob_dice": [{"phi": "BI", "smooth": 0}, {"w_global": 0}],
    "cc_dice_ce": [{"phi": "CI", "smooth": 0, "w_global": 0.5}],
    "cat_mil": [{"phi": "BCI", "smooth": 0, "warmup": 0}],
    "cldice": [{"phi": "BI", "smooth": 0, "iterations": 2, "alpha": 1}],
    "skeleton_recall": [{"phi": "BI", "smooth": 0}],
}


@dataclass(frozen=True)
class Case:
    """A loss with parameters under one activation."""

    key: str
    params: tuple[tuple[str, Any], ...]
    activation: str

    def create(self, **settings: Any) -> torch.nn.Module:
        return create_loss(self.key, activation=self.activation, **dict(self.params), **settings)

    def __str__(self) -> str:
        return "-".join([self.key, *(f"{name}={value}" for name, value in self.params), self.activation])


def all_cases() -> list[Case]:
    """Every registered key with every parameter set, under every activation that it is defined for."""
    return [
        Case(key, tuple(params.items()), activation)
        for key in list_losses()
        for params in ({}, *VARIANTS.get(key, []))
        for activation in get_loss_spec(key).activations
        if not (activation == "sigmoid" and isinstance(params.get("alpha"), list))  # softmax only
        if not (activation == "sigmoid" and get_loss_spec(key).regions)  # not defined for three regions
    ]


over_cases = pytest.mark.parametrize("case", all_cases(), ids=str)


def truth(activation: str, shape: tuple[int, ...], *, classes: int = 3, seed: int = 0) -> Tensor:
    """Return a random target: ids (B, 1, *S) under softmax, overlapping regions (B, C, *S) under sigmoid."""
    generator = torch.Generator().manual_seed(seed)
    batch, *space = shape
    if activation == "sigmoid":
        return torch.rand(batch, classes, *space, generator=generator) < 0.4
    return torch.randint(0, classes, (batch, 1, *space), generator=generator, dtype=torch.int16)


def logits_for(shape: tuple[int, ...], *, classes: int = 3, seed: int = 1, scale: float = 2.0) -> Tensor:
    """Return random logits that require a gradient."""
    generator = torch.Generator().manual_seed(seed)
    batch, *space = shape
    return (torch.randn(batch, classes, *space, generator=generator) * scale).requires_grad_()


def certain(target: Tensor, activation: str, *, classes: int = 3, margin: float = 40.0) -> Tensor:
    """Return the logits of a right and certain prediction."""
    channels = target if activation == "sigmoid" else target.long() == class_axis(target, classes)
    return ((channels.float() * 2 - 1) * margin).requires_grad_()


def class_axis(target: Tensor, classes: int) -> Tensor:
    """Return class ids along axis 1, to compare with."""
    return torch.arange(classes).view(1, -1, *[1] * (target.ndim - 2))


def some_mask(shape: tuple[int, ...], *, seed: int = 2) -> Tensor:
    """Return a mask (B, 1, *S), true for about two thirds."""
    batch, *space = shape
    return torch.rand(batch, 1, *space, generator=torch.Generator().manual_seed(seed)) < 0.66


def value_and_gradient(loss: Any, logits: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient by the logits."""
    leaf = logits.detach().clone().requires_grad_()
    value = loss(leaf, *rest)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad
