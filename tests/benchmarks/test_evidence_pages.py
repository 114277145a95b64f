"""The pages of docs/evidence say what was recorded, and nothing by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benchmarks import evidence
from benchmarks.evidence_pages import asked, lesions, phantoms, polyps
from benchmarks.evidence_pages.index import INDEX, PROTOCOL, indexed, ms_protocol, protocol
from benchmarks.evidence_pages.markdown import interval, table
from benchmarks.evidence_pages.questions import MEASURES, MS_LESIONS, QUESTIONS, Question
from nnunet_losses.compare.statistics import Pair, compare_pairs
from nnunet_losses.compare.study import loss_configuration


def test_the_list_of_claims_is_as_written_by_the_code():
    text = INDEX.read_text("utf-8")
    assert indexed(text) == text


def test_the_protocol_has_the_questions_of_the_code():
    text = PROTOCOL.read_text("utf-8")
    assert protocol(text) == text
    text = lesions.PROTOCOL.read_text("utf-8")
    assert ms_protocol(text) == text


@pytest.mark.parametrize("run", polyps.RUNS, ids=lambda run: run.name)
def test_the_pages_of_the_polyps_are_as_written_by_the_code(run):
    record = run.read()
    if record is None:
        assert not run.page.exists(), "figures without their record"
    else:
        assert run.page.read_text("utf-8") == polyps.page(run, record)


@pytest.mark.parametrize("room", [phantoms, lesions], ids=["phantoms", "lesions"])
def test_the_pages_with_questions_are_as_written_by_the_code(room):
    record = room.read()
    if record is None:
        assert not room.PAGE.exists(), "figures without their record"
    else:
        assert room.PAGE.read_text("utf-8") == room.page(record)


def made_up(*dice: float) -> dict:
    trainings = [{"seed": seed, "dice": one, "validation_dice": one - 0.1} for seed, one in enumerate(dice)]
    return {"losses": {polyps.DEFAULT: {"trainings": trainings}}}


def test_what_was_wanted_is_held_against_what_came_out():
    assert polyps.wanted(made_up(0.75, 0.65)).count(": reached") == 2
    said = polyps.wanted(made_up(0.66, 0.56))
    assert "test images 0.660 (seed 0), 0.560 (seed 1), mean 0.610: reached" in said
    assert "mean 0.510: **not** reached" in said
    assert "no result" in polyps.wanted({"losses": {}})


def test_every_loss_of_the_small_comparisons_exists_and_all_twenty_are_there():
    for claim in evidence.CLAIMS:
        assert all(loss_configuration(loss).loss for loss in claim.losses)
        assert len(set(claim.losses)) == len(claim.losses)
    assert len(set(evidence.ODYSSEY)) == 20
    assert {claim.name[0] for claim in evidence.CLAIMS} == set("12345")


def test_every_question_asks_about_losses_that_its_comparison_trains():
    assert list(QUESTIONS) == [claim.name for claim in evidence.CLAIMS]
    for claim in evidence.CLAIMS:
        for question in QUESTIONS[claim.name]:
            assert {*question.first, *question.second} <= set(claim.losses)
            assert not set(question.first) & set(question.second)
            assert question.measure in MEASURES


def test_the_questions_about_real_lesions_are_about_losses_of_the_command():
    command = lesions.PROTOCOL.read_text("utf-8").rpartition("--losses ")[2].partition(" \\\n")[0].split()
    for question in MS_LESIONS:
        assert {*question.first, *question.second} <= set(command)
        assert question.measure in MEASURES


def pair(shift: float) -> Pair:
    second = np.random.default_rng(0).random((3, 40))
    return compare_pairs({"first": second + shift, "second": second})[0]


@pytest.mark.parametrize(
    ("shift", "expected", "said"),
    [
        (0.2, 1, "shown"),
        (0.2, -1, "the opposite is shown"),
        (-0.2, -1, "shown"),
        (-0.2, 1, "the opposite is shown"),
        (0.0, 1, "not shown"),
    ],
)
def test_a_question_is_answered_by_the_direction_of_a_shown_difference(shift, expected, said):
    question = Question("it is larger", ("dice",), ("ce",), "dice", expected)
    assert asked.verdict(question, pair(shift)) == said


def test_a_question_without_its_trainings_is_said_to_be_open():
    question = QUESTIONS["2_instances"][0]
    found = {"answers": [json.loads(json.dumps(asked.answer(question, None)))]}
    assert "not tested, a training failed" in asked.answered(found)


def test_tables_and_intervals_are_written_in_full():
    assert table(("a", "b"), [("1", "2")]) == "| a | b |\n| --- | --- |\n| 1 | 2 |"
    assert interval({"value": 0.5, "low": 0.25, "high": 0.75}) == "0.500 [0.250, 0.750]"
    assert interval({"value": 51.2, "low": 12.0, "high": 80.9}) == "51 [12, 81]"
    assert interval({"value": None, "low": None, "high": None}) == "–"
