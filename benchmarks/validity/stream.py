"""A long stream of phantoms that nobody has seen, and what the scores look at in each.

    python -m benchmarks.validity.stream BUNDLE --work /tmp/proof --cases 42000 [--part 0/2]

The network's share is kept in chunks; the intensities, which are whole numbers from 0 to 255, as bytes.
Interrupted runs go on where they stopped. The bundle is the one of benchmarks/detection/phantoms.py.
"""

from __future__ import annotations

import argparse
import pickle
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.detection.phantoms import PLANE, image_of
from nnunet_losses.serve.approximations import Approximations
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.errors import Refusal
from nnunet_losses.serve.formats import read_image
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.safety.contract import check_contract
from nnunet_losses.serve.safety.scores.observing import observe

from .kept import Kept, keep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nnunet_losses.serve.image import Image
    from nnunet_losses.serve.safety.scores.observation import Observation

CHUNK = 250


def observer(bundle: Path) -> Segmenter:
    """The served pipeline; one pass per tile, for speed. Calibrated and tested with the same."""
    one_pass = Approximations(mirror=False).applied_to(Bundle.load(bundle))
    return Segmenter(one_pass, threads=1, backend="cpu")


def look(segmenter: Segmenter, image: Image) -> tuple[str | None, Observation]:
    """Contract, pipeline and observation of one image."""
    description, refused = segmenter.bundle.description, None
    try:
        check_contract(image, description)
    except Refusal as refusal:
        refused = refusal.code.value
    preprocessed = segmenter.preprocess(image)
    segmentation = segmenter.conclude(segmenter.vote(image, prepared=preprocessed))
    return refused, observe(image, preprocessed, segmentation, description)


def chunk(segmenter: Segmenter, number: int) -> list[Kept]:
    """Some consecutive phantoms of the stream."""
    indices = range(number * CHUNK, (number + 1) * CHUNK)
    images = (image_of(PLANE.fresh(index), PLANE.settings.ending) for index in indices)
    return [keep(*look(segmenter, image)) for image in images]


def training_cases(segmenter: Segmenter, folder: Path) -> list[Observation]:
    """Observations of the cases that the network was trained with, from their files."""
    reader = segmenter.bundle.description.reader
    names = PLANE.splits()[0]["train"]
    images = (read_image([folder / "imagesTr" / f"{name}_0000.png"], reader=reader) for name in names)
    return [look(segmenter, image)[1] for image in images]


def chunk_file(work: Path, number: int) -> Path:
    """Where a chunk lies."""
    return work / "stream" / f"{number:04d}.pickle"


def stream(work: Path) -> Iterator[Kept]:
    """Every case that was observed, in order, without gaps."""
    number = 0
    while chunk_file(work, number).exists():
        yield from pickle.loads(chunk_file(work, number).read_bytes())
        number += 1


def produce(bundle: Path, work: Path, numbers: Iterable[int]) -> None:
    """Observe the chunks that there are not yet."""
    segmenter, start = observer(bundle), time.perf_counter()
    (work / "stream").mkdir(parents=True, exist_ok=True)
    for number in numbers:
        target = chunk_file(work, number)
        if target.exists():
            continue
        unfinished = target.with_suffix(".part")
        unfinished.write_bytes(pickle.dumps(chunk(segmenter, number)))
        unfinished.replace(target)
        print(f"chunk {number}: {time.perf_counter() - start:.0f} s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for what is kept")
    parser.add_argument("--cases", type=int, required=True, help="how long the stream is")
    parser.add_argument("--part", default="0/1", help="of several processes, which one this is: 0/2, 1/2")
    given = parser.parse_args()
    part, parts = (int(number) for number in given.part.split("/"))
    produce(given.bundle, given.work, range(part, -(-given.cases // CHUNK), parts))


if __name__ == "__main__":
    main()
