"""What is stated of each label, and of an empty mask: every outcome, reason and meaning."""

from __future__ import annotations

import numpy as np

from nnunet_losses.serve.answer import EmptyReason, Outcome
from nnunet_losses.serve.pipeline.postprocess import Part, Removal
from nnunet_losses.serve.pipeline.segment import Segmentation
from nnunet_losses.serve.policies import EmptyPolicy, Policies
from nnunet_losses.serve.safety.presence_section import PresenceSection
from nnunet_losses.serve.schema import KeepLargest
from nnunet_losses.serve.statement import state

from .statements import CALIBRATED, INDETERMINATE, NO_FINDING, SURROGATE, codes, ground, mask, presence


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
