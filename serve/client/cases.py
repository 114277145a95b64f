"""Which files make a case, by the names that nnU-Net gives them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from .records import Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from .records import Model

_NUMBERED = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")
_ENDING = re.compile(r"(\.nii)?\.[^.]+$", re.IGNORECASE)


class Case(NamedTuple):
    """A case's name, for its results, and its files by part; or its series in an archive."""

    name: str
    files: Mapping[str, Path]
    series: Series | None = None


def find_cases(inputs: Iterable[Path], model: Model) -> list[Case]:
    """Group files to cases.

    Files are named CASE_0000.nii.gz, CASE_0001.nii.gz and so on, by channel. Where the model needs one file,
    any name will do. Of folders, the files with the ending of the model's masks are taken.

    Raises:
        ValueError: a file is missing, or its name does not say which channel it is.

    Example:
        >>> from pathlib import Path
        >>> from nnunet_losses.serve.client.records import Model
        >>> model = Model(name="brain", state="ready", parts=("T1", "FLAIR"))
        >>> [case.name for case in find_cases([Path("a_0000.nii.gz"), Path("a_0001.nii.gz")], model)]
        ['a']
    """
    found: dict[str, dict[str, Path]] = {}
    for path in _files(inputs, model):
        name, part = _place(path, model.parts)
        if part in found.setdefault(name, {}):
            raise ValueError(
                f"{path} and {found[name][part]} are both {part} of case {name}. Send one of them."
            )
        found[name][part] = path
    for name, files in found.items():
        _require_all(name, files, model.parts)
    return [Case(name, {part: files[part] for part in model.parts}) for name, files in found.items()]


def named_case(pairs: Sequence[tuple[str, Path]], model: Model, *, name: str | None) -> Case:
    """One case from NAME=FILE pairs; part names in any case.

    Raises:
        ValueError: a part is unknown, twice, or missing.
    """
    by_name = {part.casefold(): part for part in model.parts}
    files: dict[str, Path] = {}
    for given, path in pairs:
        part = by_name.get(given.casefold())
        if part is None or part in files:
            raise ValueError(
                f"--channel {given} is unknown or there twice. Expected: {', '.join(model.parts)}."
            )
        files[part] = path
    case = name or case_name(next(iter(files.values())))
    _require_all(case, files, model.parts)
    return Case(case, files)


def series_case(archive: str, study: str, series: Sequence[str], model: Model) -> Case:
    """One case in an archive, named after its (first) series.

    Args:
        archive: the server's name for it.
        study: StudyInstanceUID.
        series: SeriesInstanceUID, or NAME=UID for each channel.
        model: that will get it.

    Raises:
        ValueError: the series are not the model's channels.

    Example:
        >>> from nnunet_losses.serve.client.records import Model
        >>> series_case("pacs", "1.2", ["1.3"], Model(name="lung", state="ready", parts=("CT",))).name
        '1.3'
    """
    if len(series) == 1 and "=" not in series[0]:
        return Case(series[0], {}, Series(archive=archive, study=study, series=series[0]))
    pairs = dict(text.partition("=")[::2] for text in series)
    if len(pairs) < len(series) or not all(pairs.values()) or len(pairs) != len(model.parts):
        raise ValueError(f"--series wants NAME=UID once for each of {', '.join(model.parts)}.")
    return Case(next(iter(pairs.values())), {}, Series(archive=archive, study=study, series=pairs))


def case_name(path: Path) -> str:
    """Name of a case, without ending and channel.

    Example:
        >>> from pathlib import Path
        >>> case_name(Path("a/hippocampus_001_0000.nii.gz")), case_name(Path("scan.mha"))
        ('hippocampus_001', 'scan')
    """
    stem = _ENDING.sub("", path.name)
    numbered = _NUMBERED.fullmatch(stem)
    return numbered["case"] if numbered else stem


def _files(inputs: Iterable[Path], model: Model) -> list[Path]:
    files: list[Path] = []
    for path in inputs:
        inside = (
            [entry for entry in sorted(path.iterdir()) if _fits(entry, model)] if path.is_dir() else [path]
        )
        if not inside:
            raise ValueError(f"There is no file *{model.file_ending} in {path}.")
        files += inside
    return files


def _fits(path: Path, model: Model) -> bool:
    return path.is_file() and path.name.lower().endswith(model.file_ending or "")


def _place(path: Path, parts: Sequence[str]) -> tuple[str, str]:
    numbered = _NUMBERED.fullmatch(_ENDING.sub("", path.name))
    if len(parts) == 1:
        return case_name(path), parts[0]
    if numbered is None or int(numbered["channel"]) >= len(parts):
        raise ValueError(
            f"{path} does not say which channel it is. Name files CASE_0000{_ending(path)} and so on for "
            f"{', '.join(parts)}, or give one case by --channel NAME=FILE."
        )
    return numbered["case"], parts[int(numbered["channel"])]


def _ending(path: Path) -> str:
    found = _ENDING.search(path.name)
    return found.group() if found else ""


def _require_all(name: str, files: Mapping[str, Path], parts: Sequence[str]) -> None:
    missing = [part for part in parts if part not in files]
    if missing:
        raise ValueError(f"Case {name} lacks {', '.join(missing)}. The model needs {', '.join(parts)}.")
