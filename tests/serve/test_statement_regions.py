"""What leaves a mask with a label that is not there: regions lie in each other."""

from __future__ import annotations

import numpy as np

from nnunet_losses.serve.answer import Outcome
from nnunet_losses.serve.safety.removal import remove, values_without
from nnunet_losses.serve.schema import Head, Label
from nnunet_losses.serve.statement import state

from .models import description
from .statements import CALIBRATED, INDETERMINATE, MODEL, ground, mask


def test_taking_a_region_out_leaves_the_others() -> None:
    whole = Label(name="whole", channel=0, value=1, members=(1, 2, 3))
    core = Label(name="core", channel=1, value=2, members=(2, 3))
    deep = Label(name="deep", channel=2, value=3, members=(3,))
    labels = (whole, core, deep)
    assert values_without("deep", labels) == {3: 2}
    assert values_without("core", labels) is None  # deep without core cannot be painted
    assert values_without("whole", labels) is None
    assert values_without("whole", (whole,)) == {1: 0, 2: 0, 3: 0}


def test_a_region_leaves_with_all_that_lies_in_it() -> None:
    labels = (
        Label(name="organ", channel=0, value=1, members=(1, 2)),
        Label(name="lesion", channel=1, value=2, members=(2,)),
    )
    model = description(head=Head.SIGMOID, heads=2, labels=labels)
    margins = {"organ": [41.0], "lesion": [41.0]}
    made = ground(mask(organ=3, lesion=4), margins, presence=CALIBRATED, description=model)
    stated = state(made)
    assert stated.outcome is Outcome.EMPTY
    assert stated.mask is not None
    assert not stated.mask.any()
    assert stated.policy.applied == ("presence.removed:lesion", "presence.removed:organ")
    assert {row["label"] for row in stated.policy.removed_components} == {"organ", "lesion"}


def test_a_region_leaves_the_mask() -> None:
    labels = (
        Label(name="organ", channel=0, value=1, members=(1, 2)),
        Label(name="lesion", channel=1, value=2, members=(2,)),
    )
    model = description(head=Head.SIGMOID, heads=2, labels=labels)
    stated = state(
        ground(
            mask(organ=3, lesion=4),
            {"organ": [70.0], "lesion": [41.0]},
            presence=CALIBRATED,
            description=model,
        )
    )
    assert stated.mask is not None
    assert np.array_equal(stated.mask, mask(organ=7))
    empty_organ = state(
        ground(mask(lesion=4), {"organ": [41.0], "lesion": [70.0]}, presence=CALIBRATED, description=model)
    )
    assert empty_organ.mask is not None
    assert np.array_equal(empty_organ.mask, mask(lesion=4))  # without the organ its lesion would be lost
    assert empty_organ.labels[0].empty is not None
    assert empty_organ.labels[0].empty.meaning is INDETERMINATE


def test_nothing_to_remove_returns_the_same_mask() -> None:
    one = mask(organ=3)
    assert remove(one, {}, MODEL.labels)[0] is one
