"""Who is ranked: unseen cases, and of each patient one; and what becomes of records."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import pytest

from nnunet_losses.serve.calibration.building import build, independent
from nnunet_losses.serve.calibration.card import calibrated_card
from nnunet_losses.serve.calibration.errors import CalibrationError
from nnunet_losses.serve.calibration.figures import level_figure, presence_figure
from nnunet_losses.serve.calibration.planning import Plan
from nnunet_losses.serve.calibration.records import CaseRecord, Kind, Refused, Role
from nnunet_losses.serve.safety.calibration import GuaranteeKind
from nnunet_losses.serve.safety.candidates import Candidate, LabelCandidates
from nnunet_losses.serve.safety.stored import model_arrays, model_from_arrays
from nnunet_losses.serve.safety.verdict import judge

from ..models import channel, description
from ..safety.scores.cases import made_up

if TYPE_CHECKING:
    from nnunet_losses.serve.safety.scores.observation import Observation

ENGINE = ("fake", "float32")


def label(name: str, *, bears: bool) -> LabelCandidates:
    part = Candidate(
        voxels=9, volume_mm3=9.0, max_margin=2.0 + bears, mean_margin=1.0, confidence=0.8,
        surface_to_volume=1.0, place=(0.0, 0.0, 0.0), hit=bears,
    )  # fmt: skip
    return LabelCandidates(label=name, components=(part,), bears=bears, dice=0.8 if bears else 0.0)


def seen(*key: object, fold: str | None = None, **changes: Any) -> Observation:
    """An observation that follows from its name alone, whatever other tests have drawn."""
    return made_up(np.random.default_rng(crc32(repr((key, fold)).encode())), **changes)


def record(name: str, role: Role = Role.RANKED, **changes: Any) -> CaseRecord:
    bears = bool(changes.pop("bears", True))
    values: dict[str, Any] = {
        "group": name,
        "fold": None,
        "kind": Kind.LESION_BEARING if bears else Kind.LESION_FREE,
        "input_sha256": f"hash of {name}",
        "observation": seen(name, role.value, fold=changes.get("fold")),
        "candidates": tuple(label(one, bears=bears) for one in ("organ", "lesion")),
    }
    return CaseRecord(name=name, role=role, **(values | changes))


def known(count: int = 4) -> list[CaseRecord]:
    return [record(f"known {index}", Role.FITTED) for index in range(count)]


def test_of_a_patient_one_image_is_ranked() -> None:
    records = [*known(), record("a1", group="anna"), record("a2", group="anna"), record("b")]
    chosen = [one.name for one in independent(records, None)]
    assert len(chosen) == 2
    assert "b" in chosen
    assert independent(records[::-1], None) == independent(records, None)


def test_nobody_whose_image_was_trained_with_is_ranked() -> None:
    records = [
        *known(),
        record("other image of known 0", group="known 0"),
        record("copy", input_sha256="hash of known 1"),
        record("new"),
        record("new again", input_sha256="hash of new"),
    ]
    chosen = independent(records, None)
    assert len(chosen) == 1
    assert chosen[0].input_sha256 == "hash of new"


def test_other_folds_do_not_count() -> None:
    records = [record("a", fold="0"), record("a", Role.FITTED, fold="1"), record("b", fold="1")]
    assert [one.name for one in independent(records, "0")] == ["a"]
    assert [one.name for one in independent(records, "1")] == ["b"]


def test_a_case_that_two_folds_hold_out_counts_once() -> None:
    folds = ("0", "1")
    records = [record(f"known {index}", Role.FITTED, fold=fold) for index in range(4) for fold in folds]
    records += [record("both", fold=fold) for fold in folds]
    records += [record(f"new {fold}", fold=fold) for fold in folds]
    plan = Plan((), folds, GuaranteeKind.APPROXIMATE, "some have seen them")
    built = build(records, plan, description(), engine=ENGINE)
    assert built.calibration.distribution is not None
    assert built.calibration.distribution.n == 3
    assert [fold.ranked for fold in built.calibration.distribution.folds] == [2, 1]


def test_a_calibration_counts_its_cases() -> None:
    model = description(channel("T1"), channel("T2"))
    records = [
        *known(),
        *(record(f"bearing {index}") for index in range(20)),
        *(record(f"free {index}", bears=False) for index in range(20)),
        record("twice", group="free 0"),
        record("odd", Role.OUTLIER, kind=Kind.OUTLIER, observation=seen("odd", nonzero=np.array([1e3, 1e3]))),
    ]
    built = build(records, Plan((), (None,)), model, engine=ENGINE)
    counts = built.calibration.counts
    assert (counts.fitted, counts.ranked, counts.lesion_bearing, counts.lesion_free) == (4, 40, 20, 20)
    assert (counts.set_aside, counts.outliers, counts.groups) == (1, 1, 40)
    assert built.calibration.distribution is not None
    assert built.calibration.distribution.n == 40
    assert [channel.name for channel in built.calibration.distribution.learnt.channels] == ["T1", "T2"]
    assert built.calibration.presence is not None
    assert {one.label for one in built.calibration.presence.labels} == {"organ", "lesion"}
    assert built.outliers["odd"].value != "in_distribution"
    assert build(records, Plan((), (None,)), model, engine=ENGINE).arrays == built.arrays


def refused(name: str, role: Role = Role.RANKED, **changes: Any) -> Refused:
    values: dict[str, Any] = {"group": name, "fold": None, "input_sha256": f"hash of {name}"}
    return Refused(name=name, role=role, reason="it is blank", **(values | changes))


def test_a_case_that_the_contract_refuses_is_the_strangest_of_the_pool() -> None:
    model = description(channel("T1"), channel("T2"))
    ranked = [record(f"{index}") for index in range(18)]
    out = [
        refused("blank"),
        refused("copy of blank", input_sha256="hash of blank"),
        refused("of a trained patient", group="known 0"),
        refused("trained", Role.FITTED),
    ]
    built = build([*known(), *ranked], Plan((), (None,)), model, engine=ENGINE, refused=out)
    section = built.calibration.distribution
    assert section is not None
    assert (section.n, section.refused, section.folds[0].ranked) == (19, 1, 18)
    assert built.calibration.counts.refused == 1
    strange = seen("strange", nonzero=np.array([1e3, 1e3]))
    found = judge(built.model, [strange])
    # one of 20 is refused: whatever else is flagged would be a second one
    assert (found.p, found.p_min, found.verdict.value) == (0.1, 0.1, "in_distribution")
    assert found.remark is not None
    assert "refused 1 of the 19 calibration cases" in found.remark
    assert "These alone use up the level 0.05 (suspicious)" in found.remark
    assert "refused 1 of the 19" in calibrated_card("# model\n", built.calibration)
    arrays = model_arrays(built.model)
    assert judge(model_from_arrays(section, arrays), [strange]).p == 0.1
    without = build([*known(), *ranked, record("19th")], Plan((), (None,)), model, engine=ENGINE)
    assert judge(without.model, [strange]).p == 0.05


def test_a_refused_training_case_keeps_its_patient_out() -> None:
    cases = [record("second image", group="anna"), refused("first image", Role.FITTED, group="anna")]
    assert independent(cases, None) == []


def test_card_and_figures_tell_what_was_calibrated() -> None:
    records = [*known(), *(record(f"{index}", bears=index % 2 == 0) for index in range(40))]
    built = build(records, Plan((), (None,)), description(channel("T1"), channel("T2")), engine=ENGINE)
    before = (
        "# model\n\n## Limits\n\n- Not a medical device.\n- Not calibrated: nothing is claimed.\n- Licence.\n"
    )
    card = calibrated_card(before, built.calibration)
    assert "Not calibrated" not in card
    assert "- Not a medical device.\n- Licence.\n" in card
    assert "ranked among 40 cases" in card
    assert "out_of_distribution at 0.01: cannot be reached with 40 cases; it needs 99 cases." in card
    assert calibrated_card(card, built.calibration) == card
    for figure in (level_figure(built.calibration), presence_figure(built.calibration)):
        assert figure.startswith("<svg")
        assert "nan" not in figure


def test_nothing_to_rank_or_to_fit_to() -> None:
    with pytest.raises(CalibrationError, match="No case is left"):
        build(
            [*known(), record("copy", input_sha256="hash of known 1")],
            Plan((), (None,)),
            description(),
            engine=ENGINE,
        )
    with pytest.raises(CalibrationError, match="0 training cases"):
        build([record("a")], Plan((), (None,)), description(), engine=ENGINE)
