"""Which labels are drawn in which case: ``labelled.json`` beside the preprocessed data."""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

FILE = "labelled.json"
BACKGROUND = "background"
_FORM = '{"case_001": ["liver", "tumour"], "case_002": ["liver"]}'


class LabelledError(ValueError):
    """The table of labelled cases is absent, incomplete or wrong; the message says how to mend it."""


@dataclass(frozen=True)
class LabelledCases:
    """For each case, which channels of the logits have labels. Make it with ``read_labelled``."""

    flags: Mapping[str, tuple[bool, ...]]

    def of(self, cases: Iterable[str]) -> Tensor:
        """Return the flags of a batch, (B, C) bool.

        Example:
            >>> table = LabelledCases({"a": (True, True), "b": (True, False)})
            >>> table.of(["b", "a", "b"]).tolist()
            [[True, False], [True, True], [True, False]]
        """
        return torch.tensor([self.flags[str(case)] for case in cases], dtype=torch.bool)


def channel_names(labels: Mapping[str, Any], *, regions: bool) -> list[str]:
    """Return the name of each channel of the logits.

    Args:
        labels: ``labels`` of dataset.json: name -> label, or the labels that make a region.
        regions: whether channels are regions; then the background has none.

    Example:
        >>> channel_names({"background": 0, "tumour": 2, "liver": 1, "ignore": 3}, regions=False)
        ['background', 'liver', 'tumour']
        >>> channel_names({"background": 0, "whole": [1, 2], "core": 2}, regions=True)
        ['whole', 'core']
    """
    named = {name: value for name, value in labels.items() if name != "ignore"}
    if regions:
        return [name for name, value in named.items() if not _is_background(value)]
    return sorted(named, key=lambda name: int(_only(named[name])))


def _is_background(value: Any) -> bool:
    return set(value if isinstance(value, list | tuple) else [value]) == {0}


def _only(value: Any) -> Any:
    return value[0] if isinstance(value, list | tuple) else value


def read_labelled(
    path: str | Path, *, channels: Sequence[str], needed: Iterable[str], known: Collection[str]
) -> LabelledCases:
    """Read which labels are drawn in which case.

    The file holds one JSON object: case -> list of label names, as dataset.json names them. The background
    counts as labelled, named or not. Labels that are drawn, but absent from the image, are listed: absent is
    a finding.

    Args:
        path: of the file.
        channels: name of each channel of the logits.
        needed: cases that are trained or validated with; each must be listed.
        known: all cases of the data set; no other may be listed.

    Raises:
        LabelledError: there is no such file, or it is no such table, or it names what does not exist, or not
            all cases.
    """
    table = _read(Path(path))
    _check_cases(path, table, needed=needed, known=known)
    return LabelledCases({case: _flags(path, case, names, channels) for case, names in table.items()})


def _read(path: Path) -> dict[str, Any]:
    expected = f"expected one JSON object, case -> list of its labelled labels, like {_FORM}"
    try:
        table = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_without_doubles)
    except FileNotFoundError:
        raise LabelledError(
            f"{path} is missing. It tells this loss which labels are drawn in which case; {expected}. Write "
            "it, or choose a loss for complete labels, such as dice_ce."
        ) from None
    except (OSError, ValueError) as error:
        raise LabelledError(f"{path} cannot be read ({error}); {expected}.") from error
    if not isinstance(table, dict):
        raise LabelledError(f"{path} holds {table!r:.80}; {expected}.")
    return table


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is listed twice")
    return content


def _check_cases(
    path: str | Path, table: Mapping[str, Any], *, needed: Iterable[str], known: Collection[str]
) -> None:
    unknown = [case for case in table if case not in known]
    if unknown:
        raise LabelledError(
            f"{path} lists {_some(unknown)}, which the preprocessed data does not hold."
            f"{_meant(unknown[0], known)} Expected are its cases, without channel and file ending; correct "
            "or remove the others."
        )
    missing = [case for case in needed if case not in table]
    if missing:
        raise LabelledError(
            f"{path} does not list {_some(missing)}, which this fold trains or validates with. Expected is "
            "every case with the list of its labelled labels, [] for none; add them."
        )


def _flags(path: str | Path, case: str, names: Any, channels: Sequence[str]) -> tuple[bool, ...]:
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise LabelledError(
            f"{path}: case {case!r} has {names!r:.80}; expected a list of label names, such as "
            f"{json.dumps(channels[-1:])}, [] for none. Correct it."
        )
    unknown = [name for name in names if name not in (*channels, BACKGROUND)]
    if unknown:
        raise LabelledError(
            f"{path}: case {case!r} names {_some(unknown)}, which is no label.{_meant(unknown[0], channels)} "
            f"Expected are names of dataset.json: {', '.join(channels)}; correct it."
        )
    return tuple(channel in names or channel == BACKGROUND for channel in channels)


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown


def _meant(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""
