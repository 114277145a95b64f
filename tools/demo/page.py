"""Renders the overview: one HTML file, pictures included, that needs nothing from elsewhere."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from .findings import false_alarms, pooled_dice
from .pictures import PREDICTION, REFERENCE, draw, slice_to_show
from .words import distinct, duration, headline, sentences

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .findings import Sent
    from .plan import Plan
    from .story import Findings

_PACKAGES = ("nnunet-losses", "nnunetv2", "torch", "onnxruntime", "fastapi")


def render(findings: Findings, plan: Plan, commands: Sequence[str], *, seconds: float) -> str:
    """Return the page as HTML.

    Args:
        findings: what was measured and what came back.
        plan: what was asked for.
        commands: all commands, as they can be typed.
        seconds: how long everything took.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"duration": duration, "dice": _dice}
    expected = findings.expectations
    return environment.get_template("overview.html.jinja").render(
        findings=findings,
        plan=plan,
        commands=[command.replace(str(plan.output), plan.output.name) for command in commands],
        total=seconds,
        expectations=expected,
        all_met=all(item.met for item in expected),
        answered=[_case(sent) for sent in findings.answered],
        refused=[_refusal(sent) for sent in findings.refused],
        pooled={model.name: pooled_dice(model.overlaps) for model in findings.models},
        false_alarms=false_alarms(findings.models),
        colours={"reference": REFERENCE, "prediction": PREDICTION},
        versions={name: version(name) for name in _PACKAGES},
        machine=f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
    )


def _dice(value: float | None) -> str:
    """Three digits; a dash where Dice says nothing because both masks are empty."""
    return "–" if value is None else f"{value:.3f}"


def _case(sent: Sent) -> dict[str, Any]:
    """A row of pictures, and the words below each."""
    image, reference, masks = _planes(sent)
    return {
        "title": sent.title,
        "case": sent.case,
        "image": draw(image),
        "reference": draw(image, reference=reference),
        "lesions": int((reference > 0).sum()),
        "models": [
            {
                "name": name,
                "picture": draw(image, reference=reference, prediction=masks.get(name)),
                "headline": headline(reply),
                "sentences": sentences(reply),
                "seconds": reply.seconds,
            }
            for name, reply in sent.replies.items()
        ],
    }


def _planes(sent: Sent) -> tuple[Any, Any, dict[str, Any]]:
    """Two-dimensional image, reference and masks: of volumes, the slice with most of the reference."""
    assert sent.image is not None, "an answered case has an image"
    assert sent.reference is not None, "an answered case has a reference"
    if sent.image.ndim == 2:
        return sent.image, sent.reference, dict(sent.masks)
    z = slice_to_show(sent.image, sent.reference)
    return sent.image[z], sent.reference[z], {name: mask[z] for name, mask in sent.masks.items()}


def _refusal(sent: Sent) -> dict[str, Any]:
    """One refused file, in words."""
    return {"title": sent.title, "file": sent.case, "words": distinct(sent.replies)}
