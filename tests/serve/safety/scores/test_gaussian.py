"""The fitted normal distribution: against formulas written out in full."""

from __future__ import annotations

import numpy as np
import pytest

from nnunet_losses.serve.safety.scores.gaussian import Gaussian, shrinkage


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(11)


def ledoit_wolf(cases: np.ndarray) -> tuple[float, np.ndarray]:
    """The paper's section 3.2, matrix by matrix."""
    x = cases - cases.mean(axis=0)
    n, p = x.shape
    covariance = x.T @ x / n

    def norm(matrix: np.ndarray) -> float:
        return float(np.trace(matrix @ matrix.T) / p)

    m = float(np.trace(covariance) / p)
    d = norm(covariance - m * np.eye(p))
    b = min(d, sum(norm(np.outer(row, row) - covariance) for row in x) / n**2)
    return b / d, b / d * m * np.eye(p) + (d - b) / d * covariance


@pytest.mark.parametrize("shape", [(8, 3), (5, 20), (200, 6), (2, 4)])
def test_shrinkage_is_the_papers(shape: tuple[int, int], random: np.random.Generator) -> None:
    cases = random.normal(size=shape) * np.linspace(1, 4, shape[1]) + 3
    weight, covariance = ledoit_wolf(cases)
    assert shrinkage(cases) == pytest.approx(weight)
    if weight > 1e-6:
        case = random.normal(size=shape[1])
        difference = case - cases.mean(axis=0)
        expected = np.sqrt(difference @ np.linalg.solve(covariance, difference))
        assert Gaussian.shrunk(cases).distance(case) == pytest.approx(expected)


def test_shrinkage_by_hand() -> None:
    # S = diag(2, 1/2), m = 5/4, d^2 = 9/16, each |x x' - S|^2 = 17/8, b^2 = 4 * 17/8 / 16 = 17/32
    assert shrinkage(np.array([[2.0, 0], [-2, 0], [0, 1], [0, -1]])) == pytest.approx(17 / 18)


def test_nothing_is_shrunk_with_many_cases(random: np.random.Generator) -> None:
    cases = random.normal(size=(20000, 3)) * [1, 2, 3]
    assert shrinkage(cases) < 0.001
    assert Gaussian.shrunk(cases).distance(np.array([1.0, 2.0, 3.0])) == pytest.approx(np.sqrt(3), rel=0.05)


@pytest.mark.parametrize("cases", [np.ones((1, 3)), np.ones((4, 3)), np.array([[1.0, 1, 1], [-1, -1, -1]])])
def test_degenerate_cases_have_finite_distances_that_grow(cases: np.ndarray) -> None:
    for fitted in (Gaussian.shrunk(cases), Gaussian.principal(cases, share=0.99, noise=0.01)):
        far = [fitted.distance(cases[0] + step * np.array([1.0, -1.0, 0.0])) for step in (1, 2, 5)]
        assert np.isfinite(far).all()
        assert far == sorted(far)
        assert far[0] > 0


def test_principal_components_by_hand() -> None:
    # variances 8, 2 and 0 along the axes: two components explain 99 %, what is left counts as the weaker
    cases = np.array([[4.0, 0, 0], [-4, 0, 0], [0, 2, 0], [0, -2, 0]])
    fitted = Gaussian.principal(cases, share=0.99, noise=0.01)
    assert fitted.variances == pytest.approx([8, 2])
    assert fitted.rest == pytest.approx(2)
    assert fitted.distance(np.array([4.0, 2.0, 2.0])) == pytest.approx(np.sqrt(16 / 8 + 4 / 2 + 4 / 2))
    one = Gaussian.principal(cases, share=0.7, noise=0.01)
    assert one.variances == pytest.approx([8])


def test_many_components_are_an_ordinary_mahalanobis_distance(random: np.random.Generator) -> None:
    cases = random.normal(size=(50, 4)) @ random.normal(size=(4, 4))
    case = random.normal(size=4)
    difference = case - cases.mean(axis=0)
    expected = np.sqrt(difference @ np.linalg.solve(np.cov(cases.T, bias=True), difference))
    assert Gaussian.principal(cases, share=1, noise=1e-12).distance(case) == pytest.approx(expected)
