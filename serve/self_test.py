"""The golden self-test: does this machine compute what nnU-Net computed when the bundle was made?"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import Code, Refusal
from .formats import read_image, read_mask
from .pipeline.segment import Segmenter

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .bundle import Bundle
    from .predictor import Predictor

# What a reduced precision may do to the golden tile's logits. Measured on a trained network: bfloat16 0.003,
# int8 0.025 of their range; its own proof is the bundle's evidence.
_REDUCED_TOLERANCES = {"bfloat16": 0.02, "float16": 0.005, "int8": 0.1}


@dataclass(frozen=True)
class SelfTestReport:
    """Figures of a passed self-test.

    Attributes:
        tile_difference: largest difference of the first tile's logits, as a share of their range.
        voxels: of the golden mask.
        differing_voxels: of the mask, anywhere.
        differing_beyond_margin: of them, where the decision was not close.
        provider: engine that was tested.
        seconds: that it took.
    """

    tile_difference: float
    voxels: int
    differing_voxels: int
    differing_beyond_margin: int
    provider: str
    seconds: float


def run_self_test(predictor: Predictor) -> SelfTestReport:
    """Predict the bundle's golden case, and compare with what nnU-Net made of it.

    Args:
        predictor: with the bundle's own networks.

    Returns:
        The figures, where all agree within the bundle's tolerances.

    Raises:
        Refusal: BUNDLE_SELF_TEST_FAILED with the figures, or why there are none.
        TypeError: for a predictor whose engine is not the pipeline.

    Example:
        >>> from nnunet_losses.serve.bundle import Bundle
        >>> from nnunet_losses.serve.predictor import Predictor
        >>> run_self_test(Predictor(Bundle.load("liver.bundle"))).differing_voxels  # doctest: +SKIP
        0
    """
    segmenter = predictor.engine
    if not isinstance(segmenter, Segmenter):
        raise TypeError(
            f"the self-test needs the pipeline's Segmenter; the engine is {type(segmenter).__name__}"
        )
    start = perf_counter()
    tile_difference = _tile_difference(segmenter)
    expected, mask, margins = _masks(segmenter)
    tolerance, margin = _limits(segmenter)
    differs = mask != expected
    beyond = differs & (margins > margin)
    report = SelfTestReport(
        tile_difference=tile_difference,
        voxels=int(mask.size),
        differing_voxels=int(differs.sum()),
        differing_beyond_margin=int(beyond.sum()),
        provider=segmenter.provider,
        seconds=round(perf_counter() - start, 3),
    )
    _require_agreement(report, tolerance)
    return report


def _limits(segmenter: Segmenter) -> tuple[float, float]:
    """Allowed difference of logits (share of their range), and the margin beyond which voxels must agree."""
    golden = segmenter.bundle.description.golden
    reduced = _REDUCED_TOLERANCES.get(segmenter.precision)
    if reduced is None:
        return golden.logits_tolerance, golden.margin
    expected = _array(segmenter.bundle, golden.tile_logits)
    return reduced, max(golden.margin, 2 * reduced * float(np.ptp(expected)))


def _tile_difference(segmenter: Segmenter) -> float:
    """Largest difference of the first fold's logits, as a share of the expected logits' range."""
    golden = segmenter.bundle.description.golden
    tile, expected = _array(segmenter.bundle, golden.tile_input), _array(segmenter.bundle, golden.tile_logits)
    whole = segmenter.network(0).run(tile).logits
    logits = whole[0].reshape(whole.shape[1], -1)[:, :: golden.logits_stride]
    if logits.shape != expected.shape:
        raise _failed(
            f"The network answers with sampled logits of the shape {logits.shape}.",
            observed=list(logits.shape),
            expected=list(expected.shape),
        )
    return float(np.abs(logits - expected).max() / max(float(np.ptp(expected)), np.finfo(np.float32).tiny))


def _array(bundle: Bundle, name: str) -> NDArray[np.float32]:
    try:
        return np.asarray(np.load(bundle.file(name), allow_pickle=False), np.float32)
    except (OSError, ValueError) as error:
        raise _failed(f"The golden file {name} cannot be read.") from error


def _masks(segmenter: Segmenter) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[np.float32]]:
    """Expected mask, computed mask, and how far apart the two best logits were at each voxel."""
    bundle = segmenter.bundle
    files = [bundle.file(name) for name in bundle.description.golden.inputs]
    image = read_image(files, reader=bundle.description.reader)
    expected = read_mask(bundle.file(bundle.description.golden.mask), reader=bundle.description.reader)
    found = segmenter.vote(image)
    mask, _ = segmenter.decide(found)
    if mask.shape != expected.shape:
        raise _failed(
            f"The mask has the shape {mask.shape}.", observed=list(mask.shape), expected=list(expected.shape)
        )
    return expected, mask, segmenter.margins(found)


def _require_agreement(report: SelfTestReport, tolerance: float) -> None:
    # written so that NaN fails, too
    if report.tile_difference <= tolerance and report.differing_beyond_margin == 0:
        return
    raise _failed(
        f"Logits differ by {report.tile_difference:.3g} of their range ({tolerance:g} are "
        f"allowed); {report.differing_beyond_margin} of {report.voxels} voxels differ where the decision "
        "was clear.",
        observed=asdict(report),
        expected={"tile_difference_at_most": tolerance, "differing_beyond_margin": 0},
    )


def _failed(detail: str, *, observed: Any = None, expected: Any = None) -> Refusal:
    return Refusal(
        Code.BUNDLE_SELF_TEST_FAILED,
        f"The self-test failed: this machine does not compute what the bundle was made with. {detail}",
        remedy="Choose another backend, update the engine, or export the model again.",
        observed=observed,
        expected=expected,
    )
