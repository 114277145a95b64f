"""Runs the served pipeline over all images of the benchmark, and keeps what the scores look at.

    python -m benchmarks.detection.looking volume BUNDLE --data ../shared/data --work /tmp/proof

Takes minutes to an hour; goes on where it stopped.
"""

from __future__ import annotations

import argparse
import pickle
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nnunet_losses.serve.approximations import Approximations
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.errors import Refusal
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.safety.contract import check_contract
from nnunet_losses.serve.safety.scores.observation import observe_image
from nnunet_losses.serve.safety.scores.observing import observe
from nnunet_losses.serve.stress.suite import CORRUPTIONS, Family

from .baselines import Seen, uncertainties
from .sources import Item, Looked, items

if TYPE_CHECKING:
    from nnunet_losses.serve.image import Image

SAVE_EVERY = 20
MOST_TILES = 64


def look(segmenter: Segmenter, item: Item) -> Looked:
    """Run one image, whether or not the contract accepts it."""
    description = segmenter.bundle.description
    stub = replace(item, image=None)  # type: ignore[arg-type]
    try:
        check_contract(item.image, description)
        refused = None
    except Refusal as refusal:
        refused = refusal.code.value
    if item.cell is not None and CORRUPTIONS[item.cell.corruption].family is Family.CONTRACT:
        return Looked(stub, refused, None)
    return Looked(stub, refused, seen(segmenter, item.image))


def seen(segmenter: Segmenter, image: Image) -> Seen | None:
    """What the scores and the baselines get to see; None where the pipeline cannot run.

    An image whose header makes it enormous is left to the scores of the image alone: the network would take
    hours. For ours that is less than what they get to see in truth.
    """
    if segmenter.first.steps(image.shape, image.spacing) > MOST_TILES:
        return Seen(observe_image(image), {}, {})
    try:
        preprocessed = segmenter.preprocess(image)
        votes = segmenter.vote(image, prepared=preprocessed)
    except (Refusal, ValueError):
        return None
    (vote,) = votes.votes.values()
    doubt = uncertainties(vote.on_host().logits)
    segmentation = segmenter.conclude(votes)
    return Seen(observe(image, preprocessed, segmentation, segmenter.bundle.description), *doubt)


def run(
    data: str, bundle: Path, folder: Path, work: Path, *, mirror: bool = True, part: tuple[int, int] = (0, 1)
) -> None:
    """Look at all images, or at one part of them; keep files of pickled ``Looked``."""
    approximate = Approximations(mirror=mirror)
    segmenter = Segmenter(approximate.applied_to(Bundle.load(bundle)), threads=1)
    target = work / f"looked_{data}_{part[0]}.pickle"
    known = {key(one.item) for one in looked(data, work)}
    done, start = _load(target), time.perf_counter()
    for index, item in enumerate(items(data, folder, work)):
        if index % part[1] != part[0] or key(item) in known:
            continue
        done.append(look(segmenter, item))
        if len(done) % SAVE_EVERY == 0:
            _save(done, target)
            print(f"{index + 1} images, {time.perf_counter() - start:.0f} s", flush=True)
    _save(done, target)
    print(f"{time.perf_counter() - start:.0f} s: done", flush=True)


def key(item: Item) -> tuple[Any, ...]:
    """What makes an image another one than all others."""
    return item.role, item.name, item.cell, item.kind


def looked(data: str, work: Path) -> list[Looked]:
    """Everything that was looked at so far."""
    return [one for file in sorted(work.glob(f"looked_{data}_*.pickle")) for one in _load(file)]


def _load(file: Path) -> list[Looked]:
    return pickle.loads(file.read_bytes()) if file.exists() else []


def _save(done: list[Looked], file: Path) -> None:
    unfinished = file.with_suffix(".part")
    unfinished.write_bytes(pickle.dumps(done))
    unfinished.replace(file)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", choices=("volume", "hippocampus"))
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder with hippocampus3d")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is kept")
    parser.add_argument("--no-mirror", action="store_true", help="one pass per tile: eight times faster")
    parser.add_argument("--part", default="0/1", help="of several processes, which one this is: 0/2, 1/2")
    given = parser.parse_args()
    part, parts = (int(number) for number in given.part.split("/"))
    run(given.dataset, given.bundle, given.data, given.work, mirror=not given.no_mirror, part=(part, parts))


if __name__ == "__main__":
    main()
