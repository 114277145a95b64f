"""Which uploaded part is which channel."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.formats.cases import may_have_files
from nnunet_losses.serve.formats.dicom.reading import series_ending
from nnunet_losses.serve.formats.reading import accepted_endings, takes_series

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from nnunet_losses.serve.schema import ModelDescription

    from .parts import FilePart

_INDEX = re.compile(r"\d{4}")
IMAGE = "image"  # a picture that holds all channels: one RGB file


def part_names(description: ModelDescription) -> tuple[str, ...]:
    """Names under which a client sends the input files, in the network's order.

    A channel's own name where it is unique, otherwise nnU-Net's index (``0000``); for pictures with several
    channels one part, ``image``.
    """
    names = description.channel_names
    if _is_one_picture(description):
        return (IMAGE,)
    times = Counter(name.casefold() for name in names)
    return tuple(name if times[name.casefold()] == 1 else f"{i:04d}" for i, name in enumerate(names))


def assign_files(description: ModelDescription, parts: Sequence[FilePart]) -> tuple[Path, ...]:
    """Order the uploaded files by channel, under names that say which channel and which format they are.

    Names are compared without regard to case; ``0000`` and so on are always understood. Names that the client
    sent are not repeated in the refusal: they may be a patient's.

    Raises:
        Refusal: a part belongs to no channel or two to one (``contract.channel_name``), or a channel is
            missing (``contract.channel_count``).
    """
    ordered = _in_order(description, parts, _remedy(description))
    endings = accepted_endings(description.reader)
    return tuple(
        _rename(part, f"channel_{index:04d}", endings=endings, default=description.file_ending)
        for index, part in enumerate(ordered)
    )


def assign_series(description: ModelDescription, series: str | Mapping[str, str]) -> tuple[str, ...]:
    """Order series by channel.

    Args:
        description: of the model.
        series: UID of the only channel's, or of each channel's by its name.

    Raises:
        Refusal: the model reads no series (``input.unsupported_format``); otherwise as ``assign_files``.
    """
    if not takes_series(description.reader):
        raise Refusal(
            Code.INPUT_UNSUPPORTED_FORMAT,
            "This model reads pictures, and a series is a volume.",
            remedy="Choose a model of volumes, or send a picture.",
            expected=list(accepted_endings(description.reader)),
        )
    remedy = "Name one series for each channel, as an object with their names."
    if isinstance(series, str):
        if len(description.channel_names) > 1:
            _refuse_count(description, {0: series}, remedy)
        return (series,)
    named = [_NamedSeries(name, uid) for name, uid in series.items()]
    return tuple(one.uid for one in _in_order(description, named, remedy))


@dataclass(frozen=True)
class _NamedSeries:
    """A series for a channel."""

    name: str
    uid: str


class _Named(Protocol):
    """Something for a channel."""

    @property
    def name(self) -> str:
        """What a client calls the channel."""


_Part = TypeVar("_Part", bound=_Named)


def _rename(part: FilePart, stem: str, *, endings: Sequence[str], default: str) -> Path:
    """Keep the client's ending if the reader knows it: the ending says how the bytes are to be read.

    Without one, a DICOM series is known by its first bytes.
    """
    ending = next((known for known in endings if part.suffix.endswith(known)), None)
    ending = ending or series_ending(part.path, endings) or default
    return part.path.rename(part.path.with_name(stem + ending))


def _in_order(description: ModelDescription, parts: Sequence[_Part], remedy: str) -> list[_Part]:
    if _is_one_picture(description) and len(parts) == 1 and parts[0].name.casefold() in {IMAGE, "0000"}:
        return list(parts)
    found: dict[int, _Part] = {}
    for part in parts:
        index = _channel_index(description.channel_names, part.name)
        if index is None:
            detail = f"{_count(len(parts), 'part')} came, one of them named after no channel."
            _refuse_name(description, detail, remedy)
        if index in found:
            _refuse_name(description, f"Channel {index:04d} came twice.", remedy)
        found[index] = part
    if len(found) < len(description.channel_names):
        _refuse_count(description, found, remedy)
    return [found[index] for index in sorted(found)]


def _is_one_picture(description: ModelDescription) -> bool:
    return len(description.channel_names) > 1 and may_have_files(description, 1)


def _channel_index(names: Sequence[str], name: str) -> int | None:
    """Exact name, then index, then name in another case; None where none or several fit."""
    if names.count(name) == 1:
        return names.index(name)
    if _INDEX.fullmatch(name):
        return int(name) if int(name) < len(names) else None
    folded = [candidate.casefold() for candidate in names]
    return folded.index(name.casefold()) if folded.count(name.casefold()) == 1 else None


def _refuse_name(description: ModelDescription, detail: str, remedy: str) -> NoReturn:
    raise Refusal(
        Code.CONTRACT_CHANNEL_NAME,
        detail,
        remedy=remedy,
        expected=list(part_names(description)),
    )


def _refuse_count(description: ModelDescription, found: Mapping[int, object], remedy: str) -> NoReturn:
    names = description.channel_names
    missing = [name for index, name in enumerate(names) if index not in found]
    raise Refusal(
        Code.CONTRACT_CHANNEL_COUNT,
        f"{_count(len(found), 'channel')} of {len(names)} came. Missing: {', '.join(missing)}.",
        remedy=remedy,
        observed=len(found),
        expected=list(part_names(description)),
    )


def curl_parts(description: ModelDescription) -> str:
    """Options of curl that send one case.

    Example:
        >>> from types import SimpleNamespace
        >>> from nnunet_losses.serve.schema import Reader
        >>> curl_parts(SimpleNamespace(
        ...     channel_names=("T1", "FLAIR"), file_ending=".nii.gz", reader=Reader.SIMPLE_ITK))
        '-F T1=@T1.nii.gz -F FLAIR=@FLAIR.nii.gz'
    """
    flags = (f"{name}=@{name}{description.file_ending}" for name in part_names(description))
    return " ".join(f"-F {shlex.quote(flag)}" for flag in flags)


def _remedy(description: ModelDescription) -> str:
    return f"Send one file per channel: curl {curl_parts(description)}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
