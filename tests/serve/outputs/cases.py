"""Answered cases without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.answer import Answer, Manifest, Outcome
from nnunet_losses.serve.schema import Head, Label

from ..models import HASH, description

if TYPE_CHECKING:
    from nnunet_losses.serve.schema import ModelDescription

REGIONS = (
    Label(name="whole tumour", channel=0, value=1, members=(1, 2)),
    Label(name="core", channel=1, value=2, members=(2,)),
)


def answer(outcome: Outcome = Outcome.SEGMENTED) -> Answer:
    """A statement."""
    manifest = Manifest(model="test", bundle_sha256=HASH, input_sha256=HASH, versions={})
    return Answer(case="case", outcome=outcome, manifest=manifest)


def regions(**changes: Any) -> ModelDescription:
    """A model whose labels overlap."""
    return description(head=Head.SIGMOID, heads=2, labels=REGIONS, **changes)
