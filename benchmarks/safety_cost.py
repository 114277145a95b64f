"""What the safety stages cost beside the network: shares of the processor time of an inference.

    python benchmarks/safety_cost.py BUNDLE IMAGE [--backend auto] [--repeats 15] [--json FILE]

The bundle is calibrated; the image is one of its kind (any with its file ending, in the usual order of
channels). It is answered as it is, and tiled to about ``--larger`` times as many voxels along each axis; with
the bundle's mirroring, and without. Each stage runs by itself, in turns with the others, after a pass of the
network, which leaves the caches as an inference would; medians of the processor's seconds. What the network's
further outputs cost is measured by the same network without them (needs the package ``onnx``; ONNX Runtime).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nnunet_losses.serve.approximations import Approximations
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.formats import Case, find_cases, read_image
from nnunet_losses.serve.predictor import Predictor
from nnunet_losses.serve.safety.candidates import candidates
from nnunet_losses.serve.safety.contract import check_contract
from nnunet_losses.serve.safety.presence_decision import decide
from nnunet_losses.serve.safety.quality import expected
from nnunet_losses.serve.safety.scores.observation import observe_image

if TYPE_CHECKING:
    from collections.abc import Callable

    from nnunet_losses.serve.image import Image

PASSES = 3  # over the whole image at most; a stage's turn is after one tile
MANY = 50  # passes of the network, whose sum is steady enough


@dataclass(frozen=True)
class Row:
    """One image with one way to look at it.

    Attributes:
        voxels: of the image (z, y, x).
        passes: of the network.
        inference: the processor's seconds of preprocessing, network, stitching and labels.
        stages: seconds of each safety stage.
        outputs: share of the network's time that its further outputs take.
    """

    voxels: tuple[int, ...]
    mirrored: bool
    passes: int
    inference: float
    stages: dict[str, float]
    outputs: float | None

    @property
    def shares(self) -> dict[str, float]:
        """Of the inference."""
        found = {name: seconds / self.inference for name, seconds in self.stages.items()}
        return found if self.outputs is None else {**found, "network outputs": self.outputs}

    @property
    def share(self) -> float:
        """Of everything together."""
        return sum(self.shares.values())


def cpu(run: Callable[[], object]) -> float:
    """The processor's seconds, of all threads."""
    start = time.process_time()
    run()
    return time.process_time() - start


def measured(predictor: Predictor, image: Image, repeats: int, outputs: float | None) -> Row:
    """Run the whole way a few times, and every safety stage many times in turns."""
    engine: Any = predictor.engine
    description = predictor.bundle.description
    course = predictor.prepare(Case("", ()))  # reads the image that the predictor was given
    if course.breach is not None:
        raise SystemExit(f"The contract refuses the image: {course.breach}")
    prepared, found = engine.prepare(image), engine.vote(image)
    made = engine.conclude(found)
    assert course.seen is not None, "the bundle is calibrated"
    assert predictor.judge is not None, "asked before"
    stages: dict[str, Callable[[], object]] = {
        "contract": lambda: check_contract(image, description, hints=False),
        "observation": lambda: (observe_image(image), predictor.examiner.look(prepared)),
        "judging": lambda: predictor.judge.judge(image, course.seen, made),  # type: ignore[union-attr] # asked
        "presence and quality": lambda: presence_and_quality(predictor, image, found, made),
    }
    tile = engine.tiles(prepared)[0]
    spent: dict[str, list[float]] = {name: [] for name in stages}
    for _ in range(repeats):
        for name, run in stages.items():
            engine.network(0).run(tile)
            spent[name].append(cpu(run))
    times = min(PASSES, repeats) if made.forward_passes < MANY else 1
    whole = [cpu(lambda: engine.conclude(engine.vote(image))) for _ in range(times)]
    look = statistics.median(cpu(lambda: predictor.examiner.look(prepared)) for _ in range(repeats))
    return Row(
        tuple(image.shape),
        bool(description.members[0].tiling.mirror_axes),
        made.forward_passes,
        statistics.median(whole) - look,
        {name: statistics.median(times) for name, times in spent.items()},
        outputs,
    )


def presence_and_quality(predictor: Predictor, image: Image, found: Any, made: Any) -> None:
    """What decides whether there is anything, and what Dice is to be expected."""
    if predictor.presence is None and predictor.quality is None:
        return
    labels = candidates(found, made.mask, predictor.bundle.description, spacing=image.spacing)
    if predictor.presence is not None:
        decide(predictor.presence, labels)
    if predictor.quality is not None:
        expected(predictor.quality, labels)


def enlarged(image: Image, factor: float) -> Image:
    """The image beside itself, cut to so many times its size along each axis of more than one voxel."""
    shape = [round(size * factor) if size > 1 else 1 for size in image.shape]
    times = [-(-new // old) for new, old in zip(shape, image.shape, strict=True)]
    data = np.tile(image.data, (1, *times))[:, : shape[0], : shape[1], : shape[2]]
    return replace(image, data=np.ascontiguousarray(data))


def cost_of_outputs(bundle: Bundle, repeats: int) -> float | None:
    """Share of the network's time that goes into the features; None where that cannot be measured here."""
    try:
        import onnx
        import onnxruntime
    except ImportError:
        return None
    member = bundle.description.members[0]
    path = bundle.root / member.folds[0].file
    model = onnx.load(path)
    logits = [output for output in model.graph.output if output.name == "logits"]
    if len(logits) == len(model.graph.output):
        return 0.0
    del model.graph.output[:]
    model.graph.output.extend(logits)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(model, Path(folder) / "plain.onnx")
        files = (path, Path(folder) / "plain.onnx")
        sessions = [
            onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            for file in files
        ]
    name = sessions[0].get_inputs()[0].name
    channels = bundle.description.network_channels(member)
    shape = (1, channels, *member.tiling.patch_size)
    tile = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    ratios = []
    for turn in range(repeats + 1):  # the first one warms up
        order = sessions if turn % 2 else sessions[::-1]
        both = {id(session): cpu(lambda s=session: s.run(None, {name: tile})) for session in order}  # type: ignore[misc]
        ratios.append(both[id(sessions[0])] / both[id(sessions[1])])
    return 1 - 1 / statistics.median(ratios[1:])


def run(arguments: argparse.Namespace) -> list[Row]:
    """All four rows."""
    bundle = Bundle.load(arguments.bundle)
    if bundle.calibration is None:
        raise SystemExit("The bundle is not calibrated: run nnunet-losses calibrate first.")
    case = next((c for c in find_cases([arguments.image], bundle.description) if isinstance(c, Case)), None)
    if case is None:
        raise SystemExit(f"{arguments.image} holds no complete case of this model.")
    image = read_image(case.files, bundle.description.reader)
    outputs = cost_of_outputs(bundle, arguments.repeats)
    rows = []
    for mirror in (False, True):
        for picture in (image, enlarged(image, arguments.larger)):
            predictor = Predictor(
                mirrored(bundle) if mirror else bundle,
                backend=arguments.backend,
                precision="float32",
                threads=1,
                approximations=Approximations(mirror=mirror),
                read=lambda *_args, picture=picture, **_options: picture,
            )
            rows.append(measured(predictor, picture, arguments.repeats, outputs))
            print(line(rows[-1]), flush=True)
    return rows


def mirrored(bundle: Bundle) -> Bundle:
    """The bundle, mirroring along all axes where it mirrors along none: what that costs, not what it says."""
    members = bundle.description.members
    if any(member.tiling.mirror_axes for member in members):
        return bundle
    changed = tuple(
        member.model_copy(
            update={
                "tiling": member.tiling.model_copy(
                    update={"mirror_axes": tuple(range(len(member.tiling.patch_size)))}
                )
            }
        )
        for member in members
    )
    view = Bundle(bundle.root, bundle.description.model_copy(update={"members": changed}))
    view.origin = bundle
    view.__dict__["calibration"] = bundle.calibration
    return view


def line(row: Row) -> str:
    """One row of the table."""
    stages = "  ".join(f"{name} {share:.2%}" for name, share in row.shares.items())
    size = " x ".join(map(str, row.voxels))
    mirroring = "mirrored" if row.mirrored else "once"
    seconds = sum(row.stages.values())
    whole = f"{size}, {mirroring}, {row.passes} passes, {row.inference:.2f} s"
    return f"{whole}: {row.share:.2%} ({1000 * seconds:.1f} ms, and outputs)  {stages}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("image", type=Path)
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--larger", type=float, default=1.6)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    rows = run(arguments)
    print(f"load of the machine: {load:.1f} before, {os.getloadavg()[0]:.1f} after")
    if arguments.json is not None:
        content = [{**vars(row), "shares": row.shares, "share": row.share} for row in rows]
        text = json.dumps({"load": [load, os.getloadavg()[0]], "rows": content}, indent=1)
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
