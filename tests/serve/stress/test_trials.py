"""What a stress test says: findings, masks that move with the damage, cells, sentences, and the page."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nnunet_losses.serve.answer import Answer, Distribution, Evidence, Manifest, Outcome, Problem, Verdict
from nnunet_losses.serve.stress.page import page
from nnunet_losses.serve.stress.pictures import Painter
from nnunet_losses.serve.stress.suite import CORRUPTIONS
from nnunet_losses.serve.stress.summary import Kind, Summary, sentences
from nnunet_losses.serve.stress.trials import Finding, Trial, agree, expected_mask, found

from ..images import picture, volume

if TYPE_CHECKING:
    from pathlib import Path

MANIFEST = Manifest(model="m", bundle_sha256="0", input_sha256=None, versions={})
IMAGE = volume(np.random.default_rng(0).normal(size=(1, 6, 12, 10)), (2.0, 1.0, 1.0))
MASK = np.zeros((6, 12, 10), np.uint8)
MASK[2:4, 1:5, 6:9] = 1


def answered(verdict: Verdict, outcome: Outcome = Outcome.SEGMENTED) -> Answer:
    evidence = (Evidence(name="texture", message="It is noisy."),)
    return Answer(case="c", outcome=outcome, manifest=MANIFEST,
                  distribution=Distribution(verdict=verdict, evidence=evidence))  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "finding", "reason"),
    [
        (Verdict.IN_DISTRIBUTION, Finding.UNNOTICED, ""),
        (Verdict.NOT_CALIBRATED, Finding.UNNOTICED, ""),
        (Verdict.SUSPICIOUS, Finding.SUSPICIOUS, "It is noisy."),
        (Verdict.OUT_OF_DISTRIBUTION, Finding.OUT_OF_DISTRIBUTION, "It is noisy."),
    ],
)
def test_verdicts_become_findings(verdict: Verdict, finding: Finding, reason: str) -> None:
    assert found(answered(verdict)) == (finding, reason)


def test_a_rejection_is_noticed_with_its_reason() -> None:
    rejected = answered(Verdict.OUT_OF_DISTRIBUTION, Outcome.REJECTED).model_copy(
        update={"problem": Problem(code="contract.blank", detail="Blank.", remedy="")}
    )
    assert found(rejected) == (Finding.REFUSED, "Blank.")
    assert Finding.REFUSED.is_noticed
    assert not Finding.FAILED.is_noticed


@pytest.mark.parametrize("key", ["flip_x_silent", "flip_z_told", "swap_zy_silent", "crop_field"])
def test_masks_move_with_the_voxels(key: str) -> None:
    corruption = CORRUPTIONS[key]
    moved = expected_mask(IMAGE, MASK, corruption, 0, case="c")
    as_image = corruption.apply(replace(IMAGE, data=MASK[None].astype(np.float32)), 0, case="c")
    assert moved is not None
    assert moved.dtype == MASK.dtype
    assert np.array_equal(moved, as_image.data[0])
    assert moved.shape == corruption.apply(IMAGE, 0, case="c").shape


def test_no_mask_is_right_for_what_is_no_image() -> None:
    assert expected_mask(IMAGE, MASK, CORRUPTIONS["checkerboard"], 0, case="c") is None
    assert expected_mask(IMAGE, None, CORRUPTIONS["noise"], 0, case="c") is None
    assert expected_mask(IMAGE, MASK, CORRUPTIONS["noise"], 0, case="c") is MASK
    assert agree(MASK, None) is None
    assert agree(MASK, MASK[:3]) is None
    assert agree(MASK * 0, MASK * 0) == 1.0


def trial(key: str | None, finding: Finding, agreement: float | None, case: str = "a<b>") -> Trial:
    return Trial(case, key, 0, finding, "<b>why</b>" if finding.is_noticed else "", 0.1, agreement, 1.0)


TRIALS = (
    trial(None, Finding.UNNOTICED, None),
    trial("noise", Finding.SUSPICIOUS, 0.9),
    trial("blur", Finding.UNNOTICED, 0.95),
    trial("gamma", Finding.UNNOTICED, 0.5),
    trial("clouds", Finding.UNNOTICED, None),
    trial("spike", Finding.REFUSED, None),
    trial(None, Finding.SUSPICIOUS, None, "b"),
    trial("spike", Finding.FAILED, None, "b"),
)
SUMMARY = Summary("model", is_calibrated=True, n_calibration=40, trials=TRIALS, planned=2)


def test_cells_say_what_to_think() -> None:
    kinds = {cell.corruption: cell.kind for cell in SUMMARY.cells()}
    assert kinds == {
        "noise": Kind.NOTICED, "blur": Kind.HARMLESS, "gamma": Kind.DANGEROUS, "clouds": Kind.UNKNOWN,
        "spike": Kind.SOMETIMES,
    }  # fmt: skip


def test_sentences_are_plain_and_complete() -> None:
    text = " ".join(sentences(SUMMARY))
    assert "2 of your images were damaged in 5 ways. 1 of them were noticed every time, 1 sometimes" in text
    assert "Beware of 1" in text
    assert "gamma" in text
    assert "Undamaged, 1 of 2 images were called strange" in text
    assert "1 images made the engine fail" in text
    untaught = replace(SUMMARY, is_calibrated=False, n_calibration=0)
    assert "not calibrated" in " ".join(sentences(untaught))


def test_the_page_needs_nothing_else_and_escapes_everything() -> None:
    address = Painter.of(IMAGE, is_colour=False).paint(IMAGE, MASK, None)
    html = page(SUMMARY, {(None, 0): address, ("noise", 0): address}, [("or<gan", "#e69f00")])
    assert html.count("<img") == html.count("data:image/png;base64,") >= 5
    assert "http" not in html
    assert "a<b>" not in html
    assert "<b>why" not in html
    assert "or&lt;gan" in html
    for key in ("noise", "blur", "gamma", "clouds", "spike"):
        assert f"href='#{key}'" in html
        assert f"id='{key}'" in html


def test_a_run_of_nothing_still_makes_a_page() -> None:
    assert "0 of 0" in page(Summary("m", is_calibrated=False, n_calibration=0, trials=(), planned=1), {}, [])


def test_files_hold_every_trial(tmp_path: Path) -> None:
    SUMMARY.write(tmp_path)
    content = json.loads((tmp_path / "stress.json").read_text())
    assert len(content["trials"]) == len(TRIALS)
    assert content["false_alarms"] == 1
    assert len((tmp_path / "stress.csv").read_text().splitlines()) == len(TRIALS) + 1


def test_pictures_of_everything_that_may_come() -> None:
    colours = picture(np.random.default_rng(1).uniform(0, 255, (3, 24, 32)))
    for image, is_colour in ((IMAGE, False), (colours, True)):
        painter = Painter.of(image, is_colour=is_colour)
        for key, corruption in CORRUPTIONS.items():
            if corruption.applies_to(image):
                damaged = corruption.apply(image, 0, case="c")
                assert painter.paint(damaged, None, key).startswith("data:image/png;base64,")
