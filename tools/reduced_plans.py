"""Small plans beside nnU-Net's own, for quick trainings: ``nnUNetv2_train ... -p nnUNetReducedPlans``.

python -m tools.reduced_plans "$nnUNet_preprocessed/Dataset901_Phantom" --features 8 16 32 --patch 64 64
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nnunet_losses.compare.reduced_plans import Reduction, reduced_plans, write_reduced_plans

__all__ = ["Reduction", "main", "reduced_plans", "write_reduced_plans"]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Write small plans beside nnU-Net's own.")
    parser.add_argument("folder", type=Path, help="nnUNet_preprocessed/DatasetNNN_Name")
    parser.add_argument("--name", default="nnUNetReducedPlans", help="name of the new plans, for -p")
    parser.add_argument("--features", type=int, nargs="+", default=[8, 16, 32, 64], help="channels per stage")
    parser.add_argument("--convolutions", type=int, default=1, help="convolutions or blocks per stage")
    parser.add_argument("--patch", type=int, nargs="+", help="largest patch (z,) y, x")
    parser.add_argument("--batch", type=int, help="batch size")
    given = parser.parse_args(arguments)
    patch = tuple(given.patch) if given.patch else None
    try:
        reduction = Reduction(tuple(given.features), given.convolutions, patch, given.batch)
        print(f"Wrote {write_reduced_plans(given.folder, reduction, name=given.name)}")
    except (ValueError, FileNotFoundError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
