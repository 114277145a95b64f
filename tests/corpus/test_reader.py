"""Each malformed file gets its code, in the process that decodes, within its budget."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nnunet_losses.serve.decode import Budget, read_in_child, warm_up
from nnunet_losses.serve.errors import Refusal
from nnunet_losses.serve.schema import Reader

from ..serve.dicom.series import CANARY
from .malformed import CORPUS

if TYPE_CHECKING:
    from pathlib import Path

BUDGET = Budget(memory_bytes=2**29)  # a file that takes too long has another code


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    warm_up()


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) >= 60
    assert len({entry.code for entry in CORPUS.values()}) >= 15


@pytest.mark.parametrize("name", CORPUS)
def test_is_refused_with_its_code(tmp_path: Path, name: str) -> None:
    entry = CORPUS[name]
    file = entry.make(tmp_path)
    reader = Reader.NATURAL_IMAGE_2D if entry.is_picture else Reader.SIMPLE_ITK
    with pytest.raises(Refusal) as caught:
        read_in_child([file], reader, budget=BUDGET)
    refusal = caught.value
    assert refusal.code is entry.code, refusal
    told = f"{refusal} {refusal.observed} {refusal.expected}"
    assert CANARY not in told
    assert str(tmp_path) not in told
    assert refusal.remedy.endswith(".") or "pip install" in refusal.remedy
