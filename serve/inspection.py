"""What is in a bundle, for people and for programs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .bundle import SUMS, Bundle, bundle_files
from .console import print_json
from .errors import Code, Refusal
from .formats.layout import times
from .problems import problem_of
from .safety.calibration_words import calibration_rows
from .schema import Head

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from .safety.stored import StoredCalibration
    from .schema import Fingerprint, Member, ModelDescription, Resampling, Variant


@dataclass(frozen=True)
class Inspection:
    """A bundle, and whether its files are what they were.

    Attributes:
        bundle: loaded without a look at the hashes.
        damage: why its files cannot be trusted; None where all are as listed.
    """

    bundle: Bundle
    damage: Refusal | None

    @classmethod
    def of(cls, path: Path) -> Inspection:
        """Look into a bundle, damaged or not.

        Raises:
            Refusal: for what is no bundle, or one that this version does not understand.
        """
        try:
            return cls(Bundle.load(path), None)
        except Refusal as refusal:
            if refusal.code is not Code.BUNDLE_HASH_MISMATCH:
                raise
            return cls(Bundle.load(path, verify=False), refusal)

    @property
    def files(self) -> dict[str, int]:
        """Size in bytes of each file, by name."""
        root = self.bundle.root
        return {name: (root / name).stat().st_size for name in (*bundle_files(root), *_present(root, SUMS))}

    @property
    def identity(self) -> str | None:
        """Hash of the bundle; None where its list of hashes is missing."""
        return self.bundle.sha256 if _present(self.bundle.root, SUMS) else None

    @property
    def calibration(self) -> StoredCalibration | None:
        """Of the bundle; None where there is none, or it does not belong to the bundle."""
        return None if self.damage is not None else self.bundle.calibration

    def as_json(self) -> dict[str, Any]:
        """The whole description, with the bundle's hash and files."""
        description = self.bundle.description.model_dump(mode="json")
        damage = None if self.damage is None else problem_of(self.damage).model_dump()
        stored = self.calibration
        calibration = None if stored is None else stored.calibration.model_dump(mode="json")
        site = None if stored is None or stored.site is None else stored.site.model_dump(mode="json")
        identity = {"bundle_sha256": self.identity, "damage": damage, "files": self.files}
        return {**identity, "calibration": calibration, "site": site, **description}


def _present(root: Path, name: str) -> tuple[str, ...]:
    return (name,) if (root / name).is_file() else ()


def print_inspection(inspection: Inspection, *, as_json: bool) -> None:
    """Print what a bundle is, in tables or as JSON."""
    if as_json:
        print_json(inspection.as_json())
        return
    description = inspection.bundle.description
    console = Console()
    console.print(_properties(description.name, _identity(inspection)))
    console.print(_labels_table(description))
    for member in description.members:
        console.print(_properties(f"configuration {member.name}", _member(inspection, member)))
        console.print(_channels_table(member))
    for variant in description.variants:
        console.print(_variant_table(variant))


def _properties(title: str, rows: Iterable[tuple[str, str]]) -> Table:
    table = Table(title=escape(title), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, escape(value))
    return table


def _identity(inspection: Inspection) -> list[tuple[str, str]]:
    description, sizes = inspection.bundle.description, inspection.files
    training, provenance = description.training, description.provenance
    return [
        ("bundle", inspection.identity or "unknown"),
        ("files", f"{len(sizes)}, {_megabytes(sum(sizes.values()))}; {_integrity(inspection.damage)}"),
        ("reads", f"{description.file_ending} ({description.reader.value})"),
        ("trained", f"{training.trainer} on {training.dataset}, {training.epochs or 'unknown'} epochs"),
        ("loss", f"{training.loss or 'unknown'} {_parameters(training.loss_parameters)}".strip()),
        ("validation Dice", _parameters(training.validation_dice) or "unknown"),
        ("training images", _fingerprint(description.fingerprint)),
        ("answer", _decision(description)),
        ("postprocessing", _postprocessing(description)),
        ("ignore label", "none" if description.ignore_label is None else str(description.ignore_label)),
        ("parity", _parity(description)),
        *_calibration(inspection),
        ("made", f"{provenance.created} by nnunet-losses {provenance.exporter}"),
        ("made with", f"nnunetv2 {provenance.nnunetv2}, torch {provenance.torch}, onnx {provenance.onnx}"),
    ]


def _calibration(inspection: Inspection) -> list[tuple[str, str]]:
    stored = inspection.calibration
    if stored is None:
        return [("calibration", "none: answers carry no guarantee")]
    return calibration_rows(stored.calibration, stored.site)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _integrity(damage: Refusal | None) -> str:
    return "all as listed in SHA256SUMS" if damage is None else f"DAMAGED: {damage.detail}"


def _fingerprint(fingerprint: Fingerprint | None) -> str:
    if fingerprint is None:
        return "unknown"
    spacing, shape = times(fingerprint.spacing_median), times(fingerprint.shape_median)
    return f"{fingerprint.n_cases}, median {shape} voxels of {spacing} mm (z, y, x)"


def _decision(description: ModelDescription) -> str:
    rule = "largest logit" if description.head is Head.SOFTMAX else "one threshold for each region"
    averaged = [member.name for member in description.members if member.averaged]
    return rule if len(averaged) == 1 else f"mean probability of {', '.join(averaged)}; {rule}"


def _postprocessing(description: ModelDescription) -> str:
    steps = [
        f"largest component of {' and '.join(map(str, step.values))}" for step in description.postprocessing
    ]
    return ", then ".join(steps) or "none"


def _parameters(values: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} = {value:.4g}" if isinstance(value, float) else f"{name} = {value}"
        for name, value in values.items()
    )


def _parity(description: ModelDescription) -> str:
    parity = description.parity
    if parity is None:
        return "not verified: run nnunet-losses verify"
    verdict = "passed" if parity.passed else f"FAILED ({'; '.join(parity.failures)})"
    return (
        f"{verdict} against {parity.reference}: {parity.cases} cases, {parity.differing_voxels} of "
        f"{parity.voxels} voxels differ, {parity.differing_voxels_beyond_margin} where the decision was clear"
    )


def _member(inspection: Inspection, member: Member) -> list[tuple[str, str]]:
    tiling, plan, sizes = member.tiling, member.preprocessing, inspection.files
    folds = (f"{fold.name} ({_megabytes(sizes[fold.file])})" for fold in member.folds)
    role = "part of the answer" if member.averaged else "first stage of a cascade only"
    return [
        ("role", role if member.previous_stage is None else f"{role}; refines {member.previous_stage}"),
        ("folds", ", ".join(folds)),
        ("spacing", " x ".join(f"{value:g}" for value in plan.spacing) + " mm (network's axis order)"),
        ("axes", " ".join(str(axis) for axis in plan.transpose_forward)),
        (
            "resampling",
            f"image {_resampling(plan.resampling_image)}, logits {_resampling(plan.resampling_logits)}",
        ),
        ("patch", " x ".join(str(size) for size in tiling.patch_size)),
        ("step", f"{tiling.step_size:g} of the patch" + (", Gaussian weights" if tiling.gaussian else "")),
        ("mirrored axes", " ".join(str(axis) for axis in tiling.mirror_axes) or "none"),
    ]


def _resampling(resampling: Resampling) -> str:
    separate = {None: "", True: " slice by slice", False: " in all axes"}[resampling.force_separate_z]
    return f"order {resampling.order}{separate}"


def _labels_table(description: ModelDescription) -> Table:
    table = Table("label", "value in the mask", "consists of", title="labels", title_justify="left")
    for label in description.labels:
        table.add_row(escape(label.name), str(label.value), " ".join(str(member) for member in label.members))
    return table


def _channels_table(member: Member) -> Table:
    table = Table("number", "channel", "normalisation", title="channels", title_justify="left")
    for index, channel in enumerate(member.preprocessing.channels):
        inside = ", nonzero region only" if channel.use_mask else ""
        table.add_row(f"{index:04d}", escape(channel.name), f"{channel.normalization.value}{inside}")
    return table


def _variant_table(variant: Variant) -> Table:
    evidence = variant.evidence
    verdict = "proven" if evidence.passed else "FORCED" if variant.forced else "FAILED"
    truth = "against reference labels" if evidence.with_labels else "against float32"
    title = f"{variant.precision.value}: {verdict} on {evidence.cases} cases by {evidence.engine}"
    table = Table(
        "label", "agreement with float32", f"drop of Dice {truth}", title=title, title_justify="left"
    )
    for label in evidence.labels:
        table.add_row(escape(label.label), _share(label.agreement), _share(label.drop))
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.5f}"
