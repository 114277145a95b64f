"""What the exporter's commands show on a terminal."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from time import perf_counter
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nnunet_losses.serve.schema import LabelEvidence, Variant

    from .parity_case import CaseParity
    from .parity_report import Verification


def messages() -> Console:
    """Where progress and errors go: the process's own stderr, also while third-party prints are swallowed."""
    return Console(file=sys.stderr)


@contextmanager
def steps() -> Iterator[Callable[[str], None]]:
    """Show steps one after another; give the function that announces the next one."""
    console = messages()
    began: list[tuple[str, float]] = []

    def done() -> None:
        if began:
            step, start = began.pop()
            console.print(f"  {step} [dim]{perf_counter() - start:.1f} s[/dim]", highlight=False)

    with console.status("Starting") as status:

        def announce(step: str) -> None:
            done()
            began.append((step, perf_counter()))
            status.update(step)

        yield announce
        done()


@contextmanager
def case_progress() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar over cases; give the function that is called before each one."""
    columns = SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, TimeElapsedColumn(), console=messages(), transient=True) as bar:
        task = bar.add_task("Loading bundle and model", total=None)

        def announce(case: str, done: int, total: int) -> None:
            bar.update(task, description=case, completed=done, total=total)

        yield announce


def print_verification(verification: Verification) -> None:
    """Print the figures of every case, the sums, and the verdict."""
    parity = verification.parity
    console = Console()
    console.print(_table(verification))
    dice = ", ".join(f"{name} {value:.6f}" for name, value in parity.dice.items())
    console.print(f"Dice between the two masks, over all cases: {dice or 'none'}", highlight=False)
    for failure in parity.failures:
        console.print(f"[red]{failure}[/red]", highlight=False, soft_wrap=True)
    verdict = "[green]Parity holds[/green]" if parity.passed else "[red]Parity FAILED[/red]"
    console.print(f"{verdict}: {parity.backend} against {parity.reference}", highlight=False, soft_wrap=True)


def _table(verification: Verification) -> Table:
    table = Table(
        "case", "preprocessing", "tiles", "tile logits", "voxels", "differing", "beyond margin", "same file"
    )
    for case in verification.cases:
        table.add_row(*_row(case))
    parity = verification.parity
    table.add_section()
    table.add_row(
        "all", "", f"{parity.tiles}", f"{parity.max_tile_difference:.1e}", f"{parity.voxels}",
        f"{parity.differing_voxels}", f"{parity.differing_voxels_beyond_margin}", "",
    )  # fmt: skip
    return table


def _row(case: CaseParity) -> tuple[str, ...]:
    preprocessing = case.preprocessing_difference
    worst = max(case.tile_differences.values(), default=None)
    return (
        case.case,
        "-" if preprocessing is None else f"{preprocessing:.1e}",
        f"{case.tiles}",
        "-" if worst is None else f"{worst:.1e}",
        f"{case.voxels}",
        f"{case.differing_voxels}",
        f"{case.differing_voxels_beyond_margin}",
        "yes" if case.identical_files else "no",
    )


def print_variant(variant: Variant) -> None:
    """Print the evidence label by label, and what became of the variant."""
    evidence = variant.evidence
    table = Table("label", "cases", "Dice against float32", "least", "Dice lost", "worst case")
    for label in evidence.labels:
        table.add_row(*_evidence_row(label))
    console = Console()
    console.print(table)
    lost = "against the reference labels" if evidence.with_labels else "against the float32 masks"
    console.print(
        f"{variant.precision.value} ({evidence.engine}) on {evidence.cases} images: "
        f"{evidence.differing_voxels} of {evidence.voxels} voxels differ from float32 "
        f"({evidence.reference_engine}); Dice lost is {lost}. "
        f"A tile takes {evidence.tile_seconds:.3g} s, {evidence.tile_seconds_float32:.3g} s in float32: "
        f"{evidence.speed:.2f} times as fast.",
        highlight=False,
        soft_wrap=True,
    )
    if evidence.passed:
        used = f"predictions with {evidence.engine} use it"
        if evidence.speed <= 1:
            used = "predictions use it only with --precision, because it is not faster"
        console.print(f"[green]Kept[/green]: {used}.", highlight=False, soft_wrap=True)
    elif variant.forced:
        console.print("[red]Kept by force[/red]: only --precision uses it, with a warning.", highlight=False)


def _evidence_row(label: LabelEvidence) -> tuple[str, ...]:
    if label.agreement is None or label.drop is None or label.largest_drop is None:
        return label.label, "0", "-", "-", "-", "-"
    return (
        label.label,
        f"{label.cases}",
        f"{label.agreement:.5f}",
        f"{label.least_agreement:.5f}",
        f"{label.drop:.5f}",
        f"{label.largest_drop:.5f} ({label.worst_case})",
    )
