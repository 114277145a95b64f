"""The proof: a bundle against nnU-Net's own predictor, on the user's images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_losses.serve.bundle import Bundle, file_sha256
from nnunet_losses.serve.formats import Incomplete, find_cases
from nnunet_losses.serve.pipeline.segment import Segmenter

from .agreement import disagreements
from .errors import CheckpointMismatch, ExportError
from .model_folder import DEFAULT_CHECKPOINT, read_model_folder
from .onnx_graph import TOLERANCE
from .parity_case import compare_case
from .parity_report import Verification, judge, store
from .reference import reference_predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnunet_losses.serve.backends import Backend
    from nnunet_losses.serve.formats import Case
    from nnunet_losses.serve.schema import Fold

    from .model_folder import ModelFolder

# Tile logits, share of their range. OpenVINO's float32 convolutions were measured at up to 2.4e-5 of it; a
# wrong axis or statistic makes 1e-2 and more.
TILE_TOLERANCES = {"CPUExecutionProvider": TOLERANCE}
OTHER_TILE_TOLERANCE = 1e-4


def verify_bundle(
    bundle_path: str | Path,
    model_folder: str | Path,
    images: Sequence[str | Path],
    *,
    folds: Sequence[int | str] | None = None,
    checkpoint: str | None = None,
    backend: Backend = "auto",
    write: bool = True,
    progress: Callable[[str, int, int], None] | None = None,
) -> Verification:
    """Compare a bundle with nnU-Net's own predictor on the CPU (float32), and store the report in the bundle.

    Compared are model.json with the model folder, the preprocessed images, the tiles and each fold's tile
    logits, and the masks from files to files. It passes where model.json agrees, preprocessed images and tile
    logits differ by no more than their tolerance, no voxel differs whose two best logits (nnU-Net's, on the
    image's own grid) are more than 0.1 apart, and each label's Dice between the two masks, pooled over all
    cases, is at least 0.9999.

    Args:
        bundle_path: folder or zip.
        model_folder: the nnU-Net model folder that it was exported from.
        images: folders and files, named as nnU-Net names them.
        folds: the folds that the bundle is expected to hold; None for no expectation.
        checkpoint: name of the checkpoint file; None finds the one that was exported.
        backend: the runtime's engine.
        write: store the report in the bundle: model.json, MODEL_CARD.md and parity.json.
        progress: called with (case, cases done, cases to do).

    Returns:
        Verdict and figures; ``parity.passed`` says whether the proof succeeded.

    Raises:
        CheckpointMismatch: the model folder's checkpoints are not those of the bundle. Nothing is stored.
        ExportError: the model folder cannot be read, or the report cannot be stored.
        Refusal: the bundle or the images cannot be read.
    """
    bundle = Bundle.load(bundle_path)
    model = _matching_model(bundle, model_folder, folds=folds, checkpoint=checkpoint)
    cases = _complete_cases(bundle, images)
    segmenter = Segmenter(bundle, backend=backend)
    predictor = reference_predictor(model)
    tolerance = TILE_TOLERANCES.get(segmenter.provider, OTHER_TILE_TOLERANCE)
    results = []
    for index, case in enumerate(cases):
        if progress:
            progress(case.name, index, len(cases))
        results.append(compare_case(case, segmenter, predictor, tile_tolerance=tolerance))
    engine = f"{segmenter.provider}, {segmenter.precision}"
    parity = judge(results, backend=engine, disagreements=disagreements(bundle.description, model))
    verification = Verification(parity, tuple(results))
    if write:
        store(Path(bundle_path), bundle, verification, tile_tolerance=tolerance)
    return verification


def _matching_model(
    bundle: Bundle, folder: str | Path, *, folds: Sequence[int | str] | None, checkpoint: str | None
) -> ModelFolder:
    """Read the folds that the bundle holds; their checkpoints must be the exported ones."""
    held = bundle.description.members[0].folds
    names = [fold.name for fold in held]
    if folds and {str(fold) for fold in folds} != set(names):
        wanted = " ".join(map(str, folds))
        raise ExportError(
            f"The bundle holds folds {' '.join(names)}, not {wanted}. Leave --folds out, or export again."
        )
    file = checkpoint or _exported_checkpoint(Path(folder), held[0])
    model = read_model_folder(folder, folds=names, checkpoint=file)
    for fold, found in zip(held, model.checkpoints, strict=True):
        if fold.checkpoint_sha256 != found.sha256:
            raise CheckpointMismatch(fold.name, found.path, fold.checkpoint_sha256, found.sha256)
    return model


def _exported_checkpoint(folder: Path, fold: Fold) -> str:
    """Find the name of the checkpoint file that was exported, by its hash."""
    for path in sorted((folder / f"fold_{fold.name}").glob("*.pth")):
        if file_sha256(path) == fold.checkpoint_sha256:
            return path.name
    return DEFAULT_CHECKPOINT


def _complete_cases(bundle: Bundle, images: Sequence[str | Path]) -> list[Case]:
    cases: list[Case] = []
    for case in find_cases([Path(image) for image in images], bundle.description):
        if isinstance(case, Incomplete):
            raise case.refusal
        cases.append(case)
    return cases
