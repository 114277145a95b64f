"""The proof: a bundle against nnU-Net's own predictor, on the user's images."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from importlib.metadata import version
from operator import add
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.bundle import DESCRIPTION, SUMS, Bundle, file_sha256
from nnunet_losses.serve.formats.cases import Incomplete, find_cases
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.schema import Parity

from .bundle_files import whole_or_nothing
from .bundle_writer import CARD, write_description
from .errors import CheckpointMismatch, ExportError
from .model_folder import read_model_folder
from .onnx_graph import TOLERANCE
from .parity_case import MARGIN, PREPROCESSING_TOLERANCE, CaseParity, Overlap, compare_case
from .reference import reference_predictor

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nnunet_losses.serve.backends import Backend
    from nnunet_losses.serve.formats.cases import Case
    from nnunet_losses.serve.schema import Fold

    from .model_folder import ModelFolder

REPORT = "parity.json"
# Tile logits, share of their range. OpenVINO's float32 convolutions were measured at up to 2e-5 of it; a
# wrong axis or statistic makes 1e-2 and more.
TILE_TOLERANCES = {"CPUExecutionProvider": TOLERANCE}
OTHER_TILE_TOLERANCE = 1e-4
LEAST_DICE = 0.9999


@dataclass(frozen=True)
class Verification:
    """The verdict and its figures, by case."""

    parity: Parity
    cases: tuple[CaseParity, ...]


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

    Compared are the preprocessed images, the tiles and each fold's tile logits, and the masks from files to
    files. It passes where preprocessed images and tile logits differ by no more than their tolerance, no
    voxel differs whose two best logits (nnU-Net's, on the image's own grid) are more than 0.1 apart, and each
    label's Dice between the two masks, pooled over all cases, is at least 0.9999.

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
    verification = Verification(
        _judge(results, f"{segmenter.provider}, {segmenter.precision}"), tuple(results)
    )
    if write:
        _store(Path(bundle_path), bundle, verification, tolerance)
    return verification


def _matching_model(
    bundle: Bundle, folder: str | Path, *, folds: Sequence[int | str] | None, checkpoint: str | None
) -> ModelFolder:
    """Read the folds that the bundle holds; their checkpoints must be the exported ones."""
    held = bundle.description.members[0].folds
    names = [fold.name for fold in held]
    if folds and [str(fold) for fold in folds] != names:
        wanted = " ".join(map(str, folds))
        raise ExportError(
            f"The bundle holds folds {' '.join(names)}, not {wanted}. Leave --folds out, or export again."
        )
    file = checkpoint or _exported_checkpoint(Path(folder), held)
    model = read_model_folder(folder, folds=names, **({"checkpoint": file} if file else {}))
    for fold, found in zip(held, model.checkpoints, strict=True):
        if fold.checkpoint_sha256 != found.sha256:
            raise CheckpointMismatch(fold.name, found.path, fold.checkpoint_sha256, found.sha256)
    return model


def _exported_checkpoint(folder: Path, held: Sequence[Fold]) -> str | None:
    """Find the name of the checkpoint file that was exported, by its hash."""
    first = held[0]
    for path in sorted((folder / f"fold_{first.name}").glob("*.pth")):
        if file_sha256(path) == first.checkpoint_sha256:
            return path.name
    return None


def _complete_cases(bundle: Bundle, images: Sequence[str | Path]) -> list[Case]:
    cases: list[Case] = []
    for case in find_cases([Path(image) for image in images], bundle.description):
        if isinstance(case, Incomplete):
            raise case.refusal
        cases.append(case)
    return cases


def _judge(results: Sequence[CaseParity], backend: str) -> Parity:
    overlaps = [result.overlaps for result in results if result.overlaps]
    names = overlaps[0] if overlaps else {}
    dice = {name: reduce(add, (one[name] for one in overlaps), Overlap(0, 0, 0)).dice for name in names}
    beyond = sum(result.differing_voxels_beyond_margin for result in results)
    failures = [f"{result.case}: {failure}" for result in results for failure in result.failures]
    if beyond:
        failures.append(f"{beyond} voxels differ although their two best logits are more than {MARGIN} apart")
    failures += [
        f"Dice of {name} is {value:.6f}, below {LEAST_DICE}"
        for name, value in dice.items()
        if value < LEAST_DICE
    ]
    return Parity(
        passed=not failures,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        reference=f"nnunetv2 {version('nnunetv2')}, torch {version('torch')}, cpu",
        backend=backend,
        cases=len(results),
        tiles=sum(result.tiles for result in results),
        max_tile_difference=max(
            (d for result in results for d in result.tile_differences.values()), default=0.0
        ),
        differing_voxels=sum(result.differing_voxels for result in results),
        differing_voxels_beyond_margin=beyond,
        voxels=sum(result.voxels for result in results),
        dice=dice,
        failures=tuple(failures),
    )


def _store(path: Path, bundle: Bundle, verification: Verification, tolerance: float) -> None:
    """Replace the bundle by one that holds the report; unchanged files are linked, not copied."""
    rewritten = shutil.ignore_patterns(DESCRIPTION, CARD, REPORT, SUMS)
    try:
        with whole_or_nothing(path, overwrite=True) as folder:
            shutil.copytree(
                bundle.root, folder, ignore=rewritten, copy_function=_link_or_copy, dirs_exist_ok=True
            )
            (folder / REPORT).write_text(json.dumps(_plain(verification, tolerance), indent=2) + "\n")
            write_description(folder, bundle.description.model_copy(update={"parity": verification.parity}))
    except OSError as error:
        raise ExportError(
            f"The report cannot be stored in {path}: {error}. Pass --no-write to leave it out."
        ) from error


def _plain(verification: Verification, tolerance: float) -> dict[str, Any]:
    return {
        "parity": verification.parity.model_dump(mode="json"),
        "limits": {
            "preprocessing_difference": PREPROCESSING_TOLERANCE,
            "tile_difference": tolerance,
            "differing_voxels_beyond_margin": 0,
            "margin": MARGIN,
            "dice": LEAST_DICE,
        },
        "cases": [case.plain() for case in verification.cases],
    }


def _link_or_copy(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
