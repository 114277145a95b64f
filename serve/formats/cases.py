"""Which files make up which case: nnU-Net's names, or one file for each named channel."""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnunet_losses.serve.errors import Code, Refusal

from .dicom.reading import may_be_series
from .earlier import without_answers
from .reading import ENDINGS, accepted_endings, ending_of, is_series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from nnunet_losses.serve.schema import ModelDescription

CHANNEL_SUFFIX = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True)
class Case:
    """One image to answer: its name, and its files in the channels' order."""

    name: str
    files: tuple[Path, ...]


@dataclass(frozen=True)
class Incomplete:
    """A case that cannot be read as it was given, and why."""

    name: str
    refusal: Refusal


def find_cases(inputs: Sequence[Path], description: ModelDescription) -> list[Case | Incomplete]:
    """Collect the cases of folders and files with nnU-Net's names (``CASE_0000.nii.gz``).

    A folder of DICOM files is one image, and so is a zip file of one; a folder of such folders holds several.

    Args:
        inputs: folders, whose image files are taken, and files.
        description: of the model: reader, file ending, channels.

    Returns:
        Cases by name; as ``Incomplete`` those with missing or unexpected channels, and files of other kinds.

    Raises:
        Refusal: where a folder holds nothing, or a name occurs twice.
    """
    groups: dict[str, dict[int, Path]] = defaultdict(dict)
    nameless: list[Case | Incomplete] = []
    for file in _files(inputs, description):
        try:
            name, channel = _split(file, description)
        except Refusal as refusal:
            nameless.append(Incomplete(file.name, refusal))
            continue
        if channel in groups[name]:
            raise _duplicate(name, channel, groups[name][channel], file)
        groups[name][channel] = file
    return [_assemble(name, groups[name], description) for name in sorted(groups)] + nameless


def case_from_channels(
    channels: Iterable[tuple[str, Path]], description: ModelDescription, *, name: str | None = None
) -> Case:
    """Make one case of files that are given by channel name (without regard to case).

    Raises:
        Refusal: CONTRACT_CHANNEL_NAME for unknown, missing or repeated channels; all names are listed.
    """
    known = {channel.lower(): index for index, channel in enumerate(description.channel_names)}
    files: dict[int, Path] = {}
    for channel, file in channels:
        index = known.get(channel.strip().lower())
        if index is None or index in files:
            raise _channel_name("unknown" if index is None else "given twice", channel, description)
        files[index] = file
    for index, channel in enumerate(description.channel_names):
        if index not in files:
            raise _channel_name("missing", channel, description)
    ordered = tuple(files[index] for index in sorted(files))
    return Case(name or case_name(ordered[0], description), ordered)


def case_name(file: Path, description: ModelDescription) -> str:
    """Name of the case that a file belongs to: without ending and channel number."""
    stem = _stem(file, description)
    match = CHANNEL_SUFFIX.fullmatch(stem)
    return match["case"] if match else stem


def _stem(file: Path, description: ModelDescription) -> str:
    if not is_series(file, description.reader):
        return file.name[: -len(ending_of(file, ENDINGS[description.reader]))]
    return file.resolve().name if file.is_dir() else file.stem


def may_have_files(description: ModelDescription, count: int) -> bool:
    """Whether a case of this model may consist of so many files: pictures hold their colours in one."""
    channels = len(description.channel_names)
    return count == channels or (
        count == 1 and ENDINGS[description.reader][0] == ".png" and channels in (3, 4)
    )


def _files(inputs: Sequence[Path], description: ModelDescription) -> list[Path]:
    files: list[Path] = []
    for path in inputs:
        found = _in_folder(path, description) if path.is_dir() else [path]
        if not found:
            raise _no_image(
                f"The folder {path.name} holds no image that this model reads.", path, description
            )
        if not path.exists() and not path.name.lower().endswith(accepted_endings(description.reader)):
            raise _no_image(f"There is no file or folder {path}.", path, description)
        files += found
    return files


def _no_image(detail: str, path: Path, description: ModelDescription) -> Refusal:
    return Refusal(
        Code.INPUT_MISSING,
        detail,
        remedy=f"Files must be named like CASE_0000{description.file_ending}.",
        observed=path.name,
        expected=list(ENDINGS[description.reader]),
    )


def _in_folder(folder: Path, description: ModelDescription) -> list[Path]:
    """Files with the model's own ending; else those that its reader reads; else DICOM series.

    Masks of an earlier run that wrote into the same folder are no images.
    """
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    files = without_answers(files, description.file_ending)
    own = [path for path in files if path.name.lower().endswith(description.file_ending.lower())]
    readable = own or [path for path in files if path.name.lower().endswith(ENDINGS[description.reader])]
    return readable or _series_in(folder, files, description)


def _series_in(folder: Path, files: Sequence[Path], description: ModelDescription) -> list[Path]:
    """The folder itself, where DICOM files lie in it; else its zip files, and its folders of DICOM files."""
    if not is_series(folder, description.reader):
        return []
    zips = [file for file in files if file.suffix.lower() == ".zip"]
    folders = sorted(path for path in folder.iterdir() if path.is_dir() and may_be_series(path))
    loose = [file for file in files if file not in zips]
    if loose and may_be_series(folder) and not folders:
        return [folder]
    return sorted([*zips, *folders])


def _split(file: Path, description: ModelDescription) -> tuple[str, int]:
    stem = _stem(file, description)
    match = CHANNEL_SUFFIX.fullmatch(stem)
    if match:
        return match["case"], int(match["channel"])
    if may_have_files(description, 1):
        return stem, 0
    raise Refusal(
        Code.CONTRACT_CHANNEL_NAME,
        f"{file.name} does not say which channel it holds.",
        remedy=f"Name it like {_expected_name(stem, 0, description)}: {_numbered(description)}.",
        observed=file.name,
        expected=_numbered(description),
    )


def _assemble(name: str, files: Mapping[int, Path], description: ModelDescription) -> Case | Incomplete:
    channels = description.channel_names
    ordered = tuple(files[index] for index in sorted(files))
    if sorted(files) == list(range(len(files))) and may_have_files(description, len(files)):
        return Case(name, ordered)
    missing = [
        f"{channel} ({_expected_name(name, index, description)})"
        for index, channel in enumerate(channels)
        if index not in files
    ]
    surplus = [files[index].name for index in sorted(files) if index >= len(channels)]
    detail = f"Case {name} is not complete: " if missing else f"Case {name} has too many files: "
    return Incomplete(
        name,
        Refusal(
            Code.CONTRACT_CHANNEL_COUNT,
            detail + (f"missing {', '.join(missing)}." if missing else f"{', '.join(surplus)}."),
            remedy=f"Give one file for each channel: {_numbered(description)}.",
            observed=[file.name for file in ordered],
            expected=[_expected_name(name, index, description) for index in range(len(channels))],
        ),
    )


def _expected_name(case: str, channel: int, description: ModelDescription) -> str:
    return f"{case}_{channel:04d}{description.file_ending}"


def _numbered(description: ModelDescription) -> str:
    return ", ".join(f"{index:04d} = {name}" for index, name in enumerate(description.channel_names))


def _duplicate(name: str, channel: int, first: Path, second: Path) -> Refusal:
    return Refusal(
        Code.CONTRACT_CHANNEL_NAME,
        f"Case {name} occurs twice: channel {channel:04d} is in {first.name} and again in {second.name}.",
        remedy="Give every case a name of its own.",
        observed=[first.name, second.name],
    )


def _channel_name(what: str, channel: str, description: ModelDescription) -> Refusal:
    names = ", ".join(description.channel_names)
    return Refusal(
        Code.CONTRACT_CHANNEL_NAME,
        f"The channel {channel!r} is {what}. This model's channels are: {names}.",
        remedy="Give every channel once, under its name.",
        observed=channel,
        expected=list(description.channel_names),
    )
