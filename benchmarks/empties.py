"""Is there anything? Four losses on lesion-free and lesion-bearing images, raw and after calibration.

    python benchmarks/empties.py --data ../shared/data --work /tmp/empties

Trains with the stock command, exports, and runs the bundles with ONNX Runtime or OpenVINO. On phantoms every
draw makes new cases: some calibrate, others are answered. On polyps, where ten test images are lesion-free,
the validation cases calibrate and the test cases are answered. Interrupted runs go on where they stopped.
Writes ``empties.json`` and ``empties.md`` into the work folder.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.stats import binomtest

from nnunet_losses.phantom import Phantom, case_seed, make_case, write_case, write_dataset
from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.formats import read_image, read_mask
from nnunet_losses.serve.pipeline.segment import Segmenter
from nnunet_losses.serve.safety.candidates import CaseCandidates, candidates
from nnunet_losses.serve.safety.presence_decision import decide
from nnunet_losses.serve.safety.presence_fit import fit_presence

sys.path.insert(0, str(Path(__file__).parent))
from nnunet_runs import Dataset, Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from nnunet_losses.serve.image import Image

LOSSES = {"ce": "CE", "dice_ce": "DiceCE", "dice": "Dice", "blob_dice_ce": "BlobDiceCE"}
EPOCHS = 4
SETTINGS = Phantom(
    size=(64, 64), spacing=(1.0, 1.0), lesions=(1, 3), contrast=(0.12, 0.4), noise=0.06, labelling="lesion"
)
TRAINING_SEED, DRAWN_SEED = 6001, 6002
ALPHA = 0.05
CALIBRATION, TEST = 19, 10  # cases of each kind in a draw; alpha = .05 needs 19
ANSWERS = ("present", "indeterminate", "empty")
Draw = dict[str, Any]


@dataclass(frozen=True)
class Answerer:
    """One bundle, and what it makes of an image."""

    segmenter: Segmenter

    @classmethod
    def open(cls, bundle: Path) -> Answerer:
        """Open a bundle on one thread."""
        return cls(Segmenter(Bundle.load(bundle), threads=1))

    def look(self, name: str, image: Image, reference: NDArray[Any]) -> CaseCandidates:
        """Segment a case and find its candidates."""
        votes = self.segmenter.vote(image)
        mask = self.segmenter.conclude(votes).mask
        description = self.segmenter.bundle.description
        found = candidates(votes, mask, description, spacing=image.spacing, reference=reference)
        return CaseCandidates(case=name, labels=found)

    def look_at_file(self, file: Path, reference: Path) -> CaseCandidates:
        """Segment a file of one channel or one picture."""
        image = read_image((file,), reader=self.segmenter.bundle.description.reader)
        return self.look(file.name, image, read_mask(reference))


def phantoms(folder: Path, draw: int) -> Iterator[tuple[str, Path, Path]]:
    """New cases of a draw: name, image, labels. Half of each role is lesion-free."""
    for index in range(2 * (CALIBRATION + TEST)):
        settings = replace(SETTINGS, lesions=(0, 0)) if index % 2 else SETTINGS
        case = make_case(settings, case_seed(DRAWN_SEED, split=2 + draw, index=index))
        role = "calibration" if index < 2 * CALIBRATION else "test"
        name = f"{role}_{index:03d}"
        (image,) = write_case(case, name, images=folder, ending=SETTINGS.ending)
        labels = folder / f"{name}.npy"
        np.save(labels, case.labels.reshape(1, *case.labels.shape))
        yield name, image, labels


def drawn(answerers: dict[str, Answerer], draw: int) -> dict[str, Draw]:
    """One draw: for each loss, what is answered of new cases after a calibration with others."""
    with TemporaryDirectory() as name:
        cases = list(phantoms(Path(name), draw))
        return {loss: answered(partial(seen, one), cases) for loss, one in answerers.items()}


def seen(answerer: Answerer, name: str, image: Path, labels: Path) -> CaseCandidates:
    """What a bundle makes of a phantom."""
    read = read_image((image,), reader=answerer.segmenter.bundle.description.reader)
    return answerer.look(name, read, np.load(labels))


def answered(look: Callable[..., CaseCandidates], cases: Sequence[tuple[str, Path, Path]]) -> Draw:
    """Calibrate with some cases, and answer the others."""
    found = [look(*case) for case in cases]
    calibration = [case for case in found if case.case.startswith("calibration")]
    test = [case for case in found if case.case.startswith("test")]
    return counted(calibration, test)


def counted(calibration: Sequence[CaseCandidates], test: Iterable[CaseCandidates]) -> Draw:
    """How often what was answered, of lesion-free and of lesion-bearing cases."""
    section = fit_presence(calibration, false_alarms=ALPHA, misses=ALPHA)
    counts: dict[str, Counter[str]] = {
        f"{kind} {stage}": Counter() for kind in ("free", "bearing") for stage in ("raw", "calibrated")
    }
    for case in test:
        (label,) = case.labels
        kind = "bearing" if label.bears else "free"
        decision = decide(section, case.labels).get(label.label)
        counts[f"{kind} raw"]["present" if label.components else "empty"] += 1
        counts[f"{kind} calibrated"]["indeterminate" if decision is None else decision.presence.value] += 1
    (known,) = section.labels or (None,)
    return {
        "guarantee": "none" if known is None else known.guarantee.value,
        "score": "none" if known is None else known.score.kind,
        "lower": None if known is None else known.lower,
        "upper": None if known is None else known.upper,
        "counts": {name: dict(counter) for name, counter in counts.items()},
    }


def phantom_study(runs: Runs, draws: int) -> dict[str, list[Draw]]:
    """All draws; those that are in the file are not repeated."""
    source = runs.work / "data"
    if not (source / "Dataset601_phantom").exists():
        write_dataset(source, cases=80, test_cases=0, lesion_free=0.0, seed=TRAINING_SEED,
                      name="Dataset601_phantom", settings=SETTINGS)  # fmt: skip
    small = ("--features", "8", "16", "32", "--batch", "8", "--patch", "64", "64")
    dataset = Dataset(601, "phantom", source / "Dataset601_phantom", "2d", small)
    bundles = {loss: runs.bundle(runs.trained(dataset, trainer(loss))) for loss in LOSSES}
    file = runs.work / "draws.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    results = [json.loads(line) for line in lines]
    answerers = (
        {loss: Answerer.open(bundle) for loss, bundle in bundles.items()} if len(lines) < draws else {}
    )
    for draw in range(len(lines), draws):
        results.append(drawn(answerers, draw))
        with file.open("a") as stream:
            stream.write(json.dumps(results[-1]) + "\n")
    return {loss: [result[loss] for result in results[:draws]] for loss in LOSSES}


def trainer(loss: str) -> str:
    """Class name of a short training."""
    return f"nnUNetTrainer{LOSSES[loss]}_{EPOCHS}epochs"


def polyp_study(runs: Runs, source: Path) -> dict[str, Draw]:
    """Calibrate with the validation cases, all with a polyp; answer the test cases."""
    dataset = Dataset(502, "polyp2d", source, "2d", ("--batch", "6", "--patch", "128", "128"))
    results = {}
    for loss in LOSSES:
        file = runs.work / f"polyp2d_{loss}.json"
        if not file.exists():
            answerer = Answerer.open(runs.bundle(runs.trained(dataset, trainer(loss))))
            splits = runs.preprocessed(dataset) / "splits_final.json"
            names = json.loads(splits.read_text())[0]["val"]
            validation = [look_at(answerer, source, "Tr", name) for name in names]
            tests = sorted(path.stem for path in (source / "labelsTs").glob("*.png"))
            draw = counted(validation, [look_at(answerer, source, "Ts", name) for name in tests])
            file.write_text(json.dumps(draw | {"calibration cases": len(names)}))
        results[loss] = json.loads(file.read_text())
    return results


def look_at(answerer: Answerer, source: Path, split: str, name: str) -> CaseCandidates:
    """What a bundle makes of a picture of the data set."""
    image = source / f"images{split}" / f"{name}_0000.png"
    return answerer.look_at_file(image, source / f"labels{split}" / f"{name}.png")


def shares(draws: Sequence[Draw], name: str) -> dict[str, tuple[float, float]]:
    """Mean share of each answer over draws, and the mean's standard error."""
    rows = np.array([[draw["counts"][name].get(answer, 0) for answer in ANSWERS] for draw in draws], float)
    rows /= rows.sum(axis=1, keepdims=True)
    errors = rows.std(axis=0, ddof=1) / np.sqrt(len(rows)) if len(rows) > 1 else np.full(3, np.nan)
    return {
        answer: (float(mean), float(error))
        for answer, mean, error in zip(ANSWERS, rows.mean(axis=0), errors, strict=True)
    }


def kept(draws: Sequence[Draw]) -> bool:
    """Whether the lesion-free cases answered present keep their level, within two standard errors."""
    mean, error = shares(draws, "free calibrated")["present"]
    return mean <= ALPHA + 2 * error


def phantom_table(study: dict[str, list[Draw]]) -> str:
    """Shares of answers, with standard errors over draws, in percent."""
    lines = ["| loss | images | | present | indeterminate | empty |", "| --- | --- | --- | --- | --- | --- |"]
    for loss, draws in study.items():
        for kind, what in (("free", "lesion-free"), ("bearing", "with lesions")):
            for stage in ("raw", "calibrated"):
                cells = [
                    f"{100 * mean:.1f} ± {100 * error:.1f}"
                    for mean, error in shares(draws, f"{kind} {stage}").values()
                ]
                lines.append(f"| `{loss}` | {what} | {stage} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def polyp_table(study: dict[str, Draw]) -> str:
    """Counts of answers, with exact 95 % intervals of the share answered present."""
    head = "| loss | images | | present | indeterminate | empty | share present, 95 % interval |"
    lines = [head, "|" + " --- |" * 7]
    for loss, draw in study.items():
        for kind, what in (("free", "lesion-free"), ("bearing", "with polyp")):
            for stage in ("raw", "calibrated"):
                numbers = [draw["counts"][f"{kind} {stage}"].get(answer, 0) for answer in ANSWERS]
                interval = binomtest(numbers[0], sum(numbers)).proportion_ci(method="exact")
                cells = [*map(str, numbers), f"{interval.low:.0%} to {interval.high:.0%}"]
                lines.append(f"| `{loss}` | {what} | {stage} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def summary(phantom: dict[str, list[Draw]], polyp: dict[str, Draw]) -> dict[str, Any]:
    """Everything that the tables show, for programs."""
    return {
        "alpha": ALPHA,
        "draws": {loss: len(draws) for loss, draws in phantom.items()},
        "cases of a draw": {"calibration": 2 * CALIBRATION, "test": 2 * TEST},
        "kept": {loss: kept(draws) for loss, draws in phantom.items()},
        "phantom": {
            loss: {name: shares(draws, name) for name in draws[0]["counts"]}
            for loss, draws in phantom.items()
        },
        "polyp2d": polyp,
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="folder with polyp2d; without it only phantoms")
    parser.add_argument("--work", type=Path, required=True, help="folder for everything that is made")
    parser.add_argument("--draws", type=int, default=100, help="of new phantoms")
    arguments = parser.parse_args()
    runs = Runs(arguments.work)
    phantom = phantom_study(runs, arguments.draws)
    polyp = {} if arguments.data is None else polyp_study(runs, arguments.data.resolve() / "polyp2d")
    text = phantom_table(phantom) + ("\n" + polyp_table(polyp) if polyp else "")
    (runs.work / "empties.json").write_text(json.dumps(summary(phantom, polyp), indent=2))
    (runs.work / "empties.md").write_text(text)
    print(text)
    return 0 if all(map(kept, phantom.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
