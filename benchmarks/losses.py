"""Time of every loss, forward and backward, in units of nnU-Net's own ``DC_and_CE_loss``.

All losses run in turn, round after round, so that a slow moment of the machine hits all alike; the figure
is the ratio of medians. Losses of other libraries stand beside ours where those are installed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from rich.console import Console
from rich.table import Table

from nnunet_losses import create_loss, list_losses

if TYPE_CHECKING:
    from torch import Tensor

UNIT = "nnU-Net DC_and_CE_loss"
SHAPES = {False: [(2, 3, 64, 96, 96), (2, 3, 96, 128, 128)], True: [(2, 3, 32, 48, 48)]}
LIMITS = {"dice_topk": 2.0, "dice_focal": 1.5, "lovasz": 5.0}  # the others: 1.2
Contender = Callable[["Tensor", "Tensor"], "Tensor"]


def unit() -> Contender:
    """Return nnU-Net's default loss."""
    from nnunetv2.training.loss.compound_losses import DC_and_CE_loss
    from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

    dice = {"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}
    return DC_and_CE_loss(dice, {}, dice_class=MemoryEfficientSoftDiceLoss)


def nnunet_topk() -> Contender:
    """Return nnU-Net's Dice plus TopK."""
    from nnunetv2.training.loss.compound_losses import DC_and_topk_loss

    return DC_and_topk_loss({"batch_dice": False, "smooth": 1e-5, "do_bg": False, "ddp": False}, {"k": 10})


def monai(name: str, **settings: object) -> Callable[[], Contender]:
    """Return the maker of a MONAI loss on class ids."""
    return lambda: getattr(import_module("monai.losses"), name)(
        to_onehot_y=True, softmax=True, include_background=False, **settings
    )


def on_ids(module: str, name: str, **settings: object) -> Callable[[], Contender]:
    """Return the maker of a loss that takes class ids without a channel axis."""

    def make() -> Contender:
        loss = getattr(import_module(module), name)(**settings)
        return lambda logits, target: loss(logits, target[:, 0].long())

    return make


PEERS: dict[str, Callable[[], Contender]] = {
    "nnU-Net DC_and_topk_loss": nnunet_topk,
    "MONAI DiceLoss": monai("DiceLoss"),
    "MONAI DiceCELoss": monai("DiceCELoss"),
    "MONAI DiceFocalLoss": monai("DiceFocalLoss"),
    "MONAI TverskyLoss": monai("TverskyLoss", alpha=0.3, beta=0.7),
    "MONAI GeneralizedDiceLoss": monai("GeneralizedDiceLoss"),
    "smp DiceLoss": on_ids("segmentation_models_pytorch.losses", "DiceLoss", mode="multiclass"),
    "smp FocalLoss": on_ids("segmentation_models_pytorch.losses", "FocalLoss", mode="multiclass"),
    "kornia FocalLoss": on_ids("kornia.losses", "FocalLoss", alpha=0.5, reduction="mean"),
}


def contenders(pattern: str) -> tuple[dict[str, Contender], list[str]]:
    """Return everything that can run here, the unit first, and the names of what is not installed."""
    running: dict[str, Contender] = {UNIT: unit()}
    running |= {key: create_loss(key) for key in list_losses(pattern)}
    absent = []
    for name, make in PEERS.items():
        try:
            running[name] = make()
        except ImportError:
            absent.append(name)
    return running, absent


def batch(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return logits that lean towards the truth, and class ids: background with 20 boxes of classes."""
    generator = torch.Generator().manual_seed(0)
    target = torch.zeros(shape[0], 1, *shape[2:], dtype=torch.int16)
    for sample in target[:, 0]:
        for number in range(20):
            low = [int(torch.randint(size - size // 8, (), generator=generator)) for size in sample.shape]
            box = tuple(slice(at, at + size // 8) for at, size in zip(low, sample.shape, strict=True))
            sample[box] = 1 + number % (shape[1] - 1)
    logits = torch.randn(shape, generator=generator)
    logits.scatter_add_(1, target.long(), torch.full(target.shape, 2.0))
    return logits.requires_grad_(), target


def run_once(loss: Contender, logits: Tensor, target: Tensor) -> float:
    """Return the seconds of one forward and backward pass."""
    logits.grad = None
    start = time.perf_counter()
    loss(logits, target).backward()
    return time.perf_counter() - start


def measure(losses: dict[str, Contender], shape: tuple[int, ...], rounds: int) -> dict[str, float]:
    """Return the median seconds of each loss; the first round warms up."""
    logits, target = batch(shape)
    times: dict[str, list[float]] = {name: [] for name in losses}
    for number in range(rounds + 1):
        for name, loss in losses.items():
            seconds = run_once(loss, logits, target)
            if number:
                times[name].append(seconds)
    return {name: statistics.median(values) for name, values in times.items()}


def show(medians: dict[str, float], shape: tuple[int, ...], rounds: int) -> None:
    """Print one table."""
    table = Table(title=f"forward + backward, logits {shape}, median of {rounds}")
    for column in ("loss", "ms", "units", "at most"):
        table.add_column(column, justify="left" if column == "loss" else "right")
    for name, seconds in medians.items():
        ours = name in list_losses()
        limit, units = LIMITS.get(name, 1.2), seconds / medians[UNIT]
        style = "red" if ours and units > limit else None
        table.add_row(
            name, f"{1e3 * seconds:.1f}", f"{units:.2f}", f"{limit:.1f}" if ours else "", style=style
        )
    Console(width=100).print(table)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one small batch, three rounds")
    parser.add_argument("--only", default="*", help="pattern of our keys")
    parser.add_argument("--rounds", type=int, help="measured rounds; default 9, quick 3")
    parser.add_argument("--threads", type=int, default=int(os.environ.get("OMP_NUM_THREADS", "0")) or None)
    parser.add_argument(
        "--json", type=Path, default=Path("build/bench_losses.json"), help="where the figures go"
    )
    arguments = parser.parse_args()
    rounds = arguments.rounds or (3 if arguments.quick else 9)
    torch.set_num_threads(arguments.threads or min(2, os.cpu_count() or 1))
    losses, absent = contenders(arguments.only)
    machine = {"processor": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    report = {"unit": UNIT, "torch": torch.__version__, **machine, "not_installed": absent, "results": []}
    for shape in SHAPES[arguments.quick]:
        medians = measure(losses, shape, rounds)
        show(medians, shape, rounds)
        units = {name: round(seconds / medians[UNIT], 3) for name, seconds in medians.items()}
        report["results"].append({"shape": shape, "rounds": rounds, "seconds": medians, "units": units})
    if absent:
        print("not installed, so not measured:", ", ".join(absent))
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=2) + "\n")
    print("written:", arguments.json)


if __name__ == "__main__":
    main()
