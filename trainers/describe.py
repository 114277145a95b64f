"""``nnunet-losses describe``: what is known about one loss, in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nnunet_losses.notes import empty_rows, family_of, notes_of
from nnunet_losses.notes.verdict import verdict
from nnunet_losses.registry import get_loss_spec, list_losses

from .names import PREFIX, parse, trainer_specs
from .spelling import squash

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import RenderableType

    from nnunet_losses.notes import EmptyRow
    from nnunet_losses.spec import LossSpec

_SITUATIONS = {
    "empty_batch": "batch without a lesion",
    "empty_sample": "empty sample beside one with a lesion",
    "absent_class": "class that the batch lacks, another is there",
}


def find(name: str) -> LossSpec:
    """Find a loss by its key, or by the name of a trainer, with or without parameters.

    Raises:
        ValueError: there is none; the message names the nearest.

    Example:
        >>> find("dice").key, find("nnUNetTrainerDiceTopK_250epochs").key, find("Tversky").key
        ('dice', 'dice_topk', 'tversky')
    """
    if name in list_losses():
        return get_loss_spec(name)
    if name in trainer_specs():
        return trainer_specs()[name]
    return get_loss_spec(parse(name).loss if name.startswith(PREFIX) else name)


def print_loss(spec: LossSpec) -> None:
    """Print everything about a loss."""
    notes = notes_of(spec.key)
    console = Console(highlight=False)
    console.print(Text.assemble((spec.key, "bold"), f"  {PREFIX}{spec.trainer}"), soft_wrap=True)
    console.print(f"{notes.use}. [dim]{family_of(spec.key).name}.[/]\n")
    console.print(Padding(Text(notes.plain), (0, 2)))
    sections = {
        "When": _bullets(notes.when),
        "Not when": _bullets(notes.unless),
        "What it does to a small and a large false alarm (cross-entropy pushes with 1, 1)": _on_empties(
            spec.key
        ),
        "Parameters": _parameters(spec),
        "To know": _bullets(notes.know),
        "Sources": _bullets([f"{spec.reference}: {spec.url}", *notes.code]),
    }
    for title, content in sections.items():
        console.print(f"\n[bold]{title}[/]")
        console.print(Padding(content, (0, 2)))
    console.print(f"\nEverything, with a picture: docs/losses/{spec.key}.md", style="dim")


def _bullets(texts: Iterable[str]) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    for text in texts:
        grid.add_row("-", Text(text))
    return grid


def _on_empties(key: str) -> RenderableType:
    rows = empty_rows(key)
    words = [f"{where}: {verdict(rows[0].pushes[name])}" for name, where in _SITUATIONS.items()]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("setting", *(name.replace("_", " ") for name in _SITUATIONS)):
        table.add_column(name)
    for row in rows:
        table.add_row(row.setting, *(_pair(row, name) for name in _SITUATIONS))
    return Group(_bullets(words), "", table, *_remarks({row.setting for row in rows}))


def _pair(row: EmptyRow, situation: str) -> str:
    return ", ".join(f"{push:.2g}" for push in row.pushes[situation])


def _remarks(settings: set[str]) -> list[Text]:
    remarks = {
        "phi=BI": "Trainers take phi=BI where nnU-Net's plan says batch_dice.",
        "epoch 0 of 1000": "Schedules stand at epoch 500 of 1000 where no epoch is named.",
    }
    return [Text(text, "dim") for setting, text in remarks.items() if setting in settings]


def _parameters(spec: LossSpec) -> RenderableType:
    grid = Table.grid(padding=(0, 2))
    for field in spec.trainer_fields:
        spelled = f"_{squash(field.name)}" if field.nameable else "not in a trainer's name"
        facts = f"{field.about}. {field.expectation[0].upper()}{field.expectation[1:]}; {spelled}."
        grid.add_row(f"{field.name} = {field.default}", Text(facts))
    return grid if spec.trainer_fields else Text("none")
