from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nnunet_losses.phantom import Phantom, make_case

SETTINGS = {
    "2d": Phantom.of_dimension(2),
    "3d": Phantom.of_dimension(3),
    "thick slices": Phantom(size=(12, 64, 64), spacing=(5.0, 0.8, 0.8)),
    "small": Phantom(size=(8, 8), spacing=(1.0, 1.0), lesions=(1, 6)),
    "regions": Phantom(labelling="regions", channels=("T1", "T2", "FLAIR", "PD")),
    "lesion only": replace(Phantom.of_dimension(2), labelling="lesion"),
    "noiseless": replace(Phantom.of_dimension(2), noise=0, texture=0, bias=0, variation=0),
}


@pytest.fixture(params=SETTINGS.values(), ids=SETTINGS.keys())
def settings(request: pytest.FixtureRequest) -> Phantom:
    return request.param


@pytest.mark.parametrize("seed", [0, 1, 2**63])
def test_the_same_seed_gives_the_same_case(settings: Phantom, seed: int) -> None:
    first = make_case(settings, seed)
    make_case(settings, seed + 1)  # what is drawn in between changes nothing
    again = make_case(settings, seed)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.labels, again.labels)
    assert (first.spacing, first.origin, first.direction) == (again.spacing, again.origin, again.direction)
    assert first.lesions == again.lesions


def test_other_seeds_give_other_cases(settings: Phantom) -> None:
    images = [make_case(settings, seed).image for seed in range(4)]
    distinct = {(image.shape, image.tobytes()) for image in images}
    assert len(distinct) == 4


def test_arrays_are_what_they_are_said_to_be(settings: Phantom) -> None:
    case = make_case(settings, 3)
    assert case.image.dtype == np.float32
    assert case.labels.dtype == np.uint8
    assert case.image.shape == (len(settings.channels), *case.labels.shape)
    assert np.isfinite(case.image).all()
    assert (case.image >= 0).all()
    assert np.array_equal(case.image, np.rint(case.image))
    assert set(np.unique(case.labels)) <= ({0, 1} if settings.labelling == "lesion" else {0, 1, 2})
    assert len(case.spacing) == len(case.origin) == settings.dimension


def test_sizes_and_spacings_vary_as_much_as_was_asked_for() -> None:
    settings = Phantom(size=(20, 40, 40), spacing=(3.0, 1.0, 1.0), variation=0.2)
    cases = [make_case(settings, seed) for seed in range(20)]
    for axis in range(3):
        sizes = np.array([case.labels.shape[axis] for case in cases]) / settings.size[axis]
        spacings = np.array([case.spacing[axis] for case in cases]) / settings.spacing[axis]
        assert 0.75 <= sizes.min() < sizes.max() <= 1.25
        assert 0.79 <= spacings.min() < spacings.max() <= 1.21
    assert all(case.spacing[1] == case.spacing[2] for case in cases)


@pytest.mark.parametrize("name", ["2d", "3d", "thick slices", "lesion only"])
def test_every_lesion_is_one_component(name: str) -> None:
    settings = SETTINGS[name]
    value = 1 if settings.labelling == "lesion" else 2
    counts = set()
    for seed in range(30):
        case = make_case(settings, seed)
        components, count = ndimage.label(case.labels == value, np.ones((3,) * settings.dimension))
        assert count == len(case.lesions)
        assert sorted(np.bincount(components.ravel())[1:]) == sorted(lesion.voxels for lesion in case.lesions)
        counts.add(count)
    assert counts >= {1, 2, 3}


@pytest.mark.parametrize("size", [(8, 8), (8, 8, 8), (8, 64, 64)])
def test_where_there_is_little_room_there_is_still_a_lesion(size: tuple[int, ...]) -> None:
    spacing = (6.0, 1.0, 1.0) if size == (8, 64, 64) else (1.0,) * len(size)
    settings = Phantom(size=size, spacing=spacing, lesions=(3, 6), lesion_radius=(0.4, 0.6))
    for seed in range(40):
        case = make_case(settings, seed)
        _, count = ndimage.label(case.labels == 2, np.ones((3,) * len(size)))
        assert count == len(case.lesions) >= 1


def test_lesions_lie_in_the_organ() -> None:
    for seed in range(20):
        labels = make_case(Phantom.of_dimension(2), seed).labels
        edge = ndimage.binary_dilation(labels == 2) & (labels == 0)
        assert edge.sum() <= 4  # a lesion may touch the organ's surface, not leave it


def test_volumes_and_centres_fit_the_label_map() -> None:
    case = make_case(SETTINGS["thick slices"], 5)
    components, _ = ndimage.label(case.labels == 2, np.ones((3, 3, 3)))
    for lesion in case.lesions:
        inside = components == components[tuple(np.rint(lesion.centre).astype(int))]
        assert np.allclose(lesion.centre, ndimage.center_of_mass(inside), atol=0.01)
        assert lesion.volume == pytest.approx(inside.sum() * np.prod(case.spacing), rel=1e-3)


def test_a_lesion_free_twin_differs_in_nothing_but_lesions() -> None:
    settings = SETTINGS["noiseless"]
    for seed in range(5):
        case = make_case(settings, seed)
        twin = make_case(replace(settings, lesions=(0, 0)), seed)
        away = ~ndimage.binary_dilation(case.labels == 2, iterations=4)
        assert not twin.lesions
        assert (twin.labels == 1).sum() == (case.labels > 0).sum()
        assert np.array_equal(case.image[0][away], twin.image[0][away])
        assert case.image[0][case.labels == 2].mean() > twin.image[0][case.labels == 2].mean() + 100


def test_contrast_is_in_the_image() -> None:
    case = make_case(replace(SETTINGS["noiseless"], lesions=(1, 1), contrast=(0.3, 0.3), mimics=(0, 0)), 0)
    lesion, organ = case.image[0][case.labels == 2].max(), np.median(case.image[0][case.labels == 1])
    assert lesion - organ == pytest.approx(300, abs=2)


def test_mimics_are_in_the_image_and_not_in_the_labels() -> None:
    plain = replace(SETTINGS["noiseless"], lesions=(0, 0), mimics=(0, 0))
    case, other = make_case(plain, 1), make_case(replace(plain, mimics=(2, 2)), 1)
    assert np.array_equal(case.labels, other.labels)
    changed = other.image[0] != case.image[0]
    assert changed.sum() > 20
    assert not (changed & (case.labels > 0)).any()


def test_directions_are_rotations_or_reflections() -> None:
    case = make_case(Phantom(), 1)
    direction = np.reshape(case.direction, (3, 3))
    assert np.allclose(direction @ direction.T, np.eye(3), atol=1e-12)
    assert not np.allclose(direction, np.eye(3), atol=0.01)
    assert any(case.origin)


def test_channels_show_the_same_body_differently() -> None:
    image = make_case(SETTINGS["regions"], 2).image
    assert len({channel.tobytes() for channel in image}) == 4


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"size": (4, 40, 40)}, "Sizes are at least 8"),
        ({"size": (40, 40)}, "2 or 3 entries"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacings positive"),
        ({"spacing": (1.0, float("nan"), 1.0)}, "spacings positive"),
        ({"lesions": (3, 1)}, "lesions is"),
        ({"lesions": (-1, 1)}, "lesions is"),
        ({"lesion_radius": (0.0, 0.1)}, "lesion_radius"),
        ({"noise": -1.0}, "noise"),
        ({"bias": float("inf")}, "bias"),
        ({"variation": 0.9}, "variation"),
        ({"channels": ()}, "channel"),
        ({"labelling": "organ"}, "organ_lesion"),
        ({"file_ending": ".png"}, "3D"),
        ({"file_ending": ".jpg"}, "jpg"),
    ],
)
def test_senseless_settings_are_refused(change: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        replace(Phantom(), **change)


def test_a_negative_seed_is_refused() -> None:
    with pytest.raises(ValueError, match="not negative, got -1"):
        make_case(Phantom(), -1)


def test_four_dimensions_are_refused() -> None:
    with pytest.raises(ValueError, match="not 4"):
        Phantom.of_dimension(4)
