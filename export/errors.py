"""What the exporter says when it does not export, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from nnunet_losses.ending import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from nnunet_losses.serve.schema import Variant


class ExportError(Exception):
    """The export or the proof cannot be done; the message says why and what to do.

    Attributes:
        exit_code: of a command that ends with it. What was named cannot be used, unless a subclass differs.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.USAGE


class ModelFolderError(ExportError):
    """The folder is not a complete trained nnU-Net model folder."""


class GraphError(ExportError):
    """The exported network is not what it must be: wrong operators, shapes or values."""

    exit_code = ExitCode.FAILED


class CheckpointMismatch(ExportError):  # noqa: N818 - says what it is
    """The model folder holds another checkpoint than the one that was exported."""

    exit_code = ExitCode.FAILED

    def __init__(self, fold: str, path: Path, exported: str, found: str) -> None:
        super().__init__(
            f"Fold {fold} is another checkpoint: {path} has SHA-256 {found[:12]}…, the bundle was exported "
            f"from {exported[:12]}…. Pass the model folder (and --checkpoint) that was exported, or export "
            "again."
        )


@dataclass(frozen=True)
class Reason:
    """One reason against an export: what was found, and what the user can do."""

    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


class ExportRefused(ExportError):  # noqa: N818 - a refusal is an answer, not a fault of the program
    """The model cannot be carried over faithfully. All reasons are named, not only the first.

    Example:
        >>> refused = ExportRefused([Reason("It is a cascade.", "Export the full resolution model.")])
        >>> print(refused)
        This model cannot be exported faithfully:
        - It is a cascade. Export the full resolution model.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, reasons: list[Reason], *, folder: str | None = None) -> None:
        lines = "\n".join(f"- {reason}" for reason in reasons)
        which = "This model" if folder is None else f"The model {folder}"
        super().__init__(f"{which} cannot be exported faithfully:\n{lines}")
        self.reasons = tuple(reasons)


class VariantRefused(ExportError):  # noqa: N818 - a refusal is an answer, not a fault of the program
    """A reduced precision changes masks too much on the user's images.

    Attributes:
        variant: what was measured.
    """

    exit_code = ExitCode.FAILED

    def __init__(self, variant: Variant) -> None:
        reasons = "\n".join(f"- {failure}" for failure in variant.evidence.failures)
        advice = (
            ""
            if variant.evidence.with_labels
            else " Reference labels (--calibration-labels) prove more than masks."
        )
        super().__init__(
            f"{variant.precision.value} is not kept. On {variant.evidence.cases} images:\n{reasons}\n"
            f"Use float32, or measure on more images.{advice} --force keeps it nevertheless: "
            "then it is used only where it is asked for, and every answer says so."
        )
        self.variant = variant
