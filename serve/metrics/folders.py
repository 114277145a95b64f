"""A folder of predictions against a folder of references."""

from __future__ import annotations

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

from nnunet_losses.serve.schema import Reader

from .case import CaseResult, Settings, evaluate_case
from .labels import BACKGROUND, LabelSet
from .pairs import (
    PICTURE_ENDINGS,
    NotComparableError,
    Pair,
    Problem,
    find_pairs,
    read_pair,
    values_of,
)
from .probabilities import read_probabilities

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from .pairs import Masks

DATASET_FILE = "dataset.json"


@dataclass(frozen=True)
class Units:
    """Of distances and of volumes, and where lesions of different sizes are divided."""

    distance: str
    volume: str
    size_edges: tuple[float, ...]


VOLUMES = Units("mm", "ml", (0.1, 1.0, 10.0))
SLICES = Units("mm", "mm²", (10.0, 100.0, 1000.0))
PICTURES = Units("pixels", "pixels", (100.0, 1000.0, 10000.0))


@dataclass(frozen=True)
class Options:
    """What to evaluate, and how.

    Attributes:
        labels: to evaluate; None: those of the description, else every value that occurs.
        description: content of nnU-Net's ``dataset.json``; None: the one beside the masks, if there is one.
        settings: of the metrics.
        scores: by case and label, how sure the model is that it is present.
        probabilities: folder with nnU-Net's ``CASE.npz``.
        allow_missing: list cases that cannot be evaluated instead of refusing.
        processes: number of cases that are evaluated at once.
        reader: which of nnU-Net's readers; None: the one that the description names, or the usual one.
    """

    labels: LabelSet | None = None
    description: Mapping[str, Any] | None = None
    settings: Settings = field(default_factory=Settings)
    scores: Mapping[str, Mapping[str, float]] | None = None
    probabilities: Path | None = None
    allow_missing: bool = False
    processes: int = 1
    reader: Reader | None = None


@dataclass(frozen=True, eq=False)
class Evaluation:
    """What came out of two folders: results, the cases without one, and what the numbers are measured in."""

    cases: tuple[CaseResult, ...]
    problems: tuple[Problem, ...]
    pairs: Mapping[str, Pair]
    labels: LabelSet
    units: Units
    settings: Settings


def evaluate_folders(
    predictions: Path,
    references: Path,
    options: Options = Options(),
    *,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Evaluation:
    """Evaluate the masks of two folders, matched by name.

    Args:
        predictions: folder with predicted masks.
        references: folder with reference masks.
        options: what to evaluate, and how.
        progress: is told how many cases of how many are done.

    Raises:
        NotComparableError: for missing, extra, unreadable cases, those on different grids or with unexpected
            values, unless ``allow_missing``; and where no case can be evaluated.
        ValueError: for folders without masks, and labels that make no sense.
    """
    pairs, problems = find_pairs(predictions, references)
    if (problems and not options.allow_missing) or not pairs:
        raise NotComparableError(problems)
    if options.description is None:
        above = (references.parent, references.resolve().parent)  # of "." the former is "." again
        found = find_description([predictions, references, *above])
        options = replace(options, description=found)
    options = _completed(options, pairs)
    _check_scores(options, pairs)
    assert options.labels is not None, "they were just found"
    results: list[CaseResult] = []
    for done, result in enumerate(_evaluated(pairs, options), start=1):
        (results if isinstance(result, CaseResult) else problems).append(result)  # type: ignore[arg-type]  # either fits its list
        progress(done, len(pairs))
    if (problems and not options.allow_missing) or not results:
        raise NotComparableError(problems)
    by_case = {pair.case: pair for pair in pairs}
    return Evaluation(
        tuple(results),
        tuple(problems),
        by_case,
        options.labels,
        _units(by_case[results[0].case], options),
        options.settings,
    )


def find_description(folders: Sequence[Path]) -> dict[str, Any] | None:
    """Read the first nnU-Net ``dataset.json`` of some folders; None where there is none.

    Raises:
        ValueError: for a file that is not JSON.
    """
    file = next((folder / DATASET_FILE for folder in folders if (folder / DATASET_FILE).is_file()), None)
    return None if file is None else read_description(file)


def read_description(file: Path) -> dict[str, Any]:
    """Read nnU-Net's ``dataset.json``.

    Raises:
        ValueError: for a file that is not a JSON object.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{file} is not nnU-Net's dataset.json: it holds no JSON object")  # noqa: TRY004 - a file's content
    return content


def _completed(options: Options, pairs: Sequence[Pair]) -> Options:
    described = options.description or {}
    wanted = described.get("overwrite_image_reader_writer")
    if options.reader is None and wanted in list(Reader):
        options = replace(options, reader=Reader(wanted))
    if options.labels is not None:
        return options
    labels = LabelSet.of_dataset(described) if described else _occurring(pairs, options)
    return replace(options, labels=labels)


def _check_scores(options: Options, pairs: Sequence[Pair]) -> None:
    """Refuse scores of which none is of these cases and labels."""
    assert options.labels is not None, "they were just found"
    cases, labels = [pair.case for pair in pairs], [label.name for label in options.labels.labels]
    scored = options.scores
    if scored is not None and not any(scored.get(case, {}).keys() & set(labels) for case in cases):
        raise ValueError(
            f"none of the scores is of a case ({cases[0]} and {len(cases) - 1} more) "
            f"and a label ({', '.join(labels)}) that is evaluated; write {{case: {{label: score}}}}"
        )


def _occurring(pairs: Sequence[Pair], options: Options) -> LabelSet:
    """Labels that occur in the masks."""
    values: set[int] = set()
    problems = []
    for masks in (read_pair(pair, options.reader) for pair in pairs):
        if isinstance(masks, Problem):
            problems.append(masks)
        else:
            values |= values_of(masks)
    if len(problems) == len(pairs) or (problems and not options.allow_missing):
        raise NotComparableError(problems)
    if not values - {BACKGROUND}:
        raise ValueError("all masks are empty, so their labels are unknown; name them: --label lesion=1")
    return LabelSet.of_values(values)


def _evaluated(pairs: Sequence[Pair], options: Options) -> Iterator[CaseResult | Problem]:
    work = partial(_evaluate, options=options)
    if options.processes <= 1 or len(pairs) == 1:
        yield from map(work, pairs)
        return
    with ProcessPoolExecutor(min(options.processes, len(pairs)), mp_context=get_context("spawn")) as pool:
        yield from pool.map(work, pairs)


def _evaluate(pair: Pair, options: Options) -> CaseResult | Problem:
    masks = read_pair(pair, options.reader)
    if isinstance(masks, Problem):
        return masks
    assert options.labels is not None, "evaluate_folders found them"
    surprising = values_of(masks) - options.labels.known if options.labels.complete else set()
    if surprising:
        detail = f"The masks hold {sorted(surprising)}, which no label of dataset.json has."
        return Problem(pair.case, "case.unexpected_values", detail)
    valid = masks.reference != options.labels.ignore
    if not valid.any():
        detail = f"The reference is {options.labels.ignore} everywhere, which is to be ignored. Leave it out."
        return Problem(pair.case, "case.nothing_to_evaluate", detail)
    try:
        probabilities = _probabilities(pair.case, masks, options)
    except (OSError, ValueError, BadZipFile) as error:
        return Problem(pair.case, "case.probabilities", f"The probabilities cannot be used: {error}")
    return evaluate_case(
        pair.case,
        masks.prediction,
        masks.reference,
        spacing=masks.spacing,
        labels=options.labels,
        settings=options.settings,
        scores=_scores(pair.case, probabilities, options, valid),
        probabilities=probabilities,
    )


def _probabilities(case: str, masks: Masks, options: Options) -> dict[str, NDArray[np.floating]] | None:
    if options.probabilities is None:
        return None
    assert options.labels is not None, "evaluate_folders found them"
    described = LabelSet.of_dataset(options.description) if options.description else None
    file = options.probabilities / f"{case}.npz"
    return read_probabilities(file, options.labels, masks.reference.shape, described)


def _scores(
    case: str,
    probabilities: Mapping[str, NDArray[np.floating]] | None,
    options: Options,
    valid: NDArray[np.bool_],
) -> Mapping[str, float] | None:
    """Scores that were given, or the largest probabilities; never some of both, which no rank compares."""
    if options.scores is not None:
        return options.scores.get(case)
    if probabilities is None:
        return None
    return {name: float(values[valid].max()) for name, values in probabilities.items()}


def _units(pair: Pair, options: Options) -> Units:
    if pair.reference.name.lower().endswith(PICTURE_ENDINGS) and options.reader is not Reader.TIFF_3D:
        return PICTURES
    masks = read_pair(pair, options.reader)
    return SLICES if not isinstance(masks, Problem) and masks.reference.ndim == 2 else VOLUMES
