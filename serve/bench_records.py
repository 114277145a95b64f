"""What a benchmark notes, and the medians of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Contender:
    """Something that is timed.

    Attributes:
        name: for the table.
        command: with ``{input}`` and ``{output}`` for the folders.
    """

    name: str
    command: tuple[str, ...]


@dataclass(frozen=True)
class Run:
    """One run of one contender over all cases.

    Attributes:
        contender: its name.
        seconds, peak_bytes, load: see ``Measured``.
        stages: seconds by stage, summed over the cases, where the contender tells.
        tiles, forward_passes: summed over the cases, where the contender tells.
        engine: provider and precision truly in use, where the contender tells.
        failure: why it did not come to its end.
    """

    contender: str
    seconds: float
    peak_bytes: int | None
    load: float | None
    stages: dict[str, float] = field(default_factory=dict)
    tiles: int = 0
    forward_passes: int = 0
    engine: str | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Summary:
    """Medians over a contender's runs; of a contender that failed, the reason."""

    contender: str
    runs: int
    engine: str | None
    seconds: float | None
    fastest: float | None
    slowest: float | None
    peak_bytes: float | None
    stages: dict[str, float]
    tiles: int
    forward_passes: int
    seconds_per_forward_pass: float | None
    times_faster: float | None  # than the reference, the last contender
    differing_voxels: int | None  # from the reference's masks
    failure: str | None


@dataclass(frozen=True)
class Report:
    """What was measured, and on what."""

    machine: dict[str, Any]
    bundle: str
    bundle_sha256: str
    cases: int
    voxels: int
    repeats: int
    reference: str | None
    summaries: tuple[Summary, ...]
    runs: tuple[Run, ...]
    remarks: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Everything, for machines."""
        return asdict(self)


def summarize(
    runs: Sequence[Run],
    contenders: Sequence[Contender],
    differing: Sequence[int | None],
    reference: str | None,
) -> tuple[Summary, ...]:
    """Make medians, one entry for each contender.

    Args:
        runs: all of them.
        contenders: in the table's order.
        differing: voxels of each contender that differ from the reference's.
        reference: name of the contender that the others are compared with.
    """
    good = {
        one.name: [run for run in runs if run.contender == one.name and not run.failure] for one in contenders
    }
    base = median(run.seconds for run in good[reference]) if reference and good[reference] else None
    return tuple(
        _summary(one.name, good[one.name], _failure(one.name, runs), base, voxels)
        for one, voxels in zip(contenders, differing, strict=True)
    )


def _failure(name: str, runs: Sequence[Run]) -> str | None:
    return next((run.failure for run in runs if run.contender == name and run.failure), None)


def _summary(
    name: str, runs: Sequence[Run], failure: str | None, base: float | None, differing: int | None
) -> Summary:
    if not runs:
        return Summary(name, 0, None, None, None, None, None, {}, 0, 0, None, None, None, failure)
    seconds = [run.seconds for run in runs]
    peaks = [run.peak_bytes for run in runs if run.peak_bytes is not None]
    stages = {stage: median(run.stages.get(stage, 0.0) for run in runs) for stage in runs[0].stages}
    passes = runs[0].forward_passes
    return Summary(
        name,
        len(runs),
        runs[0].engine,
        median(seconds),
        min(seconds),
        max(seconds),
        median(peaks) if peaks else None,
        stages,
        runs[0].tiles,
        passes,
        stages["network"] / passes if passes else None,
        None if base is None else base / median(seconds),
        differing,
        failure,
    )
