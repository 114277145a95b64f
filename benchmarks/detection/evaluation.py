"""From what was looked at to figures: every design and baseline on every cell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import stats

from nnunet_losses.serve.safety.conformal import combined
from nnunet_losses.serve.stress.suite import CORRUPTIONS, Family

from .baselines import BASELINES, grid
from .designs import DESIGNS, SHIPPED, Design, statistic
from .measures import auroc, fpr_at_sensitivity
from .protocol import FAR_OF_SUITE, SIZES, Cell, left_out

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from .baselines import Baseline
    from .sources import Looked

    Floats = NDArray[np.float64]

GATE_REFUSES = np.inf
ALPHA = 0.05


@dataclass(frozen=True, eq=False)
class Scored:
    """One method's scores, larger being stranger.

    Attributes:
        usual: of new cases.
        cells: of damaged ones.
        far: of foreign images.
    """

    usual: Floats
    cells: Mapping[Cell, Floats]
    far: Floats

    def mean_fpr(self, counted: Sequence[Cell]) -> float:
        """Mean FPR95 over cells."""
        return float(np.mean([fpr_at_sensitivity(self.usual, self.cells[cell]) for cell in counted]))

    def cell(self, cell: Cell) -> dict[str, float]:
        """Figures of one cell."""
        scores = self.cells[cell]
        return {"auroc": auroc(self.usual, scores), "fpr95": fpr_at_sensitivity(self.usual, scores)}


@dataclass(frozen=True, eq=False)
class Data:
    """Everything that was looked at, by what it is for."""

    name: str
    by_role: Mapping[str, Sequence[Looked]]
    cells: Mapping[Cell, Sequence[Looked]]
    tuning: Mapping[Cell, Sequence[Looked]]
    rules: dict[Cell, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, looked: Sequence[Looked]) -> Data:
        """Sort, so that the order of the runs does not matter.

        Raises:
            ValueError: for observations that versions with other scores made: a score that one case has not
                counts as usual in all, and the comparison would be void.
        """
        _require_same_observations(looked)
        by_role: dict[str, list[Looked]] = defaultdict(list)
        cells: dict[Cell, list[Looked]] = defaultdict(list)
        tuning: dict[Cell, list[Looked]] = defaultdict(list)
        for one in sorted(looked, key=lambda one: one.item.name):
            by_role[one.item.role].append(one)
            if one.item.role in ("strange", "tuning") and one.item.cell is not None:
                (cells if one.item.role == "strange" else tuning)[one.item.cell].append(one)
        return cls(name, by_role, cells, tuning)

    def rule(self, cell: Cell) -> str | None:
        """By which rule a cell is listed apart."""
        if cell not in self.rules:
            maxima = [float(one.seen.observation.raw.max()) for one in self.by_role["fit"] if one.seen]
            self.rules[cell] = left_out(CORRUPTIONS[cell.corruption], self.name, maxima)
        return self.rules[cell]

    def counted(self, cells: Mapping[Cell, Any]) -> list[Cell]:
        """Cells that count."""
        rules = {key: self.rule(Cell(key, 0)) for key in {cell.corruption for cell in cells}}
        return sorted(cell for cell in cells if rules[cell.corruption] is None)

    @property
    def far_cells(self) -> list[Cell]:
        """Cells of the suite that are far."""
        return [cell for cell in self.cells if cell.corruption in FAR_OF_SUITE]


def _require_same_observations(looked: Sequence[Looked]) -> None:
    """Every case that the network ran on was looked at in the same respects."""
    seen = [one.seen.observation for one in looked if one.seen and one.seen.observation.features is not None]
    respects = {
        tuple(sorted(name for name, value in vars(case).items() if value is not None))
        for case in (replace(case, foreground_features=None) for case in seen)  # None where nothing was found
    }
    if len(respects) > 1:
        raise ValueError(
            f"the images were looked at by different versions: {sorted(respects)}; "
            "delete the files looked_*.pickle and look again"
        )


def score_design(design: Design, data: Data) -> Scored:
    """Ours: the statistic among the pool's cases, infinite where the contract refuses."""
    vector = design.fit([one.seen.observation for one in data.by_role["fit"] if one.seen])
    pool = np.stack([vector(one.seen.observation) for one in data.by_role["pool"] if one.seen])
    return _scored(data, lambda one: _statistic(one, vector, pool))


def score_baseline(baseline: Baseline, data: Data) -> Scored:
    """A baseline, which has no contract; what the pipeline cannot run counts as detected."""
    baseline.fit([one.seen for one in data.by_role["fit"] if one.seen])

    def score(one: Looked) -> float:
        ran = one.seen is not None and bool(one.seen.confidence)
        return baseline.score(one.seen) if one.seen is not None and ran else GATE_REFUSES

    return _scored(data, score)


def _statistic(one: Looked, vector: Any, pool: Floats) -> float:
    if one.refused is not None or one.seen is None:
        return GATE_REFUSES
    return statistic(vector(one.seen.observation), pool)


def _scored(data: Data, score: Callable[[Looked], float]) -> Scored:
    cells = {cell: np.array([score(one) for one in ones]) for cell, ones in data.cells.items()
             if data.rule(cell) != "contract"}  # fmt: skip
    far = [score(one) for one in data.by_role["far"]]
    far += [value for cell in data.far_cells for value in cells[cell]]
    usual = np.array([score(one) for one in data.by_role["usual"]])
    return Scored(usual, cells, np.array(far))


def tuning_data(data: Data) -> Data:
    """The fold's training cases, split: some to fit to, others usual, and those others damaged."""
    fit = data.by_role["fit"]
    first, others = fit[: SIZES[data.name].tuning_fit], fit[SIZES[data.name].tuning_fit :]
    roles = {"fit": first, "pool": others, "usual": others, "far": ()}
    return Data(data.name, roles, data.tuning, {})


def tune(data: Data) -> dict[str, dict[str, Any]]:
    """Score every setting of every method on the damaged training cases: FPR95 by cell."""
    split = tuning_data(data)
    counted = split.counted(split.cells)
    methods: dict[str, list[Any]] = {"ours": list(DESIGNS)}
    stages = len(data.by_role["fit"][0].seen.observation.features or ()) if data.by_role["fit"][0].seen else 0
    methods |= {name: grid(name, stages) for name in BASELINES}
    table: dict[str, dict[str, Any]] = {}
    for name, settings in methods.items():
        for index, setting in enumerate(settings):
            scored = _tuning_scores(setting, split)
            table.setdefault(name, {})[str(index)] = {
                "/".join(map(str, cell)): fpr_at_sensitivity(scored.usual, scored.cells[cell])
                for cell in counted
            }
    return table


def _tuning_scores(setting: Any, split: Data) -> Scored:
    if not isinstance(setting, Design):
        return score_baseline(setting, split)
    vector = setting.fit([one.seen.observation for one in split.by_role["fit"] if one.seen])
    rows = {one.item.name: vector(one.seen.observation) for one in split.by_role["pool"] if one.seen}

    def score(one: Looked) -> float:
        """A case is never ranked against itself, damaged or not."""
        pool = np.stack([row for name, row in rows.items() if name != one.item.name])
        return _statistic(one, vector, pool)

    return _scored(split, score)


def best(table: Mapping[str, Mapping[str, float]], *, without: Family | None = None) -> int:
    """Number of the setting with the smallest mean FPR95 on the damaged training cases; the first of equals.

    Args:
        table: of one method, by setting and cell.
        without: a family of damages that must not have a say.
    """

    def mean(row: Mapping[str, float]) -> float:
        kept = [value for cell, value in row.items()
                if CORRUPTIONS[cell.split("/")[0]].family is not without]  # fmt: skip
        return float(np.mean(kept))

    return min(range(len(table)), key=lambda index: mean(table[str(index)]))


def verdicts(data: Data) -> dict[str, Any]:
    """False alarms at alpha .05 among new cases, and what the verdict catches in each cell."""
    vector = SHIPPED.fit([one.seen.observation for one in data.by_role["fit"] if one.seen])
    pool = np.stack([vector(one.seen.observation) for one in data.by_role["pool"] if one.seen])

    def flagged(one: Looked) -> bool:
        if one.refused is not None or one.seen is None:
            return True
        return combined(vector(one.seen.observation), pool).p <= ALPHA + 1e-9

    alarms = [flagged(one) for one in data.by_role["usual"]]
    return {
        "alpha": ALPHA,
        "pool": len(pool),
        "usual": len(alarms),
        "false_alarms": int(sum(alarms)),
        "interval95": clopper_pearson(int(sum(alarms)), len(alarms)),
        "caught": {"/".join(map(str, cell)): float(np.mean([flagged(one) for one in ones]))
                   for cell, ones in sorted(data.cells.items())},
    }  # fmt: skip


def clopper_pearson(hits: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Exact interval of a binomial rate.

    Example:
        >>> [round(bound, 3) for bound in clopper_pearson(0, 20)]
        [0.0, 0.168]
    """
    tail = (1 - level) / 2
    low = float(stats.beta.ppf(tail, hits, n - hits + 1)) if hits else 0.0
    high = float(stats.beta.ppf(1 - tail, hits + 1, n - hits)) if hits < n else 1.0
    return low, high


def gate(data: Data) -> dict[str, Any]:
    """Contract: what it refuses of the cells that it must, and of usual cases, of which it must none."""
    must = {cell: ones for cell, ones in data.cells.items() if data.rule(cell) == "contract"}
    breaches = [one for ones in must.values() for one in ones]
    return {
        "breaches": len(breaches),
        "refused": sum(one.refused is not None for one in breaches),
        "usual": len(data.by_role["usual"]),
        "usual_refused": sum(one.refused is not None for one in data.by_role["usual"]),
    }
