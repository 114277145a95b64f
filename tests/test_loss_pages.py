"""The pages of the losses say what the registry, the notes and the code say."""

from __future__ import annotations

import doctest
import math
import re
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest
import torch

from nnunet_losses import create_loss, get_loss_spec, list_losses, notes
from nnunet_losses.notes import LossNotes, empty_rows, families, notes_of
from nnunet_losses.notes import verdict as verdict_module
from nnunet_losses.notes.verdict import verdict
from nnunet_losses.trainers.names import parse
from tools.loss_pages import loss_page, markdown, measure, scenes
from tools.loss_pages import pages as pages_module
from tools.loss_pages.__main__ import FOLDER, SHOWN, read_measured
from tools.loss_pages.markdown import number, typeset
from tools.loss_pages.pages import pages
from tools.loss_pages.pictures import loss_picture
from tools.loss_pages.scenes import ALARMS, RADII, empty, shrinking
from tools.loss_pages.svg import digest

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

KEYS = list_losses()
PAGES = sorted(FOLDER.glob("*.md"))
PICTURES = sorted(FOLDER.glob("pictures/*.svg"))
REMEDY = "run: make docs-losses"


def by_name(path: Path) -> str:
    return path.stem


def near(measured: float | None, written: float | None) -> bool:
    """Equal but for rounding and the last digits of a platform's arithmetic; None only beside None."""
    if measured is None or written is None:
        return measured is written
    return math.isclose(measured, written, rel_tol=0.02, abs_tol=1e-8)


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    return read_measured()


@pytest.mark.parametrize(
    "module", [loss_page, markdown, measure, notes, pages_module, scenes, verdict_module]
)
def test_examples_in_docstrings_run(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0


def test_every_loss_has_notes_and_a_family() -> None:
    told = [key for family in families() for key in family.notes]
    assert sorted(told) == sorted(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_notes_say_something_of_everything(key: str) -> None:
    told = notes_of(key)
    assert all((told.use, told.plain, told.cost, told.published, told.when, told.unless))
    assert told.know, "name at least one number or gradient to know"
    assert not told.use.endswith(".")
    assert all(text.endswith(".") for text in (*told.when, *told.unless, *told.know, *told.avoided))
    assert all(url.startswith("https://") for url in told.code)


def test_notes_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValueError, match=r"no notes on the loss 'nope'.*add a table"):
        notes_of("nope")
    with pytest.raises(TypeError):
        LossNotes(use="", plain="", cost="", published="", when=(), unless=(), wehn=())  # type: ignore[call-arg]


def test_pages_are_those_of_the_registry(measured: dict[str, Any]) -> None:
    texts = pages(measured)
    assert {path.name for path in PAGES} == set(texts), REMEDY
    assert {path.stem for path in PICTURES} == {*KEYS, "comparison", "epsilon"}, REMEDY


def test_texts_are_up_to_date(measured: dict[str, Any]) -> None:
    stale = [name for name, text in pages(measured).items() if (FOLDER / name).read_text() != text]
    assert stale == [], REMEDY


@pytest.mark.parametrize("key", KEYS)
def test_curves_are_what_the_code_does(key: str, measured: dict[str, Any]) -> None:
    assert measured["sizes"] == measure.sizes()
    for index in (0, 3, len(RADII)):
        radius = (0.0, *RADII)[index]
        for scene, written in measured["curves"][key].items():
            point = measure.point(key, radius, beside=scene == "beside")
            for name, value in point.items():
                assert near(value, written[name][index]), f"{name}, {scene}, radius {radius}: {REMEDY}"


@pytest.mark.parametrize("key", KEYS)
def test_empties_are_what_the_code_does(key: str) -> None:
    settings = ("default", "phi=BI", "smooth=1", "class not labelled")
    written = {row.setting: row for row in empty_rows(key)}
    for row in measure.empties(key, only=settings):
        said = written[row["setting"]]
        assert all(map(near, row["values"], said.values)), REMEDY
        for situation, pushes in row["pushes"].items():
            assert all(map(near, pushes, said.pushes[situation])), f"{row['setting']}, {situation}: {REMEDY}"


@pytest.mark.parametrize("key", KEYS)
def test_pictures_show_the_curves(key: str, measured: dict[str, Any]) -> None:
    text = (FOLDER / "pictures" / f"{key}.svg").read_text()
    assert digest(measured["curves"][key]) in text, REMEDY


@pytest.mark.parametrize("path", PICTURES, ids=by_name)
def test_pictures_are_small_and_without_dates(path: Path) -> None:
    text = path.read_text()
    ET.fromstring(text)
    assert len(text) < 40_000
    assert "dc:date" not in text
    assert "#ffffff" in text  # readable on a dark page


def test_pictures_are_the_same_twice(measured: dict[str, Any]) -> None:
    record = measured["curves"]["dice"]
    assert loss_picture(measured["sizes"], record) == loss_picture(measured["sizes"], record)


def test_compared_losses_exist() -> None:
    assert set(SHOWN) <= set(KEYS)


@pytest.mark.parametrize("path", PAGES, ids=by_name)
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text()
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", text):
        page = path.parent / target if target else path
        assert page.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", page.read_text(), flags=re.MULTILINE)
            assert anchor in [heading.lower().replace(" ", "-") for heading in headings]


@pytest.mark.parametrize("path", PAGES, ids=by_name)
def test_tables_have_as_many_cells_as_headings(path: Path) -> None:
    for table in re.findall(r"(?:^\|.*\n)+", path.read_text(), flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
        assert len(widths) == 1, table


@pytest.mark.parametrize("key", KEYS)
def test_commands_name_trainers_of_the_loss(key: str) -> None:
    names = re.findall(r"-tr (\S+)", (FOLDER / f"{key}.md").read_text())
    assert len(names) == 2
    assert {parse(name).loss for name in names} == {key}


@pytest.mark.parametrize("key", KEYS)
def test_examples_run(key: str) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (FOLDER / f"{key}.md").read_text(), flags=re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block, f"{key}.md", "exec"), names)
    assert names["loss"].key == key


@pytest.mark.parametrize("key", KEYS)
def test_formulas_are_balanced(key: str) -> None:
    formula = typeset(get_loss_spec(key).formula)
    assert all(formula.count(left) == formula.count(right) for left, right in ("{}", "()", "[]"))
    assert not re.search(r"(?<![\\A-Za-z{])[A-Za-z]{3,}", re.sub(r"\\(text|mathrm)\{[^}]*\}", "", formula))


def test_typesetting_keeps_commands_and_inner_commas() -> None:
    assert typeset(r"\alpha\, TP, a = \max(0, b)") == r"\alpha\, \mathrm{TP},\quad a = \max(0, b)"


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.0, "1"), (-0.0727, "−0.073"), (2580.0, "2600"), (6.13e-5, "6·10⁻⁵"), (9.99e-4, "1·10⁻³")],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@pytest.mark.parametrize(
    ("pushes", "word"),
    [
        ((-0.5, -0.5), "raises"),
        ((0.0, 0.01), "ignores"),
        ((0.1, 1.0), "weakly suppresses small, suppresses large"),
    ],
)
def test_verdicts(pushes: tuple[float, float], word: str) -> None:
    assert verdict(pushes) == word


def test_scenes_are_what_the_pages_say() -> None:
    scene = shrinking(0.5, beside=True)
    sizes = {name: int(mask.sum()) for name, mask in scene.regions.items()}
    assert sizes == {"lesion": 1, "alarm": 29, "rest": 96**2 - 1 - 29 - 797}
    probability = scene.logits.softmax(1)[:, 1]
    means = {name: float(probability[mask].mean()) for name, mask in scene.regions.items()}
    assert means == pytest.approx({"lesion": 0.2, "alarm": 0.8, "rest": 0.001}, rel=0.01)
    alarms = [int(empty("empty_batch", radius).regions["alarm"].sum()) for radius in ALARMS.values()]
    assert alarms == [5, 317]
    assert int(empty("empty_sample", 1.0).target.sum()) == 197


def test_absent_class_is_absent_where_its_alarm_is_present() -> None:
    scene = empty("absent_class", 10.0)
    assert set(scene.target.flatten().tolist()) == {0, 1}
    assert scene.channel == 2
    assert float(scene.logits.softmax(1)[:, 2][scene.regions["alarm"]].min()) == pytest.approx(0.8, rel=0.011)


def test_measure_agrees_with_a_derivative_by_hand() -> None:
    """By a false alarm's logit cross-entropy's slope is p / V; that of Dice eps / (P + eps)^2 p (1 - p)."""
    scene = shrinking(0.0, beside=False)
    _, pushes = measure.measure(create_loss("dice", smooth=50.0), scene)
    probability = scene.logits.softmax(1)[:, 1]
    alarm = probability[scene.regions["alarm"]]
    dice = 50.0 / (probability.sum() + 50.0) ** 2 * (alarm * (1 - alarm)).mean()
    assert pushes["alarm"] == pytest.approx(float(dice / (alarm.mean() / 96**2)), rel=0.01)


def test_slope_of_an_empty_term_never_exceeds_a_quarter(measured: dict[str, Any]) -> None:
    pushes = torch.tensor(list(measured["epsilon"]["pushes"].values()))
    assert 0.2 < float(pushes.max()) <= 0.25
    fresh = measure.epsilons()["pushes"]
    assert all(
        near(a, b)
        for name in fresh
        for a, b in zip(fresh[name], measured["epsilon"]["pushes"][name], strict=True)
    )
