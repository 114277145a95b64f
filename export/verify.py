"""The proof: a bundle against nnU-Net's own predictor, on the user's images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.formats import Incomplete, find_cases
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.schema import Precision

from .agreement import disagreements
from .errors import ExportError
from .matching import match_members
from .onnx_graph import TOLERANCE
from .parity_case import compare_case
from .parity_report import Verification, judge, store
from .postprocessing import read_postprocessing
from .reference import Reference
from .weights import changed_weights

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnunet_losses.serve.backends import Backend, PrecisionChoice
    from nnunet_losses.serve.formats import Case
    from nnunet_losses.serve.schema import KeepLargest

# Tile logits, share of their range. OpenVINO's float32 convolutions were measured at up to 2.4e-5 of it; a
# wrong axis or statistic makes 1e-2 and more.
TILE_TOLERANCES = {"CPUExecutionProvider": TOLERANCE}
OTHER_TILE_TOLERANCE = 1e-4


def verify_bundle(  # noqa: PLR0913 - the command's options, by keyword
    bundle_path: str | Path,
    model_folders: str | Path | Sequence[str | Path],
    images: Sequence[str | Path],
    *,
    previous_stage: str | Path | None = None,
    postprocessing: str | Path | None = None,
    folds: Sequence[int | str] | None = None,
    checkpoint: str | None = None,
    backend: Backend = "auto",
    precision: PrecisionChoice = "float32",
    write: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> Verification:
    """Compare a bundle with nnU-Net's own predictor on the CPU (float32), and store the report in the bundle.

    Compared are model.json with the model folders, the weights with the checkpoints (bit by bit), the
    preprocessed images, the tiles and each fold's tile logits of every member, and the masks from files to
    files: for an ensemble with what ``nnUNetv2_ensemble`` makes of the predictions, for a cascade with both
    stages of nnU-Net, and postprocessed as by ``nnUNetv2_apply_postprocessing``. It passes where model.json
    and weights agree, preprocessed images and tile logits differ by no more than their tolerance, no voxel
    differs whose two best logits (nnU-Net's, on the image's own grid) are more than 0.1 apart, and each
    label's Dice between the two masks, pooled over all cases, is at least 0.9999, or at most one voxel in
    each case differs.

    Args:
        bundle_path: folder or zip.
        model_folders: the nnU-Net model folder that it was exported from; all of an ensemble, in any order.
        images: folders and files, named as nnU-Net names them.
        previous_stage: of a cascade, where it does not lie where nnU-Net puts it.
        postprocessing: file that was exported with the bundle; needed for a bundle that has any.
        folds: the folds that the bundle is expected to hold; None for no expectation.
        checkpoint: name of the checkpoint file; None finds the one that was exported.
        backend: the runtime's engine.
        precision: of the network. Reduced, it is compared by the same yardstick, and fails it where it shows;
            the report is then not stored: a bundle's parity is float32's, and a variant has evidence of its
            own.
        write: store the report in the bundle: model.json, MODEL_CARD.md and parity.json.
        progress: called with (case, cases done, cases to do).

    Returns:
        Verdict and figures; ``parity.passed`` says whether the proof succeeded.

    Raises:
        CheckpointMismatch: the model folders' checkpoints are not those of the bundle. Nothing is stored.
        ExportError: a model folder cannot be read or is missing, or the report cannot be stored.
        Refusal: the bundle or the images cannot be read.
    """
    bundle = Bundle.load(bundle_path)
    folders = [model_folders] if isinstance(model_folders, str | Path) else list(model_folders)
    members = match_members(
        bundle.description, folders, previous_stage=previous_stage, folds=folds, checkpoint=checkpoint
    )
    steps = _steps(bundle, postprocessing)
    cases = _complete_cases(bundle, images)
    segmenter = Segmenter(bundle, backend=backend, precision=precision)
    reference = Reference(members, steps)
    tolerance = TILE_TOLERANCES.get(segmenter.provider, OTHER_TILE_TOLERANCE)
    results = []
    for index, case in enumerate(cases):
        if progress:
            progress(case.name, index, len(cases))
        results.append(compare_case(case, segmenter, reference, tile_tolerance=tolerance))
    engine = f"{segmenter.provider}, {segmenter.precision}"
    differing = [*disagreements(bundle.description, members, steps), *changed_weights(bundle, members)]
    verification = Verification(judge(results, backend=engine, disagreements=differing), tuple(results))
    if write and segmenter.precision == Precision.FLOAT32:
        store(Path(bundle_path), bundle, verification, tile_tolerance=tolerance)
    return verification


def _steps(bundle: Bundle, postprocessing: str | Path | None) -> tuple[KeepLargest, ...]:
    """Read the postprocessing file that the bundle was exported with."""
    if postprocessing is not None:
        return read_postprocessing(postprocessing)
    if bundle.description.postprocessing:
        raise ExportError(
            "The bundle postprocesses its masks. Pass the file that it was exported with: --postprocessing."
        )
    return ()


def _complete_cases(bundle: Bundle, images: Sequence[str | Path]) -> list[Case]:
    cases: list[Case] = []
    for case in find_cases([Path(image) for image in images], bundle.description):
        if isinstance(case, Incomplete):
            raise case.refusal
        cases.append(case)
    return cases
