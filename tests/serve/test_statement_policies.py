"""What the policies do with empty masks and with images unlike the known ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.answer import EmptyReason, Outcome, Verdict
from nnunet_losses.serve.policies import EmptyPolicy, OodPolicy, Policies
from nnunet_losses.serve.statement import state

from .statements import CALIBRATED, INDETERMINATE, NO_DECISION, NO_FINDING, SURROGATE, codes, ground, mask

if TYPE_CHECKING:
    from nnunet_losses.serve.safety.presence_section import PresenceSection


def test_raw_is_the_mask_before_removal() -> None:
    asked = Policies(empty=EmptyPolicy.RAW)
    stated = state(ground(mask(lesion=4), {"lesion": [41.0]}, presence=CALIBRATED, policies=asked))
    assert stated.mask is not None
    assert not stated.mask.any()
    assert stated.raw is not None
    assert np.array_equal(stated.raw, mask(lesion=4))
    assert state(ground(mask(lesion=4), {"lesion": [41.0]}, presence=CALIBRATED)).raw is None


def test_flags_are_warnings_and_change_nothing_else() -> None:
    arguments: Any = (mask(lesion=4), {"lesion": [41.0]})
    plain = state(ground(*arguments, presence=CALIBRATED))
    flagged = state(ground(*arguments, presence=CALIBRATED, policies=Policies()))
    assert codes(plain) == []
    assert codes(flagged) == ["answer.components_removed", "answer.empty"]
    assert np.array_equal(plain.mask, flagged.mask)  # type: ignore[arg-type]  # both are there
    assert (plain.outcome, plain.empty, plain.labels) == (flagged.outcome, flagged.empty, flagged.labels)


def test_empty_answers_can_be_rejected() -> None:
    asked = Policies(empty=EmptyPolicy.REJECT)
    stated = state(ground(mask(lesion=4), {"lesion": [41.0]}, presence=CALIBRATED, policies=asked))
    assert (stated.outcome, stated.mask) == (Outcome.REJECTED, None)
    assert stated.problem is not None
    assert stated.problem.code == "policy.empty"
    assert stated.empty is not None
    assert (stated.empty.reason, stated.empty.meaning) == (
        EmptyReason.ALL_COMPONENTS_BELOW_CONFIDENCE,
        NO_DECISION,
    )
    assert len(stated.policy.removed_components) == 1
    found = state(ground(mask(lesion=4), {"lesion": [70.0]}, presence=CALIBRATED, policies=asked))
    assert found.outcome is Outcome.SEGMENTED


@pytest.mark.parametrize("section", [None, CALIBRATED, SURROGATE])
@pytest.mark.parametrize("voxels", [0, 4])
@pytest.mark.parametrize("ood", list(OodPolicy))
@pytest.mark.parametrize("empty", list(EmptyPolicy))
def test_a_strange_image(
    section: PresenceSection | None, voxels: int, ood: OodPolicy, empty: EmptyPolicy
) -> None:
    """Whatever was asked for: nothing that was withheld or emptied is a finding."""
    margins = {"lesion": [41.0]} if voxels else {}
    stated = state(
        ground(
            mask(lesion=voxels),
            margins,
            presence=section,
            verdict=Verdict.OUT_OF_DISTRIBUTION,
            is_doubtful=True,
            policies=Policies(ood, empty),
        )
    )
    meanings = {label.empty.meaning for label in stated.labels if label.empty is not None}
    meanings |= {stated.empty.meaning} if stated.empty is not None else set()
    assert NO_FINDING not in meanings
    assert stated.outcome is not Outcome.EMPTY
    assert stated.guarantee.kind == "none"
    if ood is OodPolicy.SUPPRESS:
        assert stated.mask is not None
        assert not stated.mask.any()
        assert (stated.outcome, stated.raw, meanings) == (Outcome.INDETERMINATE, None, {NO_DECISION})
        assert [row["voxels"] for row in stated.policy.removed_components] == [voxels] * bool(voxels)
        assert codes(stated) == ["answer.suppressed"]
    elif ood is OodPolicy.REJECT:
        assert (stated.outcome, stated.mask) == (Outcome.REJECTED, None)
        assert stated.problem is not None
        assert stated.problem.code == "policy.out_of_distribution"
    else:
        assert ("answer.out_of_distribution" in codes(stated)) == (
            ood is OodPolicy.FLAG and stated.problem is None
        )


def test_nothing_leaves_the_mask_of_a_strange_image() -> None:
    """The promise behind a removal is about usual images."""
    strange = {"verdict": Verdict.OUT_OF_DISTRIBUTION, "is_doubtful": True}
    stated = state(ground(mask(lesion=4), {"lesion": [41.0]}, presence=CALIBRATED, **strange))
    assert stated.mask is not None
    assert stated.mask.any()
    assert stated.outcome is Outcome.INDETERMINATE
    assert stated.policy.removed_components == ()


@pytest.mark.parametrize("section", [None, CALIBRATED])
def test_an_empty_mask_of_a_strange_image_decides_nothing(section: PresenceSection | None) -> None:
    strange = {"verdict": Verdict.OUT_OF_DISTRIBUTION, "is_doubtful": True, "policies": Policies()}
    stated = state(ground(mask(), presence=section, **strange))
    assert stated.outcome is Outcome.INDETERMINATE
    assert stated.empty is not None
    assert (stated.empty.reason, stated.empty.meaning) == (
        EmptyReason.NO_VOXEL_ABOVE_THRESHOLD,
        INDETERMINATE,
    )
    assert codes(stated) == ["answer.out_of_distribution", "answer.indeterminate"]
    decisions = {label.presence.decision for label in stated.labels if label.presence is not None}
    assert decisions == ({"indeterminate"} if section else set())


def test_suspicious_images_are_only_flagged() -> None:
    for ood in (OodPolicy.SUPPRESS, OodPolicy.REJECT, OodPolicy.FLAG):
        asked = Policies(ood=ood, empty=EmptyPolicy.RETURN)
        stated = state(ground(mask(organ=1), verdict=Verdict.SUSPICIOUS, policies=asked))
        assert (stated.outcome, codes(stated)) == (Outcome.SEGMENTED, ["answer.suspicious"])


def test_a_wish_that_needs_a_calibration_says_so() -> None:
    stated = state(ground(mask(organ=1), policies=Policies(ood=OodPolicy.REJECT)))
    assert codes(stated) == ["policy.not_calibrated"]


@pytest.mark.parametrize(
    ("option", "value"), [("ood", "raw"), ("empty", "suppress"), ("uncertainty", "yes"), ("ood", "")]
)
def test_unknown_wishes_are_refused(option: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"the option {option} is '{value}'; expected one of"):
        Policies().changed({option: value})
