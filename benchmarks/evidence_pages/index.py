"""The list of claims: docs/evidence/README.md, between its marks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks import evidence

from . import lesions, phantoms, polyps
from .markdown import between, listed, table
from .questions import MS_LESIONS, questions
from .records import EVIDENCE

if TYPE_CHECKING:
    from benchmarks.evidence import Size

INDEX = EVIDENCE / "README.md"
PROTOCOL = EVIDENCE / "phantoms_protocol.md"


def indexed(text: str) -> str:
    """Put what runs, and what came out, between the marks of the list of claims."""
    text = between(text, "quick", comparisons(evidence.QUICK))
    for run in polyps.RUNS:
        text = _filled(text, run.name, run.read(), polyps.short)
    text = _filled(text, lesions.NAME, lesions.read(), lesions.short)
    record = phantoms.read()
    for claim in evidence.CLAIMS:
        text = _filled(text, claim.name, record, lambda found, name=claim.name: phantoms.short(name, found))
    return text


def _filled(text: str, name: str, record: dict[str, Any] | None, lines: Any) -> str:
    return text if record is None else between(text, name, lines(record))


def protocol(text: str) -> str:
    """Put what runs, and the questions, between the marks of the protocol."""
    return between(between(text, "full", comparisons(evidence.FULL)), "questions", questions())


def ms_protocol(text: str) -> str:
    """Put the questions between the marks of the other protocol."""
    return between(text, "ms_questions", questions({lesions.NAME: MS_LESIONS}))


def comparisons(size: Size) -> list[str]:
    """What is run in one size, from its own settings."""
    trainings = sum(len(claim.losses) * claim.seeds(size) for claim in evidence.CLAIMS)
    said = (
        f"{trainings} trainings of {size.epochs} epochs with {evidence.ITERATIONS} batches of 4, on phantoms "
        f"of 64x64 pixels: {size.cases} for training and validation (fold 0), {size.test_cases} for test, "
        f"{size.free_cases} more without any lesion. A U-Net of 8, 16, 32 features, nnU-Net's variant "
        "Adam1en3, 2 CPU cores."
    )
    rows = [
        (f"`{claim.name}`", claim.title, " ".join(f"`{loss}`" for loss in claim.losses),
         listed(range(claim.seeds(size))))
        for claim in evidence.CLAIMS
    ]  # fmt: skip
    return [said, "", table(("", "phantoms and question", "losses", "seeds"), rows)]
