"""All scores together: stored and read again, and damaged phantoms beyond all clean ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from nnunet_losses.serve.safety.conformal import combined
from nnunet_losses.serve.safety.scores.neighbours import LedoitWolf
from nnunet_losses.serve.safety.scores.observation import Observation, observe_image
from nnunet_losses.serve.safety.scores.scorer import RECIPES, Scorer
from nnunet_losses.serve.stress.suite import CORRUPTIONS

from .cases import observed, phantom, phantoms, some

if TYPE_CHECKING:
    from pathlib import Path

FITTED, POOL, DAMAGED = 60, 30, 4
# Not among them: channels that change places. They correlate as before, and the phantom's are much alike.
FAR = {
    "white_noise": ("features.global", "features.foreground"),
    "clouds": ("features.global",),
    "checkerboard": ("histogram.raw", "histogram.preprocessed", "features.global"),
    "unit_range": ("histogram.raw",),
    "inversion": ("histogram.raw", "histogram.preprocessed"),
    "doubled_channel": ("channels.correlation",),
    "spacing": ("geometry.spacing", "geometry.extent"),
    "crop_field": ("geometry.extent",),
    "flip_x_told": ("geometry.orientation",),
    "swap_zx_told": ("geometry.orientation",),
    "noise": ("features.global",),
    "blur": ("features.global",),
}


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return Scorer.fit(phantoms(0, FITTED))


@pytest.fixture(scope="module")
def pool(scorer: Scorer) -> np.ndarray:
    return np.stack([scorer(case) for case in phantoms(1000, POOL)])


def damaged(key: str, seed: int) -> Observation:
    image, labels = phantom(seed)
    corruption = CORRUPTIONS[key]
    image = corruption.apply(image, len(corruption.strengths) - 1, case=str(seed))
    if image.shape != labels.shape:
        labels = np.resize(labels, image.shape)
    return observed(image, labels)


@pytest.mark.parametrize("key", FAR)
def test_far_damages_are_stranger_than_all_clean_phantoms(key: str, scorer: Scorer, pool: np.ndarray) -> None:
    for seed in range(2000, 2000 + DAMAGED):
        scores = dict(zip(scorer.names, scorer(damaged(key, seed)), strict=True))
        for name in FAR[key]:
            assert scores[name] > pool[:, scorer.names.index(name)].max(), (key, name)
        assert combined(np.array(list(scores.values())), pool).p == 1 / (POOL + 1), key


def test_clean_phantoms_are_not_strange(scorer: Scorer, pool: np.ndarray) -> None:
    ps = np.array([combined(scorer(case), pool).p for case in phantoms(3000, 40)])
    assert (ps <= 0.1).mean() <= 0.25
    assert 0.3 < ps.mean() < 0.7


def test_phantoms_have_every_score(pool: np.ndarray) -> None:
    assert np.isfinite(pool).all()
    assert pool.shape == (POOL, len(RECIPES))


def test_a_scorer_is_read_as_it_was_written(tmp_path: Path, scorer: Scorer, pool: np.ndarray) -> None:
    scorer.save(tmp_path / "scores.npz")
    again = Scorer.load(tmp_path / "scores.npz")
    assert again.names == scorer.names == tuple(RECIPES)
    before, after = scorer.to_arrays(), again.to_arrays()
    assert before.keys() == after.keys()
    for name, values in before.items():
        assert values.dtype == after[name].dtype
        assert values.tobytes() == after[name].tobytes()
    rows = np.stack([again(case) for case in phantoms(1000, POOL)])
    assert rows.tobytes() == pool.tobytes()


def test_nothing_fitted_is_pickled(scorer: Scorer) -> None:
    assert all(values.dtype.kind in "fiU" for values in scorer.to_arrays().values())


def test_shrunk_distances_are_read_as_they_were_written() -> None:
    known = some(9)
    score = LedoitWolf.fit(known[1:], pooling="features")
    assert LedoitWolf.from_arrays(score.to_arrays()).score(known[0]) == score.score(known[0])


def test_scores_that_had_nothing_to_fit_to_are_stored_too(tmp_path: Path) -> None:
    image, _ = phantom(0)
    scorer = Scorer.fit([observe_image(image)])  # nothing but the image is known
    scorer.save(tmp_path / "scores.npz")
    again = Scorer.load(tmp_path / "scores.npz")(phantoms(1000, 1)[0])
    missing = {name for name, score in zip(scorer.names, again, strict=True) if np.isnan(score)}
    assert missing == {name for name in RECIPES if name.startswith(("features", "prediction"))} | {
        "histogram.preprocessed",
        "texture",
    }


def test_before_the_network_the_images_scores_are_there(scorer: Scorer) -> None:
    image, _ = phantom(5)
    scores = dict(zip(scorer.names, scorer(observe_image(image)), strict=True))
    assert np.isfinite(
        [scores["histogram.raw"], scores["geometry.spacing"], scores["channels.correlation"]]
    ).all()
    assert np.isnan(
        [scores["histogram.preprocessed"], scores["features.global"], scores["prediction.volume"]]
    ).all()


def test_the_order_of_known_cases_does_not_matter() -> None:
    known = some(25)
    order = np.random.default_rng(0).permutation(24)
    one, other = Scorer.fit(known[1:]), Scorer.fit([known[1:][index] for index in order])
    assert one(known[0]) == pytest.approx(other(known[0]), rel=1e-6)


def test_one_known_case_is_enough() -> None:
    known = some(2)
    scorer = Scorer.fit(known[:1])
    assert np.isfinite(scorer(known[1])).all()
    assert scorer(known[0]) == pytest.approx(0)


def test_constant_quantities_do_no_harm() -> None:
    (case,) = some(1)
    scorer = Scorer.fit([case] * 10)
    assert scorer(case) == pytest.approx(0)
    assert np.isfinite(scorer(some(2)[1])).all()


def test_one_channel() -> None:
    known = some(12, channels=1)
    scores = dict(zip((scorer := Scorer.fit(known[1:])).names, scorer(known[0]), strict=True))
    assert np.isnan(scores.pop("channels.correlation"))
    assert np.isfinite(list(scores.values())).all()


def test_an_empty_answer_has_no_foreground() -> None:
    known = some(12)
    empty = replace(known[0], foreground_features=None)
    scorer = Scorer.fit(known[1:])
    assert np.isnan(scorer(empty)[scorer.names.index("features.foreground")])
    pool = np.stack([scorer(case) for case in some(30)])
    assert 0 < combined(scorer(empty), pool).p <= 1


def test_unknown_names_and_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"'histogramm' is not known; expected one of histogram\.raw"):
        Scorer.fit(some(2), ["histogramm"])
    np.savez(tmp_path / "other.npz", a=np.zeros(2))
    with pytest.raises(ValueError, match=r"other\.npz holds no scores"):
        Scorer.load(tmp_path / "other.npz")
    arrays = Scorer.fit(some(2), ["geometry.spacing"]).to_arrays()
    with pytest.raises(ValueError, match="quantity 'colour' is not known"):
        Scorer.from_arrays(arrays | {"geometry.spacing/quantity": np.array("colour")})


def test_chosen_scores_alone() -> None:
    scorer = Scorer.fit(some(3), ["geometry.extent", "histogram.raw"])
    assert scorer.names == ("geometry.extent", "histogram.raw")
    assert scorer(some(1)[0]).shape == (2,)
