from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tools.demo.findings import Overlap, expectations, false_alarms, pooled_dice

from . import samples

if TYPE_CHECKING:
    from tools.demo.findings import Sent
    from tools.demo.service import Reply

NAME = samples.MODELS[0]


def unmet(**changes: Any) -> list[str]:
    """Texts of the expectations that are not met when something of the good sample is changed."""
    good = samples.findings()
    parts = {"models": good.models, "answered": good.answered, "refused": good.refused} | changes
    return [item.text for item in expectations(**parts) if not item.met]


def with_reply(sent: Sent, reply: Reply) -> Sent:
    return replace(sent, replies={**sent.replies, NAME: reply})


def test_a_good_demonstration_meets_everything() -> None:
    good = samples.findings()
    judged = expectations(good.models, good.answered, good.refused)
    assert len(judged) == 2 + 2 + 2 * 2 + 2 * 2 + 2
    assert all(item.met for item in judged)


def test_broken_parity_is_seen() -> None:
    broken = samples.model(NAME, parity=samples.parity(passed=False))
    assert unmet(models=[broken]) == [f"{NAME}: the bundle answers as nnU-Net itself"]


def test_a_useless_model_is_seen() -> None:
    assert len(unmet(models=[samples.model(NAME, overlaps=[Overlap("a", 50, 100, 25)])])) == 1
    assert len(unmet(models=[samples.model(NAME, overlaps=[])])) == 1


def test_another_mask_than_the_predicted_one_is_seen() -> None:
    case = samples.sent(40, 50)
    assert len(unmet(answered=[replace(case, same_bytes={**case.same_bytes, NAME: False})])) == 1


@pytest.mark.parametrize(
    ("painted", "answer"),
    [
        (40, samples.answer(0)),
        (0, samples.answer(40)),
        (0, samples.answer(0, empty=None)),
        (40, samples.answer(40, outcome="indeterminate")),
    ],
)
def test_an_answer_that_does_not_fit_its_mask_is_seen(painted: int, answer: dict[str, Any]) -> None:
    case = samples.sent(painted, 50)
    assert len(unmet(answered=[with_reply(case, replace(samples.reply(painted), answer=answer))])) == 1


def test_a_refusal_where_an_answer_belongs_is_seen() -> None:
    assert len(unmet(answered=[with_reply(replace(samples.sent(40, 50), masks={}), samples.refusal())])) == 2


@pytest.mark.parametrize("reply", [samples.reply(3), samples.refusal(500), samples.refusal(code="")])
def test_an_answer_where_a_refusal_belongs_is_seen(reply: Reply) -> None:
    (bad,) = samples.findings().refused
    assert len(unmet(refused=[with_reply(bad, reply)])) == 1


def test_dice_is_that_of_the_textbook() -> None:
    truth, found = np.array([[1, 1, 0, 0]]), np.array([[0, 2, 2, 2]])
    overlap = Overlap.of("a", truth, found)
    assert (overlap.reference, overlap.predicted, overlap.common) == (2, 3, 1)
    assert overlap.dice == pytest.approx(2 / 5)
    assert Overlap.of("b", truth * 0, truth * 0).dice is None
    assert pooled_dice([overlap, Overlap("b", 0, 0, 0), Overlap("c", 0, 5, 0)]) == pytest.approx(2 / 10)


def test_false_alarms_are_counted_on_lesion_free_cases_only() -> None:
    assert false_alarms([samples.model(NAME)]) == {NAME: (1, 2)}
