"""Runs the losses on the scenes. Every measured figure of the pages comes from here."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from nnunet_losses import create_loss, get_loss_spec

from .scenes import ALARMS, RADII, SITUATIONS, Scene, empty, faint, shrinking

if TYPE_CHECKING:
    from collections.abc import Collection

    from nnunet_losses.loss import Loss
    from nnunet_losses.spec import LossSpec

Record = dict[str, Any]

EPOCHS = 1000
HALFWAY = 500
EPSILONS = (1e-7, 1e-5, 1.0, 100.0)
TYPICAL = 100.0  # voxels of a lesion in a patch, where a loss takes that as its epsilon
DIGITS = 3
REGIONS = ("lesion", "alarm", "rest")
NOTHING = 1e-9  # a push below it is rounding


def curves(key: str) -> Record:
    """Measure a loss while a lesion shrinks: "alone" in its patch, and "beside" a large lesion.

    Each holds lists over ``(0, *RADII)``: "value"; and, by region, the mean gradient divided by that of
    cross-entropy, None where the region has no voxel.
    """
    return {name: _curve(key, beside=name == "beside") for name in ("alone", "beside")}


def _curve(key: str, *, beside: bool) -> Record:
    points = [point(key, radius, beside=beside) for radius in (0.0, *RADII)]
    return {name: [item[name] for item in points] for name in ("value", *REGIONS)}


def point(key: str, radius: float, *, beside: bool) -> Record:
    """Measure a loss for one size of the lesion."""
    loss = _create(get_loss_spec(key), channels=2)
    value, pushes = measure(loss, shrinking(radius, beside=beside))
    return {"value": rounded(value)} | {region: pushes.get(region) for region in REGIONS}


def sizes() -> list[int]:
    """Voxels of the shrinking lesion, 0 first."""
    return [int(shrinking(radius, beside=False).regions["lesion"].sum()) for radius in (0.0, *RADII)]


def empties(key: str, *, only: Collection[str] | None = None) -> list[Record]:
    """Measure what false alarms teach where there is no lesion.

    Args:
        key: of the loss.
        only: names of the settings to measure; None: all.
    """
    spec = get_loss_spec(key)
    chosen = {name: item for name, item in _settings(spec).items() if only is None or name in only}
    return [_row(name, spec, **item) for name, item in chosen.items()]


def _settings(spec: LossSpec) -> dict[str, Record]:
    """Name the settings worth comparing: defaults, every other Phi, other epsilons, first and last epoch."""
    settings: dict[str, Record] = {"default": {}}
    choices = {name: words for name, words in spec.choices.items() if name in ("phi", "classes")}
    for name, words in choices.items():
        settings |= {f"{name}={word}": {name: word} for word in words if word != spec.parameters[name]}
    if "smooth" in spec.parameters:
        for epsilon in EPSILONS:
            if epsilon != _default_epsilon(spec):
                settings[f"smooth={epsilon:g}"] = {"smooth": epsilon}
    if "labelled" in spec.needs:
        settings["class not labelled"] = {"labelled": False}
    if "schedule" in spec.needs:
        settings |= {f"epoch {epoch} of {EPOCHS}": {"epoch": epoch} for epoch in (0, EPOCHS - 1)}
    return settings


def _default_epsilon(spec: LossSpec) -> float:
    return TYPICAL if "epsilon" in spec.needs else float(spec.parameters["smooth"])


def _row(
    setting: str, spec: LossSpec, *, epoch: int = HALFWAY, labelled: bool = True, **params: Any
) -> Record:
    loss = _create(spec, channels=3, epoch=epoch, **params)
    values, pushes = [], {}
    for radius in (0.0, *ALARMS.values()):
        value, _ = _measured(loss, empty("empty_batch", radius), labelled=labelled)
        values.append(rounded(value))
    for situation in SITUATIONS:
        scenes = [empty(situation, radius) for radius in ALARMS.values()]
        pushes[situation] = [_measured(loss, scene, labelled=labelled)[1]["alarm"] for scene in scenes]
    return {"setting": setting, "values": values, "pushes": pushes}


def _measured(loss: Loss, scene: Scene, *, labelled: bool) -> tuple[float, dict[str, float]]:
    if labelled:
        return measure(loss, scene)
    classes = torch.ones(scene.logits.shape[:2], dtype=torch.bool)
    classes[scene.sample, scene.channel] = False
    return measure(loss, scene, labelled=classes)


def _create(spec: LossSpec, *, channels: int, epoch: int = HALFWAY, **params: Any) -> Loss:
    """Create a loss that stands in an epoch; one epsilon per class where it wants as many."""
    if "epsilon" in spec.needs:
        params["smooth"] = [params.get("smooth", TYPICAL)] * channels
    loss = create_loss(spec.key, **params)
    loss.set_epoch(epoch, EPOCHS)
    return loss


def measure(loss: Loss, scene: Scene, **extra: Any) -> tuple[float, dict[str, float]]:
    """Return the value of a loss, and its push on each region in units of cross-entropy's.

    Example:
        >>> from nnunet_losses import create_loss
        >>> measure(create_loss("ce"), shrinking(3.3, beside=False))[1]
        {'lesion': 1.0, 'alarm': 1.0, 'rest': 1.0}
    """
    value, pushes = _gradients(loss, scene, **extra)
    unit = _unit(scene)
    return value, {name: rounded(push / unit[name]) for name, push in pushes.items()}


@cache
def _unit(scene: Scene) -> dict[str, float]:
    return _gradients(create_loss("ce"), scene)[1]


def _gradients(loss: Loss, scene: Scene, **extra: Any) -> tuple[float, dict[str, float]]:
    logits = scene.logits.clone().requires_grad_()
    value = loss(logits, scene.target, **extra)
    value.backward()
    assert logits.grad is not None
    gradient = logits.grad[:, scene.channel]
    means = {name: float(gradient[mask].mean()) for name, mask in scene.regions.items() if mask.any()}
    return float(value.detach()), means


def rounded(number: float) -> float:
    """Round to a few digits; what is nearly nothing, to nothing."""
    return 0.0 if abs(number) < NOTHING else float(f"{number:.{DIGITS}g}")


def epsilons() -> Record:
    """Measure the gradient of Dice on an empty patch, summed over the logits, by predicted voxels."""
    masses = [float(f"{10 ** (exponent / 2):.3g}") for exponent in range(-12, 7)]
    pushes = {f"smooth={epsilon:g}": [_emptying(mass, epsilon) for mass in masses] for epsilon in EPSILONS}
    return {"masses": masses, "pushes": pushes}


def _emptying(mass: float, epsilon: float) -> float:
    scene = faint(mass)
    logits = scene.logits.clone().requires_grad_()
    create_loss("dice", smooth=epsilon)(logits, scene.target).backward()
    assert logits.grad is not None
    return rounded(float(logits.grad[:, scene.channel].sum()))
