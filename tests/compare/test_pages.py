"""Pages about little, and how they look elsewhere than on a wide, light screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnunet_losses.compare.outcomes import Comparison, collect
from nnunet_losses.compare.report import charts
from nnunet_losses.compare.report.drawing import INK, marks, themed
from nnunet_losses.compare.report.style import CSS
from nnunet_losses.compare.results import write_failure
from nnunet_losses.compare.sets import Role
from nnunet_losses.compare.study import Study

from .made_up import SETTINGS, made, only, written

if TYPE_CHECKING:
    from pathlib import Path


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
