"""Thresholds from cases: by hand, and with the error rates that they promise on cases never seen."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from nnunet_losses.serve.safety import presence_fit
from nnunet_losses.serve.safety.candidates import CaseCandidates, LabelCandidates, positive
from nnunet_losses.serve.safety.presence import Presence
from nnunet_losses.serve.safety.presence_decision import decide
from nnunet_losses.serve.safety.presence_fit import case_score, component_score, fit_presence
from nnunet_losses.serve.safety.presence_section import ComponentScore, PresenceGuarantee, PresenceSection

from .votes import candidate, case

MARGIN = ComponentScore()


def free(count: int, margin: float = 1.0) -> list[CaseCandidates]:
    return [case(f"free {index}", wrong=[margin + index / 100]) for index in range(count)]


def bearing(count: int, margin: float = 10.0) -> list[CaseCandidates]:
    return [case(f"bearing {index}", hits=[margin + index / 100]) for index in range(count)]


def test_scores_by_hand() -> None:
    lesion = case("a", hits=[3.0], wrong=[5.0]).labels[0]
    assert case_score(MARGIN, lesion) == positive(5.0)
    assert case_score(MARGIN, case("b", below=-2.5).labels[0]) == -2.5
    assert case_score(MARGIN, LabelCandidates(label="lesion")) == 0


def test_a_logistic_score_by_hand() -> None:
    score = ComponentScore(
        kind="logistic",
        features=presence_fit.FEATURES,
        centre=(log(10), 1.0, 0.0, 0.0),
        scale=(1.0, 2.0, 1.0, 1.0),
        weights=(5.0, 3.0, 0.0, -1.0),
        intercept=0.5,
    )
    assert component_score(score, candidate(5.0)) == pytest.approx(positive(3 * 2 - 1 + 0.5))


def test_thresholds_by_hand() -> None:
    section = fit_presence(free(19) + bearing(19))
    (known,) = section.labels
    # of 20 scores the last exceeds the 19th of the others one time in 20; none of 19 may be missed
    assert known.upper == pytest.approx(positive(1.18))
    assert known.lower == pytest.approx(positive(10.0))
    assert (known.guarantee, known.n_lesion_free) == (PresenceGuarantee.CONFORMAL, 19)
    assert known.score.kind == "max_margin"
    assert known.p_value(positive(1.17)) == 3 / 20


def test_too_few_lesion_free_cases_are_joined_by_a_surrogate() -> None:
    """18 are not enough; what is wrong in cases with lesions stands in, and 0 where nothing is."""
    cases = free(18) + [case(f"x{index}", hits=[9.0], wrong=[2.0]) for index in range(3)] + bearing(20)
    (known,) = fit_presence(cases).labels
    assert known.guarantee is PresenceGuarantee.SURROGATE
    assert known.n_lesion_free == 18
    assert known.lesion_free == tuple(
        sorted([0.0] * 20 + [positive(1 + i / 100) for i in range(18)] + [positive(2.0)] * 3)
    )


def test_nothing_is_said_of_labels_with_too_few_cases() -> None:
    assert fit_presence(free(9) + bearing(9)).labels == ()
    assert fit_presence(bearing(18)).labels == ()
    assert len(fit_presence(bearing(19)).labels) == 1


def test_approximate_is_handed_on() -> None:
    assert fit_presence(free(19) + bearing(19), approximate=True).labels[0].guarantee == "approximate"


def test_halves_depend_on_names_alone() -> None:
    fitting, rest = presence_fit._split([(one.case, one.labels[0]) for one in bearing(80)])
    again, _ = presence_fit._split([(one.case, one.labels[0]) for one in reversed(bearing(80, margin=-3.0))])
    assert [name for name, _ in fitting] == [name for name, _ in again]
    assert (len(fitting), len(rest)) == (40, 40)
    assert not {name for name, _ in fitting} & {name for name, _ in rest}


def test_a_fit_needs_false_positives() -> None:
    with_wrong = [case(f"bearing {index}", hits=[5.0], wrong=[1.0, 2.0]) for index in range(80)]
    assert fit_presence(free(19) + with_wrong).labels[0].score.kind == "logistic"
    score = fit_presence(free(19) + bearing(80)).labels[0].score
    assert (score.kind, score.hits, score.false_positives) == ("max_margin", 40, 0)


def test_lesion_free_cases_never_fit_the_score() -> None:
    """Whatever they look like, the score stays the same: they are as new to it as any patient."""
    with_wrong = [case(f"bearing {index}", hits=[5.0], wrong=[1.0]) for index in range(80)]
    first, second = (fit_presence(free(19, margin=m) + with_wrong).labels[0].score for m in (0.1, 50.0))
    assert first == second
    assert first.kind == "logistic"


def test_wrong_records_are_refused() -> None:
    with pytest.raises(ValueError, match="'bearing 0' is there twice"):
        fit_presence(bearing(1) * 2)
    unknown = CaseCandidates(case="u", labels=(LabelCandidates(label="lesion"),))
    with pytest.raises(ValueError, match="'u' has no reference"):
        fit_presence([unknown])


def test_the_section_survives_json() -> None:
    section = fit_presence(free(19) + [case(f"b{i}", hits=[5.0], wrong=[1.0]) for i in range(80)])
    assert PresenceSection.model_validate_json(section.model_dump_json()) == section


def test_an_empty_mask_is_never_present() -> None:
    """All lesion-free cases far below, this one hardly below: still there is nothing in the mask."""
    section = fit_presence([case(f"f{i}", below=-9.0) for i in range(19)] + bearing(19))
    found = case("new", below=-0.1).labels
    decision = decide(section, found)["lesion"]
    assert decision.presence is Presence.EMPTY  # crossing thresholds: -9 and 10
    low = fit_presence(
        [case(f"f{i}", below=-9.0) for i in range(19)]
        + [case(f"b{i}", below=-8.0, bears=True) for i in range(19)]
    )
    assert low.labels[0].lower == -8
    assert decide(low, found)["lesion"].presence is Presence.INDETERMINATE


def drawn_case(rng: np.random.Generator, name: str, *, bears: bool) -> CaseCandidates:
    """Margins and sizes that overlap; a case may hold nothing at all."""

    def drawn(count: int, shift: float, *, hit: bool) -> list[object]:
        volumes = np.exp(rng.normal(shift, 1.0, count))
        margins = rng.normal(2 * shift, 1.5, count)
        return [candidate(float(m), hit=hit, volume=float(v)) for m, v in zip(margins, volumes, strict=True)]

    components = drawn(int(rng.poisson(0.7)), 0.5, hit=False)
    if bears:
        components += drawn(1 + int(rng.poisson(0.5)), 1.2, hit=True)
    keep = [one for one in components if one.max_margin > 0]  # type: ignore[attr-defined]
    label = LabelCandidates.model_construct(
        label="lesion", components=tuple(keep), below=0.0 if keep else float(-rng.exponential()), bears=bears
    )
    return CaseCandidates.model_construct(case=name, labels=(label,))


@pytest.mark.parametrize(("n_free", "n_bearing"), [(19, 19), (39, 80)])
def test_error_rates_on_new_cases(n_free: int, n_bearing: int) -> None:
    """The promise: over new calibrations and new cases, the mean rates keep their level. Fitted or not."""
    rng, draws, alarms, missed, kinds = np.random.default_rng(5), 200, [], [], set()
    for draw in range(draws):
        records = [drawn_case(rng, f"{draw} free {index}", bears=False) for index in range(n_free)]
        records += [drawn_case(rng, f"{draw} bearing {index}", bears=True) for index in range(n_bearing)]
        section = fit_presence(records, false_alarms=0.1, misses=0.1)
        kinds.add(section.labels[0].score.kind)
        answers = {
            bears: [
                decide(section, drawn_case(rng, "new", bears=bears).labels)["lesion"].presence
                for _ in range(10)
            ]
            for bears in (False, True)
        }
        alarms.append(np.mean([answer is Presence.PRESENT for answer in answers[False]]))
        missed.append(np.mean([answer is Presence.EMPTY for answer in answers[True]]))
    for rates in (alarms, missed):
        assert np.mean(rates) <= 0.1 + 2 * np.std(rates, ddof=1) / np.sqrt(draws)
    assert np.mean(alarms) > 0.03  # not by calling nothing present
    assert ("logistic" in kinds) == (n_bearing >= presence_fit.SPLIT_FROM)
