"""The report's files: the page, tables, and everything as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nnunet_losses.compare.outcomes import collect
from nnunet_losses.compare.preparation import read_prepared
from nnunet_losses.compare.sets import read_description
from nnunet_losses.compare.statistics import compare_pairs, rank
from nnunet_losses.serve.metrics.conventions import Metric
from nnunet_losses.serve.metrics.labels import LabelSet
from nnunet_losses.serve.metrics.report import as_csv
from nnunet_losses.trainers.files import write_atomically

from .overlays import worst_cases
from .page import Content, html
from .tables import as_json, case_records, figure_records
from .words import recommend

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.compare.study import Study

PAGE = "index.html"


def write_report(output: Path, study: Study, *, note: str = "", label: str | None = None) -> Path:
    """Write the report of all cells that are done into ``report``; return the page.

    Args:
        output: folder of the comparison.
        study: its cells.
        note: stands at the top of the page.
        label: to report; None: the one that most cases do not have.

    Raises:
        ValueError: no cell is done, or there is no such label.
    """
    comparison = collect(output, study, label)
    values = {one.loss: comparison.of_positives(one, Metric.DICE) for one in comparison.outcomes}
    pairs = compare_pairs(values)
    ranking = rank(values, pairs)
    prepared = read_prepared(output)
    description = read_description(prepared.folders.raw / study.settings.dataset)
    labels = {one.name: one for one in LabelSet.of_dataset(description).labels}
    recommendation = recommend(comparison, pairs)
    content = Content(
        study=study,
        comparison=comparison,
        pairs=pairs,
        ranking=ranking,
        recommendation=recommendation,
        rows=list(worst_cases(comparison, prepared.sets, output, labels[comparison.label])),
        unit=_unit(description),
        note=note,
    )
    folder = output / "report"
    folder.mkdir(exist_ok=True)
    write_atomically(folder / "results.csv", as_csv(figure_records(comparison)))
    write_atomically(folder / "cases.csv", as_csv(case_records(comparison)))
    everything = as_json(comparison, study, pairs, ranking, recommendation)
    write_atomically(folder / "results.json", json.dumps(everything, indent=1, allow_nan=False) + "\n")
    write_atomically(folder / PAGE, html(content))
    return folder / PAGE


def _unit(description: dict[str, object]) -> str:
    return "pixels" if description["file_ending"] in (".png", ".bmp", ".tif") else "ml, or mm² of slices"
