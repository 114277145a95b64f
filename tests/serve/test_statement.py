"""What is stated, and what the policies do: every outcome, reason and meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.answer import EmptyMeaning, EmptyReason, Outcome, Quality, Verdict
from nnunet_losses.serve.image import Geometry, Image
from nnunet_losses.serve.pipeline.postprocess import Part, Removal
from nnunet_losses.serve.pipeline.segment import Segmentation
from nnunet_losses.serve.policies import EmptyPolicy, OodPolicy, Policies
from nnunet_losses.serve.safety.candidates import LabelCandidates
from nnunet_losses.serve.safety.presence_section import (
    ComponentScore,
    LabelPresence,
    PresenceGuarantee,
    PresenceSection,
)
from nnunet_losses.serve.safety.quality import quality_of
from nnunet_losses.serve.safety.quality_section import QualitySection
from nnunet_losses.serve.safety.removal import remove, values_without
from nnunet_losses.serve.schema import Head, KeepLargest, Label
from nnunet_losses.serve.statement import Ground, Statement, state

from .models import description
from .safety.votes import candidate

if TYPE_CHECKING:
    from numpy.typing import NDArray

MODEL = description()  # organ 1, lesion 2
SHAPE = (2, 4, 5)
LOW, HIGH = 50.0, 60.0  # thresholds of both labels; scores are margins there
RETURN = Policies(OodPolicy.RETURN, EmptyPolicy.RETURN)
NO_FINDING, INDETERMINATE, NO_DECISION = (
    EmptyMeaning.NO_FINDING,
    EmptyMeaning.INDETERMINATE,
    EmptyMeaning.NO_DECISION,
)


def presence(name: str, guarantee: PresenceGuarantee = PresenceGuarantee.CONFORMAL) -> LabelPresence:
    return LabelPresence(
        label=name,
        guarantee=guarantee,
        score=ComponentScore(),
        lower=LOW,
        upper=HIGH,
        lesion_free=tuple(np.linspace(40, HIGH, 19).tolist()),
        lesion_bearing=tuple(np.linspace(LOW, 90, 19).tolist()),
        n_lesion_free=19,
    )


CALIBRATED = PresenceSection(labels=(presence("organ"), presence("lesion")))
SURROGATE = PresenceSection(
    labels=(presence("organ"), presence("lesion", PresenceGuarantee.SURROGATE)),
)


def ground(mask: NDArray[Any], margins: dict[str, list[float]] | None = None, **changes: Any) -> Ground:
    """An image whose labels have components of these margins."""
    geometry = Geometry(3, (1.0, 1.0, 10.0), (0.0,) * 3, tuple(np.eye(3).ravel()))
    image = Image(np.ones((1, *SHAPE), np.float32), (10.0, 1.0, 1.0), geometry, "")
    found = tuple(
        LabelCandidates(
            label=label.name,
            components=tuple(
                candidate(m, volume=10.0, place=(0, 1, 2)) for m in (margins or {}).get(label.name, [])
            ),
            below=0.0 if (margins or {}).get(label.name) else -3.0,
        )
        for label in MODEL.labels
    )
    values = {"description": MODEL, "candidates": found, "policies": RETURN, **changes}
    made = values.pop("segmentation", None) or Segmentation(mask, {}, 1, 1, {})
    return Ground(image, made, **values)


def mask(**voxels: int) -> NDArray[np.uint8]:
    """So many voxels of each label, from the front."""
    flat = np.zeros(np.prod(SHAPE), np.uint8)
    organ, lesion = voxels.get("organ", 0), voxels.get("lesion", 0)
    flat[:organ] = 1
    flat[organ : organ + lesion] = 2
    return flat.reshape(SHAPE)


def codes(statement: Statement) -> list[str]:
    return [warning.code for warning in statement.warnings]


def test_present() -> None:
    stated = state(
        ground(mask(organ=3, lesion=2), {"organ": [70.0], "lesion": [55.0, 61.0]}, presence=CALIBRATED)
    )
    assert (stated.outcome, stated.empty, codes(stated)) == (Outcome.SEGMENTED, None, [])
    organ, lesion = stated.labels
    assert organ.presence is not None
    assert organ.presence.decision == "present"
    assert (lesion.presence_score, lesion.empty) == (61, None)
    assert (stated.guarantee.kind, stated.guarantee.alpha, stated.guarantee.n) == ("conformal", 0.05, 19)
    assert stated.mask is not None
    assert np.array_equal(stated.mask, mask(organ=3, lesion=2))


def test_nothing_marked_is_a_finding() -> None:
    stated = state(ground(mask(), presence=CALIBRATED))
    assert stated.outcome is Outcome.EMPTY
    assert stated.empty is not None
    assert (stated.empty.reason, stated.empty.meaning) == (EmptyReason.NO_VOXEL_ABOVE_THRESHOLD, NO_FINDING)
    assert [label.presence_score for label in stated.labels] == [-3, -3]
    assert codes(stated) == []


def test_what_is_below_the_confidence_is_removed_and_listed() -> None:
    before = mask(organ=3, lesion=4)
    stated = state(ground(before, {"organ": [70.0], "lesion": [41.0, 48.0]}, presence=CALIBRATED))
    assert stated.outcome is Outcome.SEGMENTED
    assert stated.mask is not None
    assert np.array_equal(stated.mask, mask(organ=3))
    assert np.array_equal(before, mask(organ=3, lesion=4))  # the network's own is not changed
    organ, lesion = stated.labels
    assert organ.present
    assert (lesion.present, lesion.voxels) == (False, 0)
    assert lesion.empty is not None
    assert (lesion.empty.reason, lesion.empty.meaning) == (
        EmptyReason.ALL_COMPONENTS_BELOW_CONFIDENCE,
        NO_FINDING,
    )
    assert stated.policy.applied == ("presence.removed:lesion",)
    assert stated.policy.removed_components == (
        {"label": "lesion", "reason": "ALL_COMPONENTS_BELOW_CONFIDENCE", "voxels": 10, "volume_ml": 0.1,
         "score": 48.0, "place": (0, 1, 2), "place_mm": (2.0, 1.0, 0.0)},
        {"label": "lesion", "reason": "ALL_COMPONENTS_BELOW_CONFIDENCE", "voxels": 10, "volume_ml": 0.1,
         "score": 41.0, "place": (0, 1, 2), "place_mm": (2.0, 1.0, 0.0)},
    )  # fmt: skip


def test_all_labels_below_the_confidence_are_an_empty_answer() -> None:
    stated = state(ground(mask(lesion=4), {"lesion": [41.0]}, presence=CALIBRATED))
    assert stated.outcome is Outcome.EMPTY
    assert stated.empty is not None
    assert (stated.empty.reason, stated.empty.meaning) == (
        EmptyReason.ALL_COMPONENTS_BELOW_CONFIDENCE,
        NO_FINDING,
    )


def test_between_the_thresholds_somebody_should_look() -> None:
    flags = Policies()
    stated = state(ground(mask(lesion=4), {"lesion": [55.0]}, presence=CALIBRATED, policies=flags))
    assert (stated.outcome, stated.empty) == (Outcome.INDETERMINATE, None)
    assert stated.mask is not None
    assert np.array_equal(stated.mask, mask(lesion=4))
    assert codes(stated) == ["answer.indeterminate"]


def test_a_surrogate_changes_no_mask_and_finds_nothing_absent() -> None:
    stated = state(ground(mask(lesion=4), {"lesion": [41.0]}, presence=SURROGATE))
    assert stated.outcome is Outcome.INDETERMINATE
    assert stated.mask is not None
    assert np.array_equal(stated.mask, mask(lesion=4))
    assert stated.policy.removed_components == ()
    lesion = stated.labels[1]
    assert lesion.presence is not None
    assert lesion.empty is not None
    assert (lesion.presence.decision, lesion.present) == ("empty", True)
    assert lesion.empty.meaning is INDETERMINATE
    assert stated.guarantee.kind == "surrogate"
    assert stated.guarantee.remark is not None


def test_an_image_unlike_the_known_ones_makes_no_finding() -> None:
    stated = state(ground(mask(), presence=CALIBRATED, is_doubtful=True))
    assert stated.empty is not None
    assert stated.empty.meaning is INDETERMINATE
    assert all(label.empty is not None and label.empty.meaning is INDETERMINATE for label in stated.labels)


def test_without_calibration_an_empty_mask_is_no_evidence() -> None:
    stated = state(ground(mask()))
    assert (stated.outcome, codes(stated)) == (Outcome.EMPTY, ["answer.empty_not_calibrated"])
    assert stated.guarantee.kind == "none"
    assert stated.empty is not None
    assert (stated.empty.reason, stated.empty.meaning) == (
        EmptyReason.NO_VOXEL_ABOVE_THRESHOLD,
        INDETERMINATE,
    )
    one = state(ground(mask(organ=1)))
    assert (one.outcome, one.empty) == (Outcome.SEGMENTED, None)
    assert one.labels[1].empty is not None
    assert (one.labels[1].empty.reason, one.labels[1].empty.meaning) == (
        EmptyReason.LABEL_ABSENT,
        INDETERMINATE,
    )


def test_a_label_that_the_calibration_does_not_know() -> None:
    half = PresenceSection(labels=(presence("lesion"),))
    stated = state(ground(mask(organ=1), presence=half))
    assert stated.outcome is Outcome.SEGMENTED
    assert stated.labels[0].presence is None
    nothing = state(ground(mask(), presence=half))
    assert (nothing.outcome, codes(nothing)) == (Outcome.EMPTY, ["answer.empty_not_calibrated"])
    assert nothing.empty is not None
    meanings = [nothing.empty.meaning, *(label.empty.meaning for label in nothing.labels if label.empty)]
    assert meanings == [INDETERMINATE, INDETERMINATE, NO_FINDING], "the lesion's absence is decided"


def test_postprocessing_is_another_reason() -> None:
    part = Part(voxels=2, place=(0.0, 1.5, 2.0), values=(2,))
    removal = Removal(KeepLargest(values=(1, 2)), (part,))
    made = Segmentation(mask(organ=3), {}, 1, 1, {}, removed=(removal,), raw=mask(organ=3, lesion=2))
    stated = state(ground(mask(), segmentation=made, policies=Policies(empty=EmptyPolicy.RAW)))
    lesion = stated.labels[1]
    assert lesion.empty is not None
    assert lesion.empty.reason is EmptyReason.ALL_COMPONENTS_BELOW_SIZE
    (row,) = stated.policy.removed_components
    assert (row["label"], row["reason"], row["values"]) == ("lesion", "NOT_THE_LARGEST_COMPONENT", (1, 2))
    assert (row["voxels"], row["place"]) == (2, (0.0, 1.5, 2.0))
    assert stated.raw is not None
    assert np.array_equal(stated.raw, mask(organ=3, lesion=2))


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


def test_no_promise_is_made_about_a_strange_image() -> None:
    strange = {"verdict": Verdict.OUT_OF_DISTRIBUTION, "is_doubtful": True}
    stated = state(ground(mask(lesion=4), {"lesion": [70.0]}, presence=CALIBRATED, **strange))
    assert stated.outcome is Outcome.SEGMENTED
    assert (stated.guarantee.kind, stated.guarantee.alpha) == ("none", None)
    assert stated.guarantee.remark is not None
    lesion = stated.labels[1].presence
    assert lesion is not None
    assert (lesion.decision, lesion.guarantee) == ("present", "none")


def test_suspicious_images_are_only_flagged() -> None:
    for ood in (OodPolicy.SUPPRESS, OodPolicy.REJECT, OodPolicy.FLAG):
        asked = Policies(ood=ood, empty=EmptyPolicy.RETURN)
        stated = state(ground(mask(organ=1), verdict=Verdict.SUSPICIOUS, policies=asked))
        assert (stated.outcome, codes(stated)) == (Outcome.SEGMENTED, ["answer.suspicious"])


def test_a_wish_that_needs_a_calibration_says_so() -> None:
    stated = state(ground(mask(organ=1), policies=Policies(ood=OodPolicy.REJECT)))
    assert codes(stated) == ["policy.not_calibrated"]


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


@pytest.mark.parametrize(
    ("option", "value"), [("ood", "raw"), ("empty", "suppress"), ("uncertainty", "yes"), ("ood", "")]
)
def test_unknown_wishes_are_refused(option: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"the option {option} is '{value}'; expected one of"):
        Policies().changed({option: value})


def test_an_approximating_run_keeps_no_exact_promise() -> None:
    limits = ("Mirroring was left out.",)
    stated = state(ground(mask(organ=3), {"organ": [70.0]}, presence=CALIBRATED, limits=limits))
    assert (stated.guarantee.kind, stated.guarantee.remark) == ("approximate", "Mirroring was left out.")
    assert stated.labels[0].presence is not None
    assert stated.labels[0].presence.guarantee == "approximate"
    worse = state(ground(mask(organ=3), {"organ": [70.0]}, presence=SURROGATE, limits=limits)).guarantee
    assert worse.kind == "surrogate"
    assert worse.remark is not None
    assert worse.remark.endswith("Mirroring was left out.")


def test_quality_is_expected_of_masks_like_those_that_were_calibrated() -> None:
    section = QualitySection(kind="constant", intercept=0.8, lower=-0.3, upper=0.1, n=20)
    surrogate = PresenceSection(labels=(presence("lesion", PresenceGuarantee.SURROGATE),))

    def quality(presence: PresenceSection | None, margin: float = 70.0, **changes: Any) -> Quality:
        marked = mask(organ=3, lesion=2)
        given = ground(marked, {"organ": [70.0], "lesion": [margin]}, presence=presence, **changes)
        return quality_of(section, given.candidates, state(given), {})

    part = Part(voxels=2, place=(0.0, 1.5, 2.0), values=(2,))
    removal = Removal(KeepLargest(values=(1, 2)), (part,))
    processed = Segmentation(mask(organ=3), {}, 1, 1, {}, removed=(removal,))
    # postprocessing was applied to the calibration's masks, too
    assert quality(None, segmentation=processed).expected_dice == 0.8
    assert quality(None).remark is quality(surrogate).remark is None
    # decisions were not: what they change has no expectation, and what they leave alone was chosen
    assert "was removed" in (quality(CALIBRATED).remark or "")
    assert quality(CALIBRATED, margin=41.0).expected_dice is None
