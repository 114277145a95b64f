"""The demonstration from beginning to end: runs the road, sends files, gathers what came back."""

from __future__ import annotations

import csv
import json
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from . import road
from .findings import Expectation, Model, Overlap, Sent, expectations
from .service import Reply, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from .console import Narrator
    from .plan import Plan
    from .process import Runner
    from .service import Service


@dataclass(eq=False)
class Findings:
    """Everything that the overview shows."""

    models: list[Model] = field(default_factory=list)
    answered: list[Sent] = field(default_factory=list)
    refused: list[Sent] = field(default_factory=list)
    timings: list[tuple[str, float]] = field(default_factory=list)

    @property
    def expectations(self) -> list[Expectation]:
        """What had to hold, judged."""
        return expectations(self.models, self.answered, self.refused)


@dataclass(frozen=True)
class Story:
    """One run of the demonstration."""

    plan: Plan
    runner: Runner
    narrator: Narrator
    findings: Findings = field(default_factory=Findings)

    def tell(self) -> Findings:
        """Go the whole road.

        Raises:
            StepFailed: if a step cannot be done at all.
        """
        plan, runner = self.plan, self.runner
        with self.step("Draw phantom images"):
            road.draw_data(plan, runner)
        with self.step("Plan and preprocess with nnU-Net"):
            road.prepare(plan, runner)
        for trainer in plan.trainers:
            with self.step(f"Train {trainer} with nnU-Net"):
                road.train(plan, runner, trainer)
        for trainer in plan.trainers:
            self.prove(trainer)
        with self.step("Serve both models and send six files"), serving(plan, runner) as service:
            self.ask(service)
        return self.findings

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Announce a step and take its time."""
        start = perf_counter()
        with self.narrator.step(title):
            yield
        self.findings.timings.append((title, perf_counter() - start))

    def prove(self, trainer: str) -> None:
        """Export, verify and predict with one model."""
        plan, runner, name = self.plan, self.runner, self.plan.bundle(trainer).name
        with self.step(f"Export {name}"):
            road.export(plan, runner, trainer)
        with self.step(f"Verify {name} against nnU-Net's predictor"):
            parity = road.verify(plan, runner, trainer)
        with self.step(f"Predict with {name}, without PyTorch"):
            road.predict(plan, runner, trainer)
        size = sum(file.stat().st_size for file in plan.bundle(trainer).rglob("*") if file.is_file())
        self.findings.models.append(Model(trainer, name, parity, self.overlaps(trainer), size))

    def overlaps(self, trainer: str) -> list[Overlap]:
        """Compare the predictions of all test cases with their references."""
        plan = self.plan
        return [
            Overlap.of(
                file.name.removesuffix(plan.ending),
                read_array(file),
                read_array(plan.predictions(trainer) / file.name),
            )
            for file in sorted((plan.raw / "labelsTs").glob(f"*{plan.ending}"))
        ]

    def ask(self, service: Service) -> None:
        """Send three cases that can be answered and three files that cannot."""
        cases = choose_cases(self.plan.raw / "cases.csv")
        self.findings.answered += [self.send_case(service, case, title) for title, case in cases.items()]
        good = self.image_file(next(iter(cases.values())))
        for title, file in make_bad_files(good, self.plan.output / "bad-files", self.plan.ending):
            self.findings.refused.append(Sent(title, file.name, self.replies(service, file, file.name)))

    def send_case(self, service: Service, case: str, title: str) -> Sent:
        """Send one case to both models, keep masks and answers, and compare with the predicted files."""
        plan, file = self.plan, self.image_file(case)
        replies = self.replies(service, file, case)
        masks, same = {}, {}
        for trainer in plan.trainers:
            name, label = plan.bundle(trainer).name, f"{case}{plan.ending}"
            mask = replies[name].mask
            if mask is not None:
                served = keep(mask, plan.output / "served" / name / label)
                masks[name] = read_array(served)
                same[name] = mask == (plan.predictions(trainer) / label).read_bytes()
        reference = read_array(plan.raw / "labelsTs" / f"{case}{plan.ending}")
        return Sent(title, case, replies, masks, same, read_array(file), reference)

    def replies(self, service: Service, file: Path, case: str) -> dict[str, Reply]:
        """Send one file to every model."""
        names = [self.plan.bundle(trainer).name for trainer in self.plan.trainers]
        return {name: service.send(file, model=name, channel="MRI", case=case) for name in names}

    def image_file(self, case: str) -> Path:
        """Return the image of a test case."""
        return self.plan.raw / "imagesTs" / f"{case}_0000{self.plan.ending}"


def choose_cases(table: Path) -> dict[str, str]:
    """Return the test case with most lesions, and the first two without any, by what they are."""
    with table.open(encoding="utf-8") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "test"]
    most = max(rows, key=lambda row: int(row["lesions"]))
    first, second, *_ = (row["case"] for row in rows if row["lesions"] == "0")
    return {
        "the case with most lesions": most["case"],
        "the first lesion-free case": first,
        "the second lesion-free case": second,
    }


def make_bad_files(good: Path, folder: Path, ending: str) -> list[tuple[str, Path]]:
    """Write a truncated image, a text that calls itself an image, and a blank image."""
    folder.mkdir(parents=True)
    whole = good.read_bytes()
    blank = folder / f"blank{ending}"
    write_array(np.zeros_like(read_array(good)), blank)
    return [
        ("a truncated file", keep(whole[: len(whole) // 2], folder / f"truncated{ending}")),
        ("a text named like an image", keep(b"This is no image.\n" * 20, folder / f"text{ending}")),
        ("a blank image", blank),
    ]


def keep(content: bytes, file: Path) -> Path:
    """Write bytes, making folders as needed."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def read_array(file: Path) -> NDArray[Any]:
    """Voxels of an image file, whatever its kind."""
    import SimpleITK as sitk  # noqa: N813, PLC0415 - its usual short name; slow to import

    array: NDArray[Any] = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
    return array


def write_array(array: NDArray[Any], file: Path) -> None:
    """Write voxels to a file of the kind that its name says."""
    import SimpleITK as sitk  # noqa: N813, PLC0415 - its usual short name; slow to import

    sitk.WriteImage(sitk.GetImageFromArray(array), str(file))


def summary(findings: Findings) -> dict[str, Any]:
    """Return the findings for machines."""
    return {
        "expectations": [asdict(expectation) for expectation in findings.expectations],
        "timings": dict(findings.timings),
        "models": {
            model.name: {
                "trainer": model.trainer,
                "parity": json.loads(model.parity.model_dump_json()),
                "overlaps": [asdict(overlap) | {"dice": overlap.dice} for overlap in model.overlaps],
            }
            for model in findings.models
        },
        "replies": {
            sent.case: {
                name: {"status": reply.status, "answer": reply.answer, "problem": reply.problem}
                for name, reply in sent.replies.items()
            }
            for sent in [*findings.answered, *findings.refused]
        },
    }
