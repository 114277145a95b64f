"""Slices that rightly have a rescaling each: all of them, or none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats.dicom.grid import regular_grid
from nnunet_losses.serve.formats.dicom.slices import Slice


def slices(*rescalings: tuple[float, float] | None) -> list[Slice]:
    header: Any = SimpleNamespace(dataset={"Modality": "PT"})
    return [
        Slice(
            header=header,
            frame=0,
            size=(4, 4),
            position=(0.0, 0.0, 2.0 * number),
            axes=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            spacing=(1.0, 1.0),
            rescale=rescale,
            thickness=2.0,
        )
        for number, rescale in enumerate(rescalings)
    ]


def test_each_slice_of_a_pet_series_has_its_own() -> None:
    assert len(regular_grid("pet", slices((1.0, 0.0), (2.5, 0.0), (0.5, 0.0))).slices) == 3
    assert len(regular_grid("pet", slices(None, None)).slices) == 2


def test_a_slice_without_one_among_others_is_refused() -> None:
    with pytest.raises(Refusal) as caught:
        regular_grid("pet", slices((1.5, 0.0), None, (2.5, 0.0)))
    assert caught.value.code is Code.SERIES_RESCALE
