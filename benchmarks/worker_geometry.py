"""What geometry costs a training with nnU-Net: in its data-loader workers, and in the training process.

    python -m benchmarks.worker_geometry [--size 128] [--repeat 5] [--json FILE]

One patch goes through nnU-Net's training transforms and then through ours, in turns. Then the losses of a
batch of two are computed, with the workers' geometry and with geometry of their own. Times are those of one
core at work, so that other programs on the machine disturb them little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from benchmarks.geometry import patch
from nnunet_losses.registry import create_loss, get_loss_spec, list_losses
from nnunet_losses.trainers.supervision import Supervision, deep_supervision_weights
from nnunet_losses.trainers.worker_geometry import BatchGeometry, OutputGeometry

if TYPE_CHECKING:
    from collections.abc import Callable

SCALES = [[0.5**index] * 3 for index in range(5)]
SPACING = (1.0, 0.8, 0.8)
BATCH = 2


def milliseconds(function: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor's time for a call, and what it returns."""
    start = time.process_time()
    value = function()
    return 1e3 * (time.process_time() - start), value


def losses_of(key: str) -> list[Any]:
    """Return the losses of the outputs that count."""
    losses = []
    for scale in SCALES[:-1]:
        spaced = {"spacing": [length / factor for length, factor in zip(SPACING, scale, strict=True)]}
        losses.append(create_loss(key, **(spaced if "spacing" in get_loss_spec(key).parameters else {})))
        losses[-1].set_epoch(80, 100)
    return losses


def measure_worker(
    geometry: BatchGeometry, labels: torch.Tensor, repeat: int
) -> tuple[dict[str, float], list[torch.Tensor]]:
    """Return means of nnU-Net's transforms (they are random) and of ours for a patch; a batch of targets."""
    size = tuple(labels.shape[1:])
    transforms = nnUNetTrainer.get_training_transforms(
        size, (-0.5, 0.5), SCALES, (0, 1, 2), do_dummy_2d_data_aug=False
    )
    ours = geometry.after(lambda **sample: sample)
    image = torch.randn(labels.shape)
    times: dict[str, list[float]] = {"transforms_ms": [], "geometry_ms": []}
    samples = []
    for _ in range(repeat):
        spent, sample = milliseconds(lambda: transforms(image=image, segmentation=labels))
        times["transforms_ms"].append(spent)
        spent, done = milliseconds(lambda sample=sample: ours(**sample))
        times["geometry_ms"].append(spent)
        samples = [*samples, done["segmentation"]][-BATCH:]
    means = {name: statistics.mean(values) for name, values in times.items()}
    return means, [torch.stack(tensors) for tensors in zip(*samples, strict=True)]


def measure_training(
    losses: list[Any], geometry: BatchGeometry, batch: list[torch.Tensor], repeat: int
) -> dict[str, float]:
    """Return medians of the loss of a batch, forward and backward, with the workers' geometry and without."""
    supervision = Supervision(
        losses, deep_supervision_weights(len(SCALES), keep_last=False), ignore_channel=False
    )
    targets = batch[: len(SCALES)]
    logits = [torch.randn(BATCH, 2, *item.shape[2:], requires_grad=True) for item in targets]
    times: dict[str, list[float]] = {"split_ms": [], "loss_ms": [], "own_geometry_ms": []}
    for _ in range(repeat):
        spent, (_, found) = milliseconds(lambda: geometry.split(batch))
        times["split_ms"].append(spent)
        for name, given in (("loss_ms", [{"geometry": item} for item in found]), ("own_geometry_ms", ())):
            with supervision.given(given):
                times[name].append(milliseconds(lambda: supervision(logits, targets).backward())[0])
    return {name: statistics.median(values) for name, values in times.items()}


def measure(key: str, labels: torch.Tensor, repeat: int) -> dict[str, float]:
    """Measure one loss."""
    losses = losses_of(key)
    outputs = tuple(OutputGeometry(loss.geometry_recipe(2), ignore_channel=False) for loss in losses)
    geometry = BatchGeometry(outputs, deep_supervision=True, targets=len(SCALES))
    worker, batch = measure_worker(geometry, labels, repeat)
    sent = sum(tensor.nbytes for tensor in batch[len(SCALES) :]) / 2**20 / BATCH
    return {**worker, "sent_mib": sent, **measure_training(losses, geometry, batch, repeat)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    np.random.seed(0)  # noqa: NPY002 - the one that nnU-Net's transforms draw from
    torch.manual_seed(0)
    labels = patch(options.size, components=20)
    results = {}
    print("| loss | geometry of a patch, ms | sent, MiB | loss of a batch, ms | with own geometry, ms |")
    print("|---|---|---|---|---|")
    for key in (key for key in list_losses() if get_loss_spec(key).geometry):
        results[key] = measure(key, labels, options.repeat)
        row = "| `{}` | {geometry_ms:.0f} | {sent_mib:.1f} | {loss_ms:.0f} | {own_geometry_ms:.0f} |"
        print(row.format(key, **results[key]), flush=True)
    names = ("transforms_ms", "split_ms")
    transforms, split = (statistics.mean(found[name] for found in results.values()) for name in names)
    print(f"\nnnU-Net's transforms of a patch: {transforms:.0f} ms. Splitting a batch: {split:.1f} ms.")
    print(f"Patch of {options.size}^3 voxels, two classes; load {os.getloadavg()[0]:.1f}.")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
