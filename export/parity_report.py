"""The verdict over all cases, and where it is kept."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import reduce
from importlib.metadata import version
from operator import add
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.bundle import DESCRIPTION, SUMS
from nnunet_losses.serve.bundle_writing import link_or_copy
from nnunet_losses.serve.schema import Parity

from .bundle_files import whole_or_nothing
from .bundle_writer import CARD, write_description
from .errors import ExportError
from .parity_case import MARGIN, PREPROCESSING_TOLERANCE, CaseParity, Overlap

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nnunet_losses.serve.bundle import Bundle

REPORT = "parity.json"
LEAST_DICE = 0.9999


@dataclass(frozen=True)
class Verification:
    """The verdict and its figures, by case."""

    parity: Parity
    cases: tuple[CaseParity, ...]


def judge(results: Sequence[CaseParity], *, backend: str, disagreements: Sequence[str] = ()) -> Parity:
    """Sum the cases up and decide.

    Args:
        results: what was found, by case.
        backend: engine and precision.
        disagreements: where model.json is not what the model folder gives.
    """
    overlaps = [result.overlaps for result in results if result.overlaps]
    names = overlaps[0] if overlaps else {}
    pooled = {name: reduce(add, (one[name] for one in overlaps), Overlap(0, 0, 0)) for name in names}
    dice = {name: overlap.dice for name, overlap in pooled.items()}
    beyond = sum(result.differing_voxels_beyond_margin for result in results)
    by_case = [f"{result.case}: {failure}" for result in results for failure in result.failures]
    failures = [*disagreements, *by_case]
    if beyond:
        failures.append(f"{beyond} voxels differ although their two best logits are more than {MARGIN} apart")
    failures += [
        f"Dice of {name} is {value:.6f}, below {LEAST_DICE}"
        for name, value in dice.items()
        # one undecided voxel in 5000 is already less, and says nothing
        if value < LEAST_DICE and pooled[name].differing > len(results)
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


def store(path: Path, bundle: Bundle, verification: Verification, *, tile_tolerance: float) -> None:
    """Replace the bundle by one that holds the report; unchanged files are linked, not copied."""
    rewritten = shutil.ignore_patterns(DESCRIPTION, CARD, REPORT, SUMS)
    try:
        with whole_or_nothing(path, overwrite=True) as folder:
            shutil.copytree(
                bundle.root, folder, ignore=rewritten, copy_function=link_or_copy, dirs_exist_ok=True
            )
            (folder / REPORT).write_text(json.dumps(_plain(verification, tile_tolerance), indent=2) + "\n")
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
