"""An exported network's case, from image to scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.safety.scores.observing import observe
from nnunet_losses.serve.safety.scores.scorer import Scorer

from ...images import noise, volume

if TYPE_CHECKING:
    from nnunet_losses.serve.bundle import Bundle
    from nnunet_losses.serve.safety.scores.observation import Observation


def observed(segmenter: Segmenter, bundle: Bundle, low: float) -> Observation:
    shape = (len(bundle.description.channel_names), 20, 26, 24)
    image = volume(noise(*shape, low=low), (1.5, 1.0, 1.0))
    preprocessed = segmenter.preprocess(image)
    segmentation = segmenter.segment(image)
    return observe(image, preprocessed, segmentation, bundle.description)


def test_a_case_of_an_exported_network_has_scores(volume_bundle: Bundle) -> None:
    segmenter = Segmenter(volume_bundle, backend="cpu", threads=1)
    cases = [observed(segmenter, volume_bundle, low) for low in (0.0, 10.0, 20.0)]
    stages = volume_bundle.description.members[0].features
    assert cases[0].features is not None
    assert {name: len(values) for name, values in cases[0].features.items()} == {
        stage.output: stage.channels for stage in stages
    }
    assert cases[0].found is not None
    assert len(cases[0].found.volumes) == len(volume_bundle.description.labels)
    scorer = Scorer.fit(cases[:2])
    scores = dict(zip(scorer.names, scorer(cases[2]), strict=True))
    assert np.isfinite(
        [scores["histogram.preprocessed"], scores["features.global"], scores["prediction.volume"]]
    ).all()
    assert scores["features.global"] > 0
