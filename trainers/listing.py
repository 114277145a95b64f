"""Tables for the terminal."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nnunet_losses.registry import get_loss_spec, list_losses

from .findings import Finding, State
from .names import PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_BY_THE_DATA = ("class_weights", "class_frequencies", "spacing", "smooth")  # where the default is None
_NEEDS = {"labelled": "labelled.json beside the preprocessed data, case -> names of its labelled labels"}
_STYLES = {State.OK: "green", State.NOTE: "dim", State.WARNING: "yellow", State.BROKEN: "bold red"}


def rows(pattern: str = "") -> list[dict[str, Any]]:
    """Describe the losses whose key or trainer matches a part of it, or a shell-style pattern, in any case.

    Example:
        >>> [row["loss"] for row in rows("topk")]
        ['topk', 'dice_topk']
    """
    described = (_row(key) for key in list_losses())
    return [row for row in described if _matches(pattern.lower(), (row["loss"], row["trainer"]))]


def _row(key: str) -> dict[str, Any]:
    spec = get_loss_spec(key)
    return {
        "loss": key,
        "trainer": PREFIX + spec.trainer,
        "parameters": {field.name: field.default for field in spec.trainer_fields},
        "in_names": [field.name for field in spec.trainer_fields if field.nameable],
        "needs": [_NEEDS[need] for need in sorted(spec.needs & _NEEDS.keys())],
        "summary": spec.summary,
        "reference": spec.reference,
        "url": spec.url,
    }


def _matches(pattern: str, texts: Iterable[str]) -> bool:
    return any(pattern in text.lower() or fnmatchcase(text.lower(), pattern) for text in texts)


def print_table(described: Sequence[dict[str, Any]]) -> None:
    """Print losses as a table."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    # names are there to be copied: they are never cut, however narrow the terminal is
    for name in ("loss", "trainer"):
        table.add_column(
            name,
            no_wrap=True,
            overflow="ignore",
            min_width=max(map(len, (row[name] for row in described)), default=0),
        )
    table.add_column("what it is, and its parameters", overflow="fold")
    for row in described:
        table.add_row(row["loss"], row["trainer"], _about(row))
    console = Console()
    console.print(table)
    if described:
        text = (
            "\nParameters in names: _fp0p2 is fp=0.2, _smooth1em7 is smooth=1e-7. Then a variant of nnU-Net "
            "(_NoMirroring), then epochs (_250epochs). More on one of them: nnunet-losses describe LOSS."
        )
        console.print(text, style="dim", highlight=False, soft_wrap=True)


def _about(row: dict[str, Any]) -> str:
    parameters = ", ".join(f"{name}={_default(name, value)}" for name, value in row["parameters"].items())
    needed = f"Needs {' and '.join(row['needs'])}." if row["needs"] else ""
    return " ".join(filter(None, (escape(row["summary"]), needed, parameters)))


def _default(name: str, value: object) -> str:
    if name == "phi":
        return "by the plan"
    return "by the data" if value is None and name in _BY_THE_DATA else str(value)


def print_findings(findings: Iterable[Finding]) -> None:
    """Print what the doctor found, remedies below."""
    console = Console(highlight=False)
    for finding in findings:
        mark = f"[{_STYLES[finding.state]}]{finding.state.value:8}[/]"
        console.print(mark, escape(f"{finding.subject}: {finding.text}"), soft_wrap=True)
        if finding.remedy and finding.state is not State.OK:
            console.print(" " * 8, "->", finding.remedy, markup=False, soft_wrap=True)
