"""What is promised of an answer, and where no promise is made."""

from __future__ import annotations

from typing import Any

from nnunet_losses.serve.answer import Outcome, Quality, Verdict
from nnunet_losses.serve.pipeline.postprocess import Part, Removal
from nnunet_losses.serve.pipeline.segment import Segmentation
from nnunet_losses.serve.safety.presence_section import PresenceGuarantee, PresenceSection
from nnunet_losses.serve.safety.quality import quality_of
from nnunet_losses.serve.safety.quality_section import QualitySection
from nnunet_losses.serve.schema import KeepLargest
from nnunet_losses.serve.statement import state

from .statements import CALIBRATED, SURROGATE, ground, mask, presence


def test_no_promise_is_made_about_a_strange_image() -> None:
    strange = {"verdict": Verdict.OUT_OF_DISTRIBUTION, "is_doubtful": True}
    stated = state(ground(mask(lesion=4), {"lesion": [70.0]}, presence=CALIBRATED, **strange))
    assert stated.outcome is Outcome.SEGMENTED
    assert (stated.guarantee.kind, stated.guarantee.alpha) == ("none", None)
    assert stated.guarantee.remark is not None
    lesion = stated.labels[1].presence
    assert lesion is not None
    assert (lesion.decision, lesion.guarantee) == ("present", "none")


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
