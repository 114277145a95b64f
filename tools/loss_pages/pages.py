"""Writes the pages from the registry, the notes and the measurements. Text only: nothing is computed here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nnunet_losses import get_loss_spec, list_losses
from nnunet_losses.notes import empty_rows, families, notes_of
from nnunet_losses.notes.verdict import WORDS, verdict

from .loss_page import empty_setting, loss_page
from .markdown import cell, linked, number, short_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nnunet_losses.notes import EmptyRow

Measured = dict[str, Any]

_TERMS = {
    "I": ("sample and class", "`batch_dice` off"),
    "CI": ("sample", ""),
    "BI": ("class, over the batch", "`batch_dice` on"),
    "BCI": ("batch", ""),
}


def pages(measured: Measured) -> dict[str, str]:
    """Return the text of every page by its file name.

    Args:
        measured: "sizes" and "curves" as ``measure`` gives them.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["linked"] = lambda text: linked(text, list_losses())
    texts = {f"{key}.md": loss_page(environment, key) for key in list_losses()}
    contexts = {"README": _overview(), "choosing": _choosing(measured), "empty": _empty()}
    for name, context in contexts.items():
        texts[f"{name}.md"] = environment.get_template(f"{name}.md.jinja").render(words=WORDS, **context)
    return texts


def _overview() -> dict[str, Any]:
    tables = [
        {"name": family.name, "about": family.about, "rows": [_entry(key) for key in _present(family.notes)]}
        for family in families()
    ]
    return {"families": tables, "count": len(list_losses())}


def _present(keys: dict[str, Any]) -> list[str]:
    return [key for key in list_losses() if key in keys]


def _entry(key: str) -> dict[str, str]:
    spec, notes = get_loss_spec(key), notes_of(key)
    by_setting = {row.setting: row for row in empty_rows(key)}
    batch = by_setting.get("phi=BI")
    return {
        "key": key,
        "trainer": spec.trainer,
        "use": cell(notes.use),
        "sample": verdict(by_setting["default"].pushes["empty_sample"]),
        "batch": verdict(batch.pushes["empty_sample"]) if batch else "",
        "maps": "yes" if spec.geometry else "no",
        "regions": _regions(spec.activations, spec.regions),
        "cost": notes.cost,
        "reference": short_reference(spec.reference),
        "url": spec.url,
    }


def _regions(activations: tuple[str, ...], regions: int | None) -> str:
    if "sigmoid" not in activations:
        return "no"
    return "yes" if regions is None else f"{regions}"


def _choosing(measured: Measured) -> dict[str, Any]:
    def push(key: str, setting: str, situation: str) -> str:
        small, large = empty_setting(key, setting).pushes[situation]
        return f"{number(small)} (5 voxels) and {number(large)} (317 voxels)"

    def pull(key: str, voxels: int) -> str:
        at = measured["sizes"].index(voxels)
        return number(measured["curves"][key]["beside"]["lesion"][at])

    return {"push": push, "pull": pull, "claims": list(_claims())}


def _claims() -> Iterator[dict[str, str]]:
    for key in list_losses():
        for text in notes_of(key).evidence:
            yield {"key": key, "text": text}


def _empty() -> dict[str, Any]:
    return {
        "phis": [_phi(name) for name in _TERMS],
        "epsilons": [_epsilon(text) for text in ("1e-07", "1e-05", "1", "100")],
        "losses": [_verdicts(key) for key in list_losses()],
    }


def _phi(name: str) -> dict[str, Any]:
    pushes = empty_setting("dice", "default" if name == "I" else f"phi={name}").pushes
    term, stock = _TERMS[name]
    return {
        "name": name,
        "term": term,
        "stock": stock,
        "sample": _pair(pushes["empty_sample"]),
        "absent": _pair(pushes["absent_class"]),
        "batch": [number(push) for push in pushes["empty_batch"]],
    }


def _epsilon(text: str) -> dict[str, str]:
    row = empty_setting("dice", "default" if text == "1e-05" else f"smooth={text}")
    small, large = (number(push) for push in row.pushes["empty_sample"])
    return {"epsilon": text, "small": small, "large": large, "value": number(row.values[0])}


def _verdicts(key: str) -> dict[str, str]:
    row: EmptyRow = empty_setting(key, "default")
    return {"key": key} | {situation: verdict(pushes) for situation, pushes in row.pushes.items()}


def _pair(pushes: tuple[float, ...]) -> str:
    return ", ".join(number(push) for push in pushes)
