"""Comparisons whose results were made up, and what must hold of every page."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.compare.outcomes import collect
from nnunet_losses.compare.records import as_record
from nnunet_losses.compare.report.page import Content, html
from nnunet_losses.compare.report.tables import as_json
from nnunet_losses.compare.report.words import recommend
from nnunet_losses.compare.results import Cost, Curves, Result, SetResult, write_result
from nnunet_losses.compare.sets import Role
from nnunet_losses.compare.statistics import compare_pairs, rank
from nnunet_losses.compare.study import Settings, Study, trainer_name
from nnunet_losses.serve.metrics.case import CaseResult, evaluate_masks
from nnunet_losses.serve.metrics.conventions import Metric

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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
