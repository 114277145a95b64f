"""The whole of ``nnunet-losses calibrate`` and ``nnunet-losses recalibrate``, without the command line."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from nnunet_losses.serve.bundle import Bundle
from nnunet_losses.serve.formats import Incomplete, find_cases
from nnunet_losses.serve.safety.calibration import SiteOverlay
from nnunet_losses.serve.safety.distribution import score_all
from nnunet_losses.serve.safety.judging import ranked_positions
from nnunet_losses.serve.safety.learnt import LearntContract
from nnunet_losses.serve.safety.scores.scorer import DOUBTS, fit_with_doubts
from nnunet_losses.serve.safety.stored import packed

from .building import BuildSettings, Built, build
from .errors import CalibrationError
from .planning import Plan, Planned, Sources, make_plan
from .record_store import RecordStore
from .records import Refused, Role
from .running import EngineChoice, Runner
from .writing import calibration_hash, write_calibration, write_site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from nnunet_losses.serve.schema import ModelDescription

    from .records import CaseRecord

    Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Job:
    """How a calibration runs.

    Attributes:
        engine: on what the networks run.
        settings: levels.
        records: folder for what is known of each case already; None puts it beside the bundle.
        keep_records: whether it stays when all is done.
        disagreement: whether it is also ranked how far mirrored passes and folds agree, and how open the
            answer is. A site's cases are ranked as the calibration was.
    """

    engine: EngineChoice = EngineChoice()  # noqa: RUF009 - frozen
    settings: BuildSettings = field(default_factory=BuildSettings)
    records: Path | None = None
    keep_records: bool = False
    disagreement: bool = False

    @property
    def build(self) -> BuildSettings:
        """Settings with the scores that are wanted."""
        if not self.disagreement:
            return self.settings
        return replace(self.settings, distribution=replace(self.settings.distribution, fit=fit_with_doubts))


@dataclass(frozen=True, eq=False)
class Calibrated:
    """What came out.

    Attributes:
        built: the calibration.
        refused: cases that the contract refused, and why; where they are ranked, they count as strangest.
    """

    built: Built
    refused: tuple[Refused, ...]


def calibrate(
    target: Path, sources: Sources, job: Job = Job(), progress: Progress = lambda _name, _done, _all: None
) -> Calibrated:
    """Calibrate a bundle, and store the calibration in it.

    Args:
        target: the bundle: a folder, or a zip file.
        sources: where cases come from.
        job: how it runs.
        progress: called with (case, cases done, cases to do).

    Raises:
        CalibrationError: no case is new to the networks, files do not fit each other, or nothing can be
            written beside the bundle.
        Refusal: bundle or cases cannot be read, or an engine fails.
    """
    bundle = Bundle.load(target, calibrated=False)
    plan = make_plan(bundle.description, sources)
    runner = Runner(bundle, job.engine, compares=job.disagreement)
    store = _open_store(target, job, bundle.description, runner.engine)
    records, refused = runner.run_all(plan.cases, store, progress)
    built = build(
        records,
        plan,
        bundle.description,
        engine=runner.engine,
        settings=job.build,
        refused=refused,
    )
    write_calibration(target, bundle, built.calibration, built.arrays)
    if not job.keep_records:
        store.remove()
    return Calibrated(built, tuple(refused))


def recalibrate(
    target: Path,
    images: Path,
    name: str,
    job: Job = Job(),
    progress: Progress = lambda _name, _done, _all: None,
) -> SiteOverlay:
    """Rank new cases against a site's own, unlabelled ones, and store these over the calibration.

    Args:
        target: the bundle, which was calibrated.
        images: folder of the site's images.
        name: of the site; stands in every answer.
        job: how it runs.
        progress: called with (case, cases done, cases to do).

    Raises:
        CalibrationError: the bundle is not calibrated, the images are too few or trained the model, or
            nothing can be written beside the bundle.
        Refusal: bundle or images cannot be read, or an engine fails.
    """
    bundle = Bundle.load(target)
    model = None if bundle.calibration is None else bundle.calibration.model
    if model is None:
        raise CalibrationError("The bundle is not calibrated yet: run nnunet-losses calibrate first.")
    job = replace(job, disagreement=any(name in DOUBTS for name in model.section.scores))
    position = ranked_positions(model, bundle.description)[0]  # whose scores the site's cases get
    runner = Runner(bundle, job.engine, compares=job.disagreement, position=position)
    store = _open_store(target, job, bundle.description, runner.engine)
    plan = _site_plan(images, bundle.description)
    records, refused = runner.run_all(plan.cases, store, progress)
    _require_new(bundle, records)
    overlay, arrays = _overlay(
        bundle, _distinct(records), name, refused=len({case.input_sha256 for case in refused})
    )
    write_site(target, bundle, overlay, arrays)
    if not job.keep_records:
        store.remove()
    return overlay


def _open_store(
    target: Path, job: Job, description: ModelDescription, engine: tuple[str, str]
) -> RecordStore:
    folder = job.records or target.resolve().parent / f".{target.name}.records"
    try:
        return RecordStore.open(folder, description, engine, compares=job.disagreement)
    except OSError as error:
        raise CalibrationError(f"No records can be kept in {folder}: {error}.") from error


def _site_plan(images: Path, description: ModelDescription) -> Plan:
    if not images.is_dir():
        raise CalibrationError(f"{images} is no folder.")
    cases = []
    for case in find_cases([images], description):
        if isinstance(case, Incomplete):
            raise CalibrationError(f"{images.name}: {case.refusal}")
        cases.append(Planned(case, Role.RANKED, None, case.name))
    return Plan(tuple(cases), (None,))


def _distinct(records: Sequence[CaseRecord]) -> list[CaseRecord]:
    """Each image once, however many names it has."""
    by_image = {record.input_sha256: record for record in records}
    counts = Counter(record.input_sha256 for record in records)
    return [by_image[image] for image in sorted(counts)]


def _require_new(bundle: Bundle, records: Sequence[CaseRecord]) -> None:
    assert bundle.calibration is not None, "asked before"
    trained = set(bundle.calibration.calibration.identity.trained)
    known = [record.name for record in records if record.input_sha256 in trained]
    if known:
        raise CalibrationError(
            f"The model was trained with {known[0]} ({len(known)} of {len(records)} images are known to it). "
            "Ranked against these, new images look strange: give images that it has not seen."
        )


def _overlay(
    bundle: Bundle, records: Sequence[CaseRecord], name: str, *, refused: int
) -> tuple[SiteOverlay, bytes]:
    stored = bundle.calibration
    assert stored is not None, "asked before"
    model, description = stored.model, bundle.description
    assert model is not None, "asked before"
    if len(records) < 2:
        raise CalibrationError(f"{len(records)} images of {name} are too few; give 20 at least.")
    observations = [record.observation for record in records]
    arrays = packed({"pool_0": score_all(model.folds[0].scorer, observations)})
    labels = [label.name for label in description.labels]
    overlay = SiteOverlay(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        name=name,
        calibration=calibration_hash(bundle),
        n=len(records) + refused,
        refused=refused,
        arrays=hashlib.sha256(arrays).hexdigest(),
        images=tuple(record.input_sha256 for record in records),
        learnt=LearntContract.of(observations, channels=description.channel_names, labels=labels),
    )
    return overlay, arrays
