"""The pages of docs/evidence say what was recorded, and nothing by hand."""

from __future__ import annotations

import json

from benchmarks import evidence
from benchmarks.evidence_pages import DEFAULT, EVIDENCE, RECORD, indexed, page, wanted
from nnunet_losses.compare.study import loss_configuration

INDEX = EVIDENCE / "README.md"


def recorded():
    return json.loads(RECORD.read_text("utf-8")) if RECORD.is_file() else None


def test_the_list_of_claims_is_as_written_by_the_code():
    text = INDEX.read_text("utf-8")
    assert indexed(text, recorded()) == text


def test_the_page_of_the_polyps_is_as_written_by_the_code():
    record = recorded()
    if record is None:
        assert not (EVIDENCE / "polyps.md").exists(), "figures without their record"
    else:
        assert (EVIDENCE / "polyps.md").read_text("utf-8") == page(record)


def made_up(*dice: float) -> dict:
    trainings = [{"seed": seed, "dice": one, "validation_dice": one - 0.1} for seed, one in enumerate(dice)]
    return {"losses": {DEFAULT: {"trainings": trainings}}}


def test_what_was_wanted_is_held_against_what_came_out():
    assert wanted(made_up(0.75, 0.65)).count(": reached") == 2
    said = wanted(made_up(0.66, 0.56))
    assert "test images 0.660 (seed 0), 0.560 (seed 1), mean 0.610: reached" in said
    assert "mean 0.510: **not** reached" in said
    assert "no result" in wanted({"losses": {}})


def test_every_loss_of_the_small_comparisons_exists_and_all_twenty_are_there():
    for claim in evidence.CLAIMS:
        assert all(loss_configuration(loss).loss for loss in claim.losses)
        assert len(set(claim.losses)) == len(claim.losses)
    assert len(set(evidence.ODYSSEY)) == 20
    assert {claim.name[0] for claim in evidence.CLAIMS} == set("12345")
