"""``calibrate --disagreement``: what is ranked, and what answers say of it."""

from __future__ import annotations

import pickle
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from nnunet_losses.serve.approximations import Approximations
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.formats import Case
from nnunet_losses.serve.pipeline.agreement import ENTROPY, MIRRORS
from nnunet_losses.serve.predictor import Predictor
from nnunet_losses.serve.safety.findings import findings
from nnunet_losses.serve.safety.scores.observation import Observation
from nnunet_losses.serve.safety.scores.observation_arrays import (
    observation_from_arrays,
    observation_to_arrays,
)
from nnunet_losses.serve.safety.scores.scorer import DOUBTS, RECIPES, Scorer, fit_with_doubts

from ..safety.scores.cases import made_up
from .test_commands import calibrate, dataset, image

if TYPE_CHECKING:
    from pathlib import Path


def case(seed: int, **changes: Any) -> Observation:
    return made_up(np.random.default_rng(seed), channels=1, **changes)


@pytest.fixture(scope="module")
def compared(volume_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("disagreement")
    shutil.copytree(volume_bundle.root, folder / "model.bundle")
    result = calibrate(folder / "model.bundle", dataset(folder / "raw"), "--disagreement")
    assert result.exit_code == 0, result.output
    return folder / "model.bundle"


def predict(bundle: Path, folder: Path, **options: Any) -> Any:
    image(folder / "images", "x", 77)
    predictor = Predictor(Bundle.load(bundle), backend="cpu", threads=1, **options)
    return predictor.predict(Case("x", (folder / "images" / "x_0000.nii.gz",))).answer.distribution


def test_disagreement_is_ranked_and_served(compared: Path, tmp_path: Path) -> None:
    stored = Bundle.load(compared).calibration
    assert stored is not None
    assert stored.model is not None
    assert stored.model.section.scores == (*RECIPES, MIRRORS, ENTROPY)  # of one fold there is no other
    (fold,) = stored.model.folds
    assert np.isfinite(fold.pool[:, fold.scorer.names.index(MIRRORS)]).all()
    found = predict(compared, tmp_path)
    assert found.guarantee == "conformal"
    assert "mirrored" not in (found.remark or "")


def test_an_answer_without_mirrored_passes_says_so(compared: Path, tmp_path: Path) -> None:
    found = predict(compared, tmp_path, approximations=Approximations(mirror=False))
    assert found.guarantee == "approximate"
    assert "this run had none to compare" in found.remark


def test_without_the_option_nothing_is_compared(volume_bundle: Bundle) -> None:
    predictor = Predictor(volume_bundle, backend="cpu", threads=1, observe=True)
    assert not predictor.engine.first.compares  # type: ignore[attr-defined] # it is a Segmenter
    assert not set(DOUBTS) & set(Scorer.fit([case(0), case(1)]).names)


def test_doubts_are_kept_and_described() -> None:
    seen = case(0, doubts={MIRRORS: 0.25})
    back = observation_from_arrays(observation_to_arrays(seen))
    assert back.doubts == {MIRRORS: 0.25}
    scorer = fit_with_doubts([seen, case(1)])
    again = Scorer.from_arrays(scorer.to_arrays())
    assert scorer.names == (*RECIPES, MIRRORS, ENTROPY)
    assert again(back)[-2:].tolist() == pytest.approx([0.25, np.nan], nan_ok=True)


def test_observations_of_earlier_versions_still_load() -> None:
    old = case(0)
    state = {name: value for name, value in vars(old).items() if name != "doubts"}
    bare = Observation.__new__(Observation)
    vars(bare).update(pickle.loads(pickle.dumps(state)))
    assert bare.doubts is None
    names = list(RECIPES)
    scorer = Scorer.fit([case(1), case(2)], names)
    assert np.array_equal(scorer(bare), scorer(old), equal_nan=True)


@pytest.mark.parametrize(("value", "said"), [(0.123, "12.3%"), (0.0, "0.0%")])
def test_evidence_tells_the_share(value: float, said: str, compared: Path) -> None:
    stored = Bundle.load(compared).calibration
    assert stored is not None
    assert stored.model is not None
    told = findings(stored.model.section.learnt, case(0, doubts={MIRRORS: value}), [MIRRORS])
    assert said in told[MIRRORS].message
