"""The figures and the page, from results that were made up."""

from __future__ import annotations

import csv
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nnunet_losses.compare.outcomes import Comparison, collect
from nnunet_losses.compare.records import as_record, from_record
from nnunet_losses.compare.report import charts
from nnunet_losses.compare.report.drawing import INK, marks, themed
from nnunet_losses.compare.report.page import Content, html
from nnunet_losses.compare.report.style import CSS
from nnunet_losses.compare.report.tables import COLUMNS, as_json, case_records, figure_records
from nnunet_losses.compare.report.words import recommend
from nnunet_losses.compare.results import Cost, Curves, Result, SetResult, write_failure, write_result
from nnunet_losses.compare.sets import Role
from nnunet_losses.compare.statistics import Pair, compare_pairs, rank
from nnunet_losses.compare.study import Settings, Study, trainer_name
from nnunet_losses.compare.trainings import trainings
from nnunet_losses.serve.metrics.case import CaseResult, evaluate_masks
from nnunet_losses.serve.metrics.conventions import Metric
from nnunet_losses.serve.metrics.intervals import Estimate
from nnunet_losses.serve.metrics.report import as_csv

if TYPE_CHECKING:
    from collections.abc import Callable

CASES = 12
SETTINGS = Settings(dataset="Dataset001_<Made>", configuration="2d", epochs=3)


def case(name: str, *, shift: int | None, present: bool, score: float) -> CaseResult:
    """A square that was found ``shift`` pixels aside; None: nothing was painted."""
    reference, prediction = np.zeros((2, 16, 16), bool)
    reference[4:8, 4:8] = present
    if shift is not None:
        prediction[4:8, 4 + shift : 8 + shift] = True
    probability = prediction * 0.8 + 0.1
    result = evaluate_masks(prediction, reference, spacing=(1.0, 1.0), score=score, probability=probability)
    return CaseResult(name, {"lesion": result})


def result(study: Study, loss: str, seed: int, *, shift: int, painted: int) -> Result:
    """Lesions found ``shift`` pixels aside; of 4 lesion-free cases some are painted, with a low score."""
    cell = next(one for one in study.cells if (one.loss, one.seed) == (loss, seed))
    found = [case(f"l{i}", shift=shift, present=True, score=5.0 + i) for i in range(CASES)]
    free = [case(f"f{i}", shift=0 if i < painted else None, present=False, score=float(i)) for i in range(4)]
    sets = (
        SetResult(
            role=Role.VALIDATION, cases=tuple(as_record(found[i % CASES]) for i in range(20)), strangeness={}
        ),
        SetResult(
            role=Role.TEST, cases=tuple(map(as_record, found)), strangeness={one.case: 0.1 for one in found}
        ),
        SetResult(role=Role.NEGATIVES, cases=tuple(map(as_record, free)), strangeness={}),
        SetResult(role=Role.OOD, cases=(), strangeness={"photo": 0.5}),
    )
    renamed = [{**one, "case": f"v{i}"} for i, one in enumerate(sets[0].cases)]
    return Result(
        cell=cell,
        trainer=trainer_name(loss, study.settings),
        curves=Curves(training_loss=(1.0, 0.5), validation_loss=(1.0, 0.6), running_dice=(0.2, 0.6)),
        cost=Cost(seconds_per_epoch=(1.0, 3.0), peak_memory=2**30),
        sets=(sets[0].model_copy(update={"cases": tuple(renamed)}), *sets[1:]),
    )


@pytest.fixture
def study(tmp_path: Path) -> Study:
    study = Study(settings=SETTINGS, losses=("dice", "ce", "dice_ce"), folds=(0,), seeds=(0, 1))
    for loss, shift, painted in (("dice", 0, 4), ("ce", 1, 1)):
        for cell in study.cells:
            if cell.loss == loss:
                cell.folder(tmp_path).mkdir(parents=True)
                write_result(
                    cell.folder(tmp_path), result(study, loss, cell.seed, shift=shift, painted=painted)
                )
    for cell in study.cells:
        if cell.loss == "dice_ce":
            write_failure(cell.folder(tmp_path), "RuntimeError: <no memory>")
    return study


@pytest.fixture
def comparison(study: Study, tmp_path: Path) -> Comparison:
    return collect(tmp_path, study)


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


class _Reader(HTMLParser):
    """Tags that are open, ids, and what a page fetches."""

    _VOID = ("meta", "img", "path", "use", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.sources: list[str] = []
        self.pictures: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.ids += [str(found["id"])] if "id" in found else []
        self.sources += [str(found[name]) for name in ("src", "href", "xlink:href") if name in found]
        if tag == "svg":
            self.pictures.append(found.get("aria-label"))
        if tag not in self._VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self._VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self._VOID:
            assert self.open.pop() == tag


def written(output: Path, study: Study) -> tuple[str, str]:
    """Page and headline of all that is there, after what must hold of each page and of its JSON."""
    comparison = collect(output, study)
    values = {one.loss: comparison.of_positives(one, Metric.DICE) for one in comparison.outcomes}
    pairs = compare_pairs(values)
    ranking = rank(values, pairs)
    words = recommend(comparison, pairs)
    json.dumps(as_json(comparison, study, pairs, ranking, words), allow_nan=False)
    page = html(Content(study, comparison, pairs, ranking, words, (), "pixels"))
    reader = _Reader()
    reader.feed(page)
    assert not reader.open
    assert len(set(reader.ids)) == len(reader.ids)
    assert all(source.startswith("#") and source[1:] in reader.ids for source in reader.sources)
    assert all(reader.pictures)
    assert not re.search(r"\bnan\b", page)
    return page, words.headline


def made(
    output: Path,
    losses: tuple[str, ...],
    change: Callable[[Result], Result] = lambda one: one,
    seeds: int = 1,
) -> Study:
    """A comparison whose losses are ever worse."""
    study = Study(settings=SETTINGS, losses=losses, folds=(0,), seeds=tuple(range(seeds)))
    for cell in study.cells:
        cell.folder(output).mkdir(parents=True)
        shift = min(losses.index(cell.loss), 3)
        write_result(cell.folder(output), change(result(study, cell.loss, cell.seed, shift=shift, painted=2)))
    return study


def only(*roles: Role, cases: int | None = None) -> Callable[[Result], Result]:
    """Keep some sets, and their first cases."""

    def change(one: Result) -> Result:
        kept = [images for images in one.sets if images.role in roles]
        return one.model_copy(
            update={"sets": tuple(x.model_copy(update={"cases": x.cases[:cases]}) for x in kept)}
        )

    return change


def test_one_training_of_each_says_so_where_it_claims_most(tmp_path: Path) -> None:
    page, headline = written(tmp_path, made(tmp_path, ("dice", "ce")))
    assert headline == (
        "Dice segments best here; every other loss is shown to be worse. Each was trained once: another seed "
        "may say otherwise."
    )
    assert "an interval over cases alone without 0" in page


def test_a_page_about_lesion_free_cases_alone_ranks_nothing(tmp_path: Path) -> None:
    page, headline = written(tmp_path, made(tmp_path, ("dice", "ce"), only(Role.NEGATIVES)))
    assert headline == "There is nothing to rank by: no judged case has lesion."
    assert "Of 4 lesion-free cases Dice and CE left 50 % empty" in page
    assert "too few for a presence threshold" in page


def test_a_page_about_one_case_and_one_loss(tmp_path: Path) -> None:
    page, headline = written(tmp_path, made(tmp_path, ("dice",), only(Role.TEST, cases=1)))
    assert headline == "Only Dice has a result; there is nothing to compare it with."
    assert "Only 1 judged case with lesion" in page
    assert "over 1 case and one training" in page


def test_a_page_without_lesion_free_cases_asks_for_them(tmp_path: Path) -> None:
    page, _ = written(tmp_path, made(tmp_path, ("dice", "ce"), only(Role.TEST, Role.VALIDATION)))
    assert "Give --negatives." in page
    assert "staying silent" not in page


def test_many_losses_and_long_names_each_have_a_mark_of_their_own(tmp_path: Path) -> None:
    long = "Tversky_fp0p2_fn0p8"
    losses = (long, *(f"Tversky_fp0p2_fn0p{i}" for i in (3, 4, 5, 6, 9)), "dice", "ce")
    study = made(tmp_path, losses)
    page, headline = written(tmp_path, study)
    assert len(set(marks(collect(tmp_path, study)).values())) == len(losses)
    assert page.count('class="panels"') == 2  # learning, training loss: one picture for each
    assert "Tversky_fp0p2_fn0p8" in headline


def test_only_failed_trainings_are_an_error_with_their_reason(tmp_path: Path) -> None:
    study = Study(settings=SETTINGS, losses=("dice", "ce"), folds=(0,), seeds=(0,))
    for cell in study.cells:
        write_failure(cell.folder(tmp_path), "RuntimeError: no memory")
    with pytest.raises(ValueError, match="no memory"):
        collect(tmp_path, study)


def test_charts_take_the_colours_of_a_dark_page(comparison: Comparison) -> None:
    chart = charts.forest(comparison)
    assert INK in chart  # by itself it is a file that any program can show
    assert "var(--" not in chart
    assert INK not in themed(chart)
    assert "var(--ink)" in themed(chart)


def test_printed_colours_are_those_of_the_light_page() -> None:
    """White paper under light letters could not be read."""
    dark = CSS[CSS.index("@media(prefers-color-scheme:dark)") :].split("}}}")[0]
    assert "@media not print" in dark
