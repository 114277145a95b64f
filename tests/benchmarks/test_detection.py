"""The detection benchmark's parts: measures, baselines, rules, and phantoms that are what files would be."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.detection.baselines import BASELINES, Seen, grid, uncertainties
from benchmarks.detection.evaluation import best, clopper_pearson
from benchmarks.detection.measures import auroc, fpr_at_sensitivity
from benchmarks.detection.phantoms import KINDS, image_of
from benchmarks.detection.protocol import left_out
from nnunet_losses.phantom import write_case
from nnunet_losses.serve.formats import read_image
from nnunet_losses.serve.schema import Reader
from nnunet_losses.serve.stress.suite import CORRUPTIONS, Family

from ..serve.safety.scores.cases import made_up

if TYPE_CHECKING:
    from pathlib import Path


def test_measures_on_separated_and_equal_scores() -> None:
    low, high = np.arange(10.0), np.arange(20.0, 40.0)
    assert auroc(low, high) == 1.0
    assert fpr_at_sensitivity(low, high) == 0.0
    assert auroc(low, low) == 0.5
    assert fpr_at_sensitivity(high, low) == 1.0
    assert auroc(low, np.full(3, np.nan)) == 0.0  # no score says nothing strange
    assert fpr_at_sensitivity(low, np.full(20, np.inf)) == 0.0


@pytest.mark.parametrize("name", ["plane", "volume"])
def test_phantoms_in_memory_are_those_in_files(name: str, tmp_path: Path) -> None:
    kind = KINDS[name]
    case, ending = kind.fresh(3), kind.settings.ending
    reader = Reader.NATURAL_IMAGE_2D if ending == ".png" else Reader.SIMPLE_ITK
    stored = read_image(write_case(case, "case", images=tmp_path, ending=ending), reader=reader)
    image = image_of(case, ending)
    assert np.array_equal(image.data, stored.data)
    assert image.spacing == pytest.approx(stored.spacing)
    assert image.geometry.direction == pytest.approx(stored.geometry.direction)
    assert image.geometry.origin == pytest.approx(stored.geometry.origin)
    assert image.geometry.dimension == stored.geometry.dimension


def test_fresh_phantoms_differ_and_return() -> None:
    kind = KINDS["plane"]
    assert np.array_equal(kind.fresh(1).image, kind.fresh(1).image)
    assert not np.array_equal(kind.fresh(1).image[0, :20, :20], kind.fresh(2).image[0, :20, :20])


def seen(random: np.random.Generator, shift: float = 0.0) -> Seen:
    features = {f"features_{stage}": random.normal(shift, 1, 4 * 3) for stage in range(2)}
    logits = random.normal(size=(3, 2, 6, 6)) * (5 - shift)
    observation = made_up(random, channels=1, features=features,
                          raw=np.sort(random.normal(shift, 1, (1, 500))),
                          preprocessed=np.sort(random.normal(shift, 1, (1, 500))))  # fmt: skip
    return Seen(observation, *uncertainties(logits))


@pytest.mark.parametrize("name", BASELINES)
def test_every_setting_of_every_baseline_sees_a_coarse_shift(name: str) -> None:
    random = np.random.default_rng(5)
    known = [seen(random) for _ in range(60)]
    for setting in grid(name, 2):
        setting.fit(known)
        usual = np.array([setting.score(seen(random)) for _ in range(12)])
        strange = np.array([setting.score(seen(random, 4.0)) for _ in range(12)])
        assert auroc(usual, strange) > 0.8, setting


def test_uncertainty_of_certain_and_undecided_voxels() -> None:
    certain, undecided = np.zeros((2, 1, 8, 8)), np.zeros((2, 1, 8, 8))
    certain[1] = 50
    for logits, doubt, disorder in ((certain, 0.0, 0.0), (undecided, 0.5, np.log(2))):
        confidence, entropy = uncertainties(logits)
        assert confidence[1.0, "image"] == pytest.approx(doubt)
        assert entropy[1.0, "inner"] == pytest.approx(disorder)


def test_rules_by_which_cells_are_listed_apart() -> None:
    assert left_out(CORRUPTIONS["blank"], "volume", [1000]) == "contract"
    assert left_out(CORRUPTIONS["flip_x_silent"], "volume", [1000]) == "in principle"
    assert left_out(CORRUPTIONS["swap_yx_silent"], "volume", [1000]) == "symmetric"
    assert left_out(CORRUPTIONS["swap_yx_silent"], "hippocampus", [1000]) is None
    assert left_out(CORRUPTIONS["unit_bytes"], "hippocampus", [255] + [1000] * 19) == "same unit"
    assert left_out(CORRUPTIONS["unit_bytes"], "hippocampus", [255] + [1000] * 20) is None
    assert left_out(CORRUPTIONS["noise"], "volume", [1000]) is None


def test_choice_without_a_family_does_not_listen_to_it() -> None:
    table = {"0": {"noise/0": 0.0, "spacing/0": 0.5}, "1": {"noise/0": 0.9, "spacing/0": 0.1}}
    assert best(table) == 0
    assert best(table, without=Family.ACQUISITION) == 1
    assert best(table, without=Family.SPACE) == 0


def test_exact_intervals() -> None:
    assert clopper_pearson(0, 25)[1] == pytest.approx(1 - 0.025 ** (1 / 25))
    assert clopper_pearson(25, 25)[0] == pytest.approx(0.025 ** (1 / 25))
    low, high = clopper_pearson(2, 25)
    assert low < 2 / 25 < high
