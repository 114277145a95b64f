"""The figures and the page, from results that were made up."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest

from nnunet_losses.compare.outcomes import Comparison, collect
from nnunet_losses.compare.records import as_record, from_record
from nnunet_losses.compare.report.page import Content, html
from nnunet_losses.compare.report.tables import COLUMNS, as_json, case_records, figure_records
from nnunet_losses.compare.report.words import recommend
from nnunet_losses.compare.results import Cost, Curves, Result, SetResult, write_result
from nnunet_losses.compare.sets import Role
from nnunet_losses.compare.statistics import Pair, compare_pairs, rank
from nnunet_losses.compare.study import Study
from nnunet_losses.compare.trainings import trainings
from nnunet_losses.serve.metrics.conventions import Metric
from nnunet_losses.serve.metrics.intervals import Estimate
from nnunet_losses.serve.metrics.report import as_csv

from .made_up import CASES, SETTINGS, case, made, result


def test_records_lose_nothing() -> None:
    for one in (
        case("a", shift=2, present=True, score=1.5),
        case("b", shift=None, present=False, score=-math.inf),
    ):
        read = from_record(json.loads(json.dumps(as_record(one))))
        assert json.dumps(as_record(read)) == json.dumps(as_record(one))
        for metric in Metric:
            known, again = (x.labels["lesion"].value(metric, "nnunet") for x in (one, read))
            assert known == again or (math.isnan(known) and math.isnan(again))


def test_figures_are_those_counted_by_hand(comparison: Comparison) -> None:
    assert (comparison.positives, comparison.negatives) == (CASES, 4)
    dice, ce = comparison.figures["dice"], comparison.figures["ce"]
    assert (dice["dice"].value, ce["dice"].value) == (1.0, 0.75)
    assert (dice["specificity"].value, ce["specificity"].value) == (0.0, 0.75)
    assert ce["specificity"].low == pytest.approx(0.194, abs=1e-3)  # exact, 3 of 4
    assert dice["dice_all"].value == pytest.approx(CASES / (CASES + 4))
    assert dice["dice_nnunet"].value == pytest.approx(CASES / (CASES + 4))
    assert ce["dice_nnunet"].value == pytest.approx(0.75 * CASES / (CASES + 1))
    assert dice["false_volume"].value == 16.0
    assert ce["false_lesions"].value == 0.25
    assert (dice["presence_auroc"].value, dice["ood_auroc"].value) == (1.0, 1.0)
    # of 256 voxels at 0.9 there are 192 foreground, of 3840 at 0.1 none
    assert dice["calibration_error"].value == pytest.approx((256 * 0.9 - 192 + 3840 * 0.1) / 4096)


def test_presence_threshold_silences_painted_lesion_free_cases(comparison: Comparison) -> None:
    figures = comparison.figures["dice"]
    assert all(
        run.threshold == 5.0 for run in comparison.outcomes[0].runs
    )  # smallest of 20 validation scores
    assert figures["specificity_calibrated"].value == 1.0
    assert figures["case_sensitivity_calibrated"].value == 1.0
    assert figures["dice_all_calibrated"].value == 1.0


def test_a_cell_counts_once_and_a_failed_loss_is_listed(
    comparison: Comparison, study: Study, tmp_path: Path
) -> None:
    cell = study.cells[0]
    write_result(cell.folder(tmp_path), result(study, cell.loss, cell.seed, shift=0, painted=4))
    again = collect(tmp_path, study)
    assert [len(one.runs) for one in again.outcomes] == [2, 2]
    assert again.figures == comparison.figures
    assert [one.loss for one in again.failed] == ["dice_ce"]


def test_a_missing_training_is_passed_over_and_said(study: Study, tmp_path: Path) -> None:
    (study.cells[0].folder(tmp_path) / "result.json").unlink()
    comparison = collect(tmp_path, study)
    assert comparison.figures["dice"]["dice"].value == 1.0
    assert any("Not all trainings are done: Dice " in one for one in recommend(comparison, ()).doubts)


def test_words_page_and_tables(comparison: Comparison, study: Study) -> None:
    values = {one.loss: comparison.of_positives(one, Metric.DICE) for one in comparison.outcomes}
    pairs = compare_pairs(values)
    ranking = rank(values, pairs)
    words = recommend(comparison, pairs)
    assert words.headline == "Dice segments best here; every other loss is shown to be worse."
    assert any("CE left 75 % empty" in one for one in words.reasons)
    page = html(Content(study, comparison, pairs, ranking, words, (), "pixels", note="no <evidence>"))
    assert "no &lt;evidence&gt;" in page
    assert "&lt;no memory&gt;" in page
    assert "<no memory>" not in page
    assert page.count("<svg") == 5 + 2  # all lesions are of one size: no curve over sizes; 2 curves of losses
    assert "http" not in page.replace("http://www.w3.org", "")  # but for the namespace of SVG
    rows = list(csv.DictReader(as_csv(figure_records(comparison)).splitlines()))
    assert len(rows) == 2 * (len(COLUMNS) + 2)
    assert len(list(case_records(comparison))) == 4 * (20 + CASES + 4)
    everything = as_json(comparison, study, pairs, ranking, words)
    read = json.loads(json.dumps(everything, allow_nan=False))
    assert read["failures"][0]["reason"].startswith("RuntimeError")
    assert read["recommendation"]["headline"] == words.headline


def test_the_headline_claims_no_more_than_the_pairs(comparison: Comparison) -> None:
    """The best loss is not shown to be better, which does not mean that no pair differs."""

    def pair(first: str, second: str, p: float) -> Pair:
        return Pair(first, second, Estimate(-0.1, -0.2, -0.01, CASES), p, p, 2)

    unknown = recommend(comparison, [pair("dice", "ce", 0.5)])
    assert unknown.headline == "No difference in Dice can be shown between the 2 losses."
    others = recommend(comparison, [pair("dice", "ce", 0.5), pair("ce", "dice_ce", 0.01)])
    assert "cannot be shown to be better than any other" in others.headline


def test_a_mean_over_fewer_trainings_never_makes_the_worse_loss_the_best(tmp_path: Path) -> None:
    """``dice`` is better on what both have; its later trainings learned nothing."""
    study = Study(settings=SETTINGS, losses=("dice", "dice_ce"), folds=(0,), seeds=(0, 1, 2))
    for cell in study.cells:
        if cell.loss == "dice" or cell.seed == 0:
            shift = 1 if cell.loss == "dice_ce" else 0 if cell.seed == 0 else 4
            cell.folder(tmp_path).mkdir(parents=True)
            write_result(cell.folder(tmp_path), result(study, cell.loss, cell.seed, shift=shift, painted=2))
    comparison = collect(tmp_path, study)
    shown = Pair("dice", "dice_ce", Estimate(0.25, 0.1, 0.4, CASES), 0.001, 0.001, 1)
    words = recommend(comparison, [shown])
    assert words.headline == (
        "DiceCE has the highest mean Dice of the trainings that it has, but Dice is shown to be better in "
        "those that both have."
    )
    assert words.advice == ""
    assert not any("Worse than DiceCE" in one for one in words.reasons)


def test_the_default_is_known_by_each_of_its_names(tmp_path: Path) -> None:
    assert (
        "It is nnU-Net's default"
        in recommend(collect(tmp_path, made(tmp_path, ("dice", "DiceCE"))), ()).advice
    )


def test_where_nothing_is_shown_one_loss_is_named_and_why(tmp_path: Path) -> None:
    study = made(tmp_path, ("ce", "dice_ce", "dice"))
    comparison = collect(tmp_path, study)
    shown = [Pair(one, "dice_ce", Estimate(0.1, 0.05, 0.2, CASES), 0.001, 0.001, 2) for one in ("ce", "dice")]
    assert recommend(comparison, ()).advice == (
        "If one has to be taken: DiceCE. It is nnU-Net's default. This is a choice and not a finding."
    )
    without = recommend(comparison, shown).advice
    assert without.startswith("If one has to be taken: CE. It has the highest mean Dice.")


def test_of_losses_alike_in_dice_the_most_silent_one_is_named(
    comparison: Comparison, study: Study, tmp_path: Path
) -> None:
    words = recommend(comparison, ())
    assert words.advice.startswith("If one has to be taken: CE. Of the 2 alike in Dice, none left more")
    values = {one.loss: comparison.of_positives(one, Metric.DICE) for one in comparison.outcomes}
    assert recommend(comparison, compare_pairs(values)).advice == ""  # Dice is shown to be better
    ranking = rank(values, ())
    assert words.advice in html(Content(study, comparison, (), ranking, words, (), "pixels"))


def test_the_page_says_that_it_is_not_finished(study: Study, tmp_path: Path) -> None:
    def page() -> str:
        comparison = collect(tmp_path, study)
        words = recommend(comparison, ())
        ranking = rank(
            {one.loss: comparison.of_positives(one, Metric.DICE) for one in comparison.outcomes}, ()
        )
        return html(Content(study, comparison, (), ranking, words, (), "pixels"))

    assert "Not finished" not in page()
    (study.cells[0].folder(tmp_path) / "result.json").unlink()
    assert "Not finished: 5 of 6 trainings" in page()


def test_single_trainings_are_counted_by_hand(comparison: Comparison) -> None:
    first, second = trainings(comparison, comparison.outcomes[1])
    assert (first.dice, first.validation_dice, second.cell.seed) == (0.75, 0.75, 1)
    assert (first.left_empty.value, first.left_empty.n) == (0.75, 4)
    assert first.left_empty_calibrated.value == 1.0


def test_folds_of_different_sizes_are_told_from_images_of_another_kind(tmp_path: Path) -> None:
    study = Study(settings=SETTINGS, losses=("dice",), folds=(0, 1), seeds=(0,))
    for cell, size in zip(study.cells, (3, 4), strict=True):
        cases = [case(f"{cell.fold}-{i}", shift=0, present=True, score=1.0) for i in range(size)]
        known = {one.case: 0.1 for one in cases[1:]} | {cases[0].case: 0.9}  # one in each is strange itself
        sets = (
            SetResult(role=Role.VALIDATION, cases=tuple(map(as_record, cases)), strangeness=known),
            SetResult(role=Role.OOD, cases=(), strangeness={"photo": 0.5}),
        )
        made = Result(
            cell=cell,
            trainer="",
            curves=Curves(training_loss=(1.0,), validation_loss=(1.0,), running_dice=(1.0,)),
            cost=Cost(seconds_per_epoch=(1.0,), peak_memory=1),
            sets=sets,
        )
        cell.folder(tmp_path).mkdir(parents=True)
        write_result(cell.folder(tmp_path), made)
    found = collect(tmp_path, study).figures["dice"]["ood_auroc"]
    assert found.value == pytest.approx((2 / 3 + 3 / 4) / 2)


def test_the_documents_have_every_measure_as_it_is_explained_on_the_page() -> None:
    text = (Path(__file__).parents[2] / "docs" / "compare.md").read_text("utf-8")
    for column in COLUMNS:
        assert f"| `{column.name}` | {column.meaning[0].upper()}{column.meaning[1:]} |" in text
    assert all(f"`{name}`" in text for name in ("seconds_per_epoch", "peak_memory"))


def test_nothing_done_yet_is_an_error(tmp_path: Path) -> None:
    study = Study(settings=SETTINGS, losses=("dice",), folds=(0,), seeds=(0,))
    with pytest.raises(ValueError, match="has a result"):
        collect(tmp_path, study)
