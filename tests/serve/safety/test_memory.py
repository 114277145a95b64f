"""The estimate of memory is one: what is held stays below it, and not far below."""

from __future__ import annotations

import json
import tracemalloc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.bundle import Bundle, write_sums
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.safety.contract import memory_needed
from tests.models import ModelFolderSpec
from tests.serve.images import volume
from tests.serve.pipeline.reference import description, write_bundle

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.image import Image

LABELS = {"background": 0, **{f"label {value}": value for value in range(1, 6)}}
SPEC = ModelFolderSpec(patch_size=(32, 32, 32), spacing=(1.0, 1.0, 1.0), mirror_axes=(), labels=LABELS)


def member(name: str, spec: ModelFolderSpec, **changes: Any) -> dict[str, Any]:
    return description(spec)["members"][0] | {"name": name} | changes


def bundle_of(root: Path, *members: dict[str, Any]) -> Bundle:
    write_bundle(root, SPEC)
    content = json.loads((root / "model.json").read_text())
    fold = content["members"][0]["folds"]
    content["members"] = [one | {"folds": fold} for one in members]
    (root / "model.json").write_text(json.dumps(content))
    write_sums(root)
    return Bundle.load(root)


def peak(bundle: Bundle, image: Image) -> int:
    """Most bytes that NumPy holds at once besides the image, with networks that cost next to nothing."""

    def network(tile: np.ndarray) -> np.ndarray:
        return np.concatenate([tile[:, :1] * factor for factor in range(6)], axis=1)

    segmenter = Segmenter(bundle, networks=[network] * len(bundle.description.members))
    tracemalloc.start()
    try:
        segmenter.segment(image)
        return tracemalloc.get_traced_memory()[1] + image.data.nbytes
    finally:
        tracemalloc.stop()


TURNED = SPEC.but(transpose_forward=(2, 0, 1))
FINE = SPEC.but(spacing=(0.8, 0.8, 0.8))
CASCADE = member("fine", FINE, previous_stage="plain")
CASCADE["preprocessing"] = CASCADE["preprocessing"] | {"resampling_labels": {"order": 1}}
BUNDLES: dict[str, list[dict[str, Any]]] = {
    "one member": [member("plain", SPEC)],
    "ensemble": [member("plain", SPEC), member("fine", FINE), member("turned", TURNED)],
    "cascade": [CASCADE, member("plain", SPEC, averaged=False)],
    "ensemble with a cascade": [CASCADE, member("plain", SPEC)],
}  # fmt: skip


@pytest.mark.parametrize("kind", BUNDLES)
def test_estimate_bounds_what_is_held(kind: str, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "bundle", *BUNDLES[kind])
    data = np.random.default_rng(0).normal(100, 20, (1, 72, 80, 76)).astype(np.float32)
    image = volume(data[0], (1.0, 1.0, 1.0))
    needed, held = memory_needed(image, bundle.description), peak(bundle, image)
    assert held < needed + 20 * 2**20  # tiles, slabs and the network's own arrays do not grow with the image
    assert needed < 3 * held
