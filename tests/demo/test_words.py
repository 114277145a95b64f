from __future__ import annotations

from dataclasses import replace

import pytest

from tools.demo.words import headline, sentences

from . import samples


def test_a_segmentation_in_words() -> None:
    reply = samples.reply(1234)
    assert headline(reply) == "Segmented"
    assert sentences(samples.reply(1))[0] == "1 lesion, 1 pixel in all."
    first, second, third = sentences(reply)
    assert first == "1 lesion, 1 234 pixels in all."
    assert "not calibrated" in second
    assert third == "Warning spacing.unusual: The spacing is unusual."


def test_volumes_are_said_where_there_are_any() -> None:
    label = {"name": "lesion", "present": True, "voxels": 90, "volume_ml": 0.12, "components": 2}
    reply = replace(samples.reply(1), answer=samples.answer(1, labels=[label]))
    assert sentences(reply)[0] == "2 lesions, 0.120 ml (90 voxels) in all."


@pytest.mark.parametrize(
    ("meaning", "words"),
    [("no_finding", "may be read as: no finding"), ("no_decision", "must not be read as: no finding")],
)
def test_an_empty_mask_says_why_and_what_it_means(meaning: str, words: str) -> None:
    empty = {"reason": "NO_VOXEL_ABOVE_THRESHOLD", "meaning": meaning}
    reply = replace(samples.reply(0), answer=samples.answer(0, empty=empty))
    assert headline(reply) == "Empty"
    assert "NO_VOXEL_ABOVE_THRESHOLD" in sentences(reply)[0]
    assert words in sentences(reply)[0]


def test_a_refusal_says_what_to_do() -> None:
    assert headline(samples.refusal()) == "Refused: input.truncated"
    assert sentences(samples.refusal()) == ["HTTP 400. The file <b>ends</b> too early.", "Send it again."]
