"""The verdict about an image: like the known ones, suspicious, or of another kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.answer import Distribution, Evidence, Verdict

from .conformal import cases_for, guaranteed_rank, p_value, smallest_p
from .findings import findings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.errors import Refusal

    from .calibration import DistributionSection
    from .conformal import Combined
    from .distribution import DistributionModel
    from .scores.observation import Observation

    Floats = NDArray[np.float64]

NOTABLE_P, NOTABLE_Z = 0.05, 3.0  # evidence that is told; z where n cannot give so small a p
DOUBTFUL = (Verdict.SUSPICIOUS, Verdict.OUT_OF_DISTRIBUTION)
LARGEST_Z = 1e6  # JSON knows no infinity
FEW = 1e-9  # rounding of a p-value


@dataclass(frozen=True)
class Rule:
    """Up to which p-value which verdict is given; None for a level that cannot be reached.

    Attributes:
        suspicious, out_of_distribution: largest p-values.
        n: number of calibration cases.
        heuristic_z: takes the place of the lower level where it cannot be reached.
        refused: calibration cases among the n that the contract refused.
    """

    suspicious: float | None
    out_of_distribution: float | None
    n: int
    heuristic_z: float
    refused: int = 0

    @classmethod
    def of(cls, model: DistributionModel) -> Rule:
        """Find the rule of a calibration."""
        section = model.section
        levels = (section.levels.suspicious, section.levels.out_of_distribution)
        upper, lower = (largest_p(section.n, level, section.pac) for level in levels)
        return cls(upper, lower, section.n, section.heuristic_z, section.refused)

    def decide(self, p: float, z: float) -> tuple[Verdict, str]:
        """Verdict and basis for a p-value and the case's largest deviation.

        Example:
            >>> rule = Rule(suspicious=0.05, out_of_distribution=None, n=20, heuristic_z=8.0)
            >>> [rule.decide(p, z)[0].value for p, z in ((1 / 21, 3.0), (1 / 21, 9.0), (2 / 21, 9.0))]
            ['suspicious', 'out_of_distribution', 'in_distribution']
        """
        if self.out_of_distribution is not None:
            if p <= self.out_of_distribution + FEW:
                return Verdict.OUT_OF_DISTRIBUTION, "conformal"
        elif self.n and self._is_strangest(p) and z > self.heuristic_z:
            return Verdict.OUT_OF_DISTRIBUTION, "heuristic"
        if self.suspicious is not None and p <= self.suspicious + FEW:
            return Verdict.SUSPICIOUS, "conformal"
        return Verdict.IN_DISTRIBUTION, "conformal" if self.suspicious is not None else "heuristic"

    def _is_strangest(self, p: float) -> bool:
        """Whether no admitted case is as strange; the rule of thumb adds nothing to a level that is kept."""
        keeps_level = self.suspicious is None or p <= self.suspicious + FEW
        return keeps_level and p <= least_p(self.n, self.refused) + FEW


def least_p(n: int, refused: int) -> float:
    """Smallest p-value of an image that the contract admits.

    Args:
        n: number of calibration cases.
        refused: those of them that the contract refused.

    Example:
        >>> least_p(19, 0), least_p(19, 1)
        (0.05, 0.1)
    """
    return (1 + refused) / (n + 1)


def largest_p(n: int, level: float, pac: float | None) -> float | None:
    """Largest p-value that keeps a level; None where n cases cannot give so small a one.

    Args:
        n: number of calibration cases.
        level: share of usual cases that may be called strange by mistake.
        pac: share of all calibrations that may break the level; None keeps it on average over calibrations.

    Example:
        >>> largest_p(99, 0.01, None), largest_p(98, 0.01, None), largest_p(100, 0.05, 0.05) == 2 / 101
        (0.01, None, True)
    """
    if pac is None:
        return level if n >= cases_for(level) else None
    rank = guaranteed_rank(n, level, delta=pac)
    return None if rank is None else rank / (n + 1)


def judge(model: DistributionModel, observations: Sequence[Observation]) -> Distribution:
    """Judge a case.

    Args:
        model: of the bundle.
        observations: of the case, one for each of the model's folds; a single one stands for all.

    Raises:
        ValueError: for a case of another model.

    Returns:
        Verdict, p-value and evidence; the strangest tiles are left to ``unusual.unusual_tiles``.
    """
    section = model.section
    if section.n == 0:
        return Distribution(remark=section.remark)
    scores = model.scores(observations)
    whole = model.combine(scores)
    p = whole.p if section.pac is None else fixed_p(model, scores)
    rule = Rule.of(model)
    verdict, basis = rule.decide(p, whole.statistic)
    evidence = _evidence(model, observations[0], scores, whole)
    return Distribution(
        verdict=verdict,
        basis=basis,
        guarantee=section.guarantee.value,
        remark=_remark(model, rule),
        p=p,
        statistic=_statistic(model, scores),
        p_min=least_p(section.n, section.refused),
        n_calibration=section.n,
        levels={"suspicious": rule.suspicious, "out_of_distribution": rule.out_of_distribution},
        evidence=_told(evidence, section.n - section.refused, verdict),
    )


def _statistic(model: DistributionModel, scores: Sequence[Floats]) -> float | None:
    """What drift is watched by; None for a case or a calibration that has none."""
    if any(fold.usual is None for fold in model.folds):
        return None
    found = model.fixed(scores)
    return found if np.isfinite(found) else None


def fixed_p(model: DistributionModel, scores: Sequence[Floats]) -> float:
    """P-value by the statistic that depends on the fitted cases alone.

    Only for such a one is the false-alarm rate of a calibration Beta-distributed, as ``pac`` presumes.
    """
    refused = np.full(model.section.refused, np.inf)
    return p_value(model.fixed(scores), np.concatenate([model.fixed_pool(), refused]))


def contract_breach(refusal: Refusal) -> Distribution:
    """Verdict about an image that is not what the model was made for, by definition."""
    evidence = Evidence(
        name=refusal.code.value,
        message=refusal.detail,
        observed=refusal.observed,
        expected=refusal.expected,
        outside=True,
    )
    return Distribution(verdict=Verdict.OUT_OF_DISTRIBUTION, basis="contract", evidence=(evidence,))


def marginal_p(model: DistributionModel, scores: Sequence[Floats]) -> Floats:
    """(scores,) p-value of each score alone, among cases that have scores; NaN where the case has it not."""
    stranger = np.zeros(len(model.section.scores))
    for fold, own in zip(model.folds, scores, strict=True):
        stranger += np.count_nonzero(np.where(np.isnan(fold.pool), -np.inf, fold.pool) >= own, axis=0)
    missing = np.isnan(np.stack(scores)).all(axis=0)
    scored = model.section.n - model.section.refused
    result: Floats = np.where(missing, np.nan, (1 + stranger) / (scored + 1))
    return result


def _evidence(
    model: DistributionModel, observation: Observation, scores: Sequence[Floats], whole: Combined
) -> list[Evidence]:
    """Every respect in which the case has a score, strangest first."""
    described = findings(model.section.learnt, observation, model.section.scores)
    found = []
    for name, z, p in zip(model.section.scores, whole.z, marginal_p(model, scores), strict=True):
        if not np.isnan(z) and not np.isnan(p):
            known = described.get(name) or Evidence(name=name, message=f"{name} is unusual.")
            told = float(np.clip(z, -LARGEST_Z, LARGEST_Z))
            found.append(known.model_copy(update={"z": round(told, 3), "p": float(p)}))
    return sorted(found, key=lambda evidence: -(evidence.z or 0.0))


def _told(evidence: list[Evidence], n: int, verdict: Verdict) -> tuple[Evidence, ...]:
    """What is outside of everything known or notable; of a strange case, its strangest respect at least."""
    chosen = [item for item in evidence if item.outside or _is_notable(item, n)]
    if verdict is not Verdict.IN_DISTRIBUTION and evidence and evidence[0] not in chosen:
        chosen.insert(0, evidence[0])
    return tuple(chosen)


def _is_notable(item: Evidence, n: int) -> bool:
    is_strange = item.z is not None and item.z > 0
    if item.p is not None and smallest_p(n) <= NOTABLE_P:
        return is_strange and item.p <= NOTABLE_P + FEW
    return item.z is not None and item.z > NOTABLE_Z


def _remark(model: DistributionModel, rule: Rule) -> str | None:
    """What limits the promise, in sentences."""
    section = model.section
    told = [remark for remark in (section.remark, refused_remark(section)) if remark]
    for name, level, limit in (
        ("suspicious", section.levels.suspicious, rule.suspicious),
        ("out_of_distribution", section.levels.out_of_distribution, rule.out_of_distribution),
    ):
        if limit is None:
            told.append(_unreachable(name, level, section.n, section.pac))
        elif least_p(section.n, section.refused) > limit + FEW:
            told.append(f"These alone use up the level {level:g} ({name}).")
    return " ".join(told) or None


def refused_remark(section: DistributionSection) -> str | None:
    """Say what became of calibration cases that the contract refused; None where there were none."""
    if not section.refused:
        return None
    return (
        f"The input contract refused {section.refused} of the {section.n} calibration cases; they count as "
        "stranger than every image that it admits."
    )


def _unreachable(name: str, level: float, n: int, pac: float | None) -> str:
    said = f"The level {level:g} ({name}) cannot be"
    if pac is not None:
        return f"{said} promised for {1 - pac:g} of all calibrations with {n} cases."
    return f"{said} reached with {n} calibration cases; it needs {cases_for(level)}."
