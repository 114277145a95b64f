"""What the commands of this room print."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nnunet_losses.serve.console import bench_progress, print_json
from nnunet_losses.serve.safety.calibration_words import calibration_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nnunet_losses.serve.safety.calibration import SiteOverlay

    from .calibrate import Calibrated


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar over the cases on the error stream; give the function that announces each."""
    with bench_progress() as announce:
        yield announce


def print_calibrated(result: Calibrated, *, as_json: bool) -> None:
    """Print what was calibrated."""
    built = result.built
    verdicts = Counter(verdict.value for verdict in built.outliers.values())
    if as_json:
        content: dict[str, Any] = {
            "calibration": built.calibration.model_dump(mode="json"),
            "outliers": {name: verdict.value for name, verdict in built.outliers.items()},
            "refused": {case.name: case.reason for case in result.refused},
        }
        print_json(content)
        return
    table = Table(title="calibration", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in calibration_rows(built.calibration, None):
        table.add_row(name, escape(value))
    if verdicts:
        told = ", ".join(f"{count} {verdict}" for verdict, count in sorted(verdicts.items()))
        table.add_row("known outliers", f"{told} of {sum(verdicts.values())}")
    for case in result.refused:
        table.add_row(f"refused: {escape(case.name)}", escape(case.reason))
    Console().print(table)


def print_overlay(overlay: SiteOverlay, *, as_json: bool) -> None:
    """Print which cases lie over the calibration."""
    if as_json:
        print_json(overlay.model_dump(mode="json"))
        return
    Console().print(
        f"New images are ranked against {overlay.n} images of {escape(overlay.name)}. Take them away with: "
        "nnunet-losses recalibrate BUNDLE --remove"
    )
