"""Whether plans and splits are still those that the cells of an output folder were trained with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from nnunet_losses.trainers.files import write_atomically

from .preprocessing import resolved
from .splits import PARTS, SPLITS
from .study import StudyError, some

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from .study import Settings

RECIPE_FILE = "recipe.json"
LATE = (
    "Cells in this folder were begun by an earlier version, which did not note plans and splits: whether "
    "theirs were those of now cannot be checked."
)
_LONG = 60  # characters of a value that are still shown

Split = dict[str, list[str]]


class Recipe(BaseModel):
    """Contents of the two files that nnU-Net trains by, besides the data.

    Attributes:
        plans: that were planned; smaller ones follow from them and the settings.
        splits: all folds.
        late: cells had begun before an earlier version had noted any; theirs may have been others.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    plans: dict[str, Any]
    splits: list[Split]
    late: bool = False


def check_recipe(preprocessed: Path, settings: Settings, folds: Collection[int], output: Path) -> None:
    """Refuse plans and splits that changed since ``write_recipe``; what is not there yet is not compared.

    Args:
        preprocessed: nnU-Net's folder of the data set.
        settings: name plans and configuration; other configurations may change.
        folds: that are trained; others may change.
        output: of the comparison.

    Raises:
        StudyError: it names what changed, what it was, and where that is kept.
    """
    before = read_recipe(output)
    if before is None:
        return
    plans, splits = (preprocessed / name for name in (f"{settings.plans}.json", SPLITS))
    now = _content(plans), _content(splits)
    if isinstance(now[0], dict):
        _refuse(plans, list(_differing_plans(before.plans, now[0], plans, settings)), "plans", output)
    if isinstance(now[1], list):
        _refuse(splits, list(_differing_splits(before.splits, now[1], folds)), "splits", output)


def write_recipe(
    preprocessed: Path, settings: Settings, splits: list[Split], output: Path, *, begun: bool
) -> Recipe:
    """Note plans and splits; those that cells began with stay noted, and other folds come to them.

    Args:
        preprocessed: nnU-Net's folder of the data set.
        settings: name the plans.
        splits: all folds.
        output: of the comparison.
        begun: whether any cell has.
    """
    before = read_recipe(output) if begun else None
    late = begun if before is None else before.late
    plans = json.loads((preprocessed / f"{settings.plans}.json").read_text("utf-8"))
    made = Recipe(plans=plans, splits=splits, late=late)
    write_atomically(output / RECIPE_FILE, made.model_dump_json(indent=1) + "\n")
    return made


def read_recipe(output: Path) -> Recipe | None:
    """Read what ``write_recipe`` wrote; None where there is nothing, or a damaged file."""
    try:
        return Recipe.model_validate_json((output / RECIPE_FILE).read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _refuse(file: Path, changed: list[str], key: str, output: Path) -> None:
    if changed:
        raise StudyError(
            f"{file} is no longer what the output folder's trainings were made with ({some(changed, '; ')}); "
            f"restore it ({output / RECIPE_FILE} holds it as it was, under {key!r}), or take another folder"
        )


def _differing_plans(
    before: Mapping[str, Any], now: Mapping[str, Any], file: Path, settings: Settings
) -> Iterator[str]:
    old, new = (_used(plans, file, settings.configuration) for plans in (before, now))
    for name in sorted(old.keys() | new):
        values = [_shown(part.get(name)) for part in (old, new)]
        if old.get(name) != new.get(name):
            short = max(map(len, values)) <= _LONG
            yield f"{name} was {values[0]}, now {values[1]}" if short else f"{name} changed"


def _used(plans: Mapping[str, Any], file: Path, configuration: str) -> dict[str, Any]:
    """What a training of one configuration reads of plans, without nesting."""
    common = {name: value for name, value in plans.items() if name != "configurations"}
    return dict(_flat({**common, **resolved(plans, configuration, file)}))


def _flat(values: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _shown(value: Any) -> str:
    return "missing" if value is None else json.dumps(value)


def _differing_splits(before: list[Split], now: list[Split], folds: Collection[int]) -> Iterator[str]:
    for fold in sorted(folds):
        old, new = (splits[fold] if fold < len(splits) else {} for splits in (before, now))
        for part in PARTS if old else ():
            was, is_ = old[part], new.get(part, [])
            if was != is_:
                yield f"fold {fold}: {part} {_moved(was, is_)}"


def _moved(was: list[str], is_: list[str]) -> str:
    """Which cases came and went.

    Example:
        >>> _moved(["a", "b"], ["b", "c"]), _moved(["a", "b"], ["b", "a"])
        ('had a, and has c', 'is in another order')
    """
    gone, come = sorted(set(was) - set(is_)), sorted(set(is_) - set(was))
    words = [f"{verb} {some(names)}" for verb, names in (("had", gone), ("has", come)) if names]
    return ", and ".join(words) or "is in another order"


def _content(file: Path) -> Any:
    """None where there is no file, or a damaged one, which is made anew or refused elsewhere."""
    try:
        return json.loads(file.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
