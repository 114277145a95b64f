"""What geometry costs a data-loader worker: one 128 x 128 x 128 patch with two classes, on one core.

    python benchmarks/geometry.py [--size 128] [--components 20] [--repeat 9] [--json FILE]

Prints the median of wall and of processor time of each map, and the limit that the project sets itself. Where
other programs run at the same time, the processor time is what the map costs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from nnunet_losses.geometry.maps import MAPS
from nnunet_losses.geometry.recipe import GeometryRecipe

LIMIT = {"cells": 300}  # milliseconds; 60 for every other map


def patch(size: int, components: int) -> torch.Tensor:
    """Return labels (1, size, size, size) with balls of 1 to 12 voxels radius."""
    generator = np.random.default_rng(0)
    grid = np.indices((size,) * 3, dtype=np.float32)
    labels = np.zeros((size,) * 3, np.int16)
    for _ in range(components):
        centre = generator.integers(0, size, 3).reshape(3, 1, 1, 1)
        labels[((grid - centre) ** 2).sum(0) <= generator.integers(1, 13) ** 2] = 1
    return torch.from_numpy(labels[None])


def milliseconds(recipe: GeometryRecipe, target: torch.Tensor, repeat: int) -> tuple[float, float]:
    """Return the medians of wall and of processor time."""
    recipe(target)
    times = []
    for _ in range(repeat):
        start, busy = time.perf_counter(), time.process_time()
        recipe(target)
        times.append((1e3 * (time.perf_counter() - start), 1e3 * (time.process_time() - busy)))
    wall, processor = (round(statistics.median(column), 1) for column in zip(*times, strict=True))
    return wall, processor


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--components", type=int, default=20)
    parser.add_argument("--repeat", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    target = patch(options.size, options.components)
    results = {}
    for name in MAPS:
        wall, processor = milliseconds(GeometryRecipe((name,), channels=2), target, options.repeat)
        limit = LIMIT.get(name, 60)
        results[name] = {"ms": wall, "processor_ms": processor, "limit_ms": limit}
        print(f"{name:20s} {wall:6.1f} ms, {processor:6.1f} ms of the processor, at most {limit} ms")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
