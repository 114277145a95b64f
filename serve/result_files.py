"""The files of an answered case: mask, answer, and what else was asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import TYPE_CHECKING, Any

from .bundle import file_sha256
from .errors import Code, Refusal
from .formats import companions, write_mask, write_text
from .outputs.case_files import remove_further
from .safety.quality import with_files
from .safety.uncertainty import MAP_FILES

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from .answer import Answer
    from .formats import Case
    from .image import Image
    from .schema import ModelDescription

RAW = "raw"
FURTHER = (RAW, *MAP_FILES.values())  # CASE_raw.nii.gz and so on


@dataclass(frozen=True, eq=False)
class Prediction:
    """What ``Predictor.predict`` returns.

    Attributes:
        answer: the statement; ``manifest.mask_sha256`` is filled where the mask is written to a file.
        mask: integers (z, y, x) on the image's own grid; None for a rejected image.
        image: what was read; None where the channels do not make one image.
        raw: the mask before anything was removed, where that was asked for.
        maps: of the uncertainty by measure, see ``safety.uncertainty``, where they were asked for.
        probabilities: (heads, z, y, x), where they were asked for.
    """

    answer: Answer
    mask: NDArray[Any] | None = None
    image: Image | None = None
    raw: NDArray[Any] | None = None
    maps: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    probabilities: NDArray[np.float16] | None = None


@dataclass(frozen=True)
class Written:
    """Files of one answered case. A rejected case has no mask.

    Attributes:
        answer: as the file holds it.
        answer_file, mask_file: see above.
        further: those of ``FURTHER`` that were written, by name.
    """

    answer: Answer
    answer_file: Path
    mask_file: Path | None
    further: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ResultFiles:
    """Writes and removes the files of cases in one folder.

    Attributes:
        folder: exists.
        description: of the model, for reader and file ending.
    """

    folder: Path
    description: ModelDescription

    def remove(self, case: str) -> None:
        """Remove an earlier run's files of a case, but no case that is called like one of them."""
        for ending in (self.description.file_ending, ".json", ".problem.json"):
            (self.folder / f"{case}{ending}").unlink(missing_ok=True)
        remove_further(case, self.folder)
        for name in FURTHER:
            if not self._is_a_case(f"{case}_{name}"):
                self._mask_file(f"{case}_{name}").unlink(missing_ok=True)

    def write(self, prediction: Prediction) -> Written:
        """Write a prediction: first the masks and maps, then the answer, which names them.

        Raises:
            Refusal: OUTPUT_IMPOSSIBLE where a further file would overwrite another case's mask.
            OSError: where the folder cannot be written to.
        """
        answer, mask_file = prediction.answer, None
        if prediction.mask is not None and prediction.image is not None:
            mask_file, began = self._mask_file(answer.case), perf_counter()
            self._write(prediction.mask, mask_file, prediction.image)
            further = self._write_further(prediction, prediction.image)
            timings = answer.manifest.timings | {"write": round(perf_counter() - began, 4)}
            known = {"mask_sha256": file_sha256(mask_file), "timings": timings}
            files = {measure: further[MAP_FILES[measure]].name for measure in prediction.maps}
            changes = {
                "manifest": answer.manifest.model_copy(update=known),
                "quality": with_files(answer.quality, files),
            }
            answer = answer.model_copy(update=changes)
        else:
            further = {}
        answer_file = self.folder / f"{answer.case}.json"
        write_text(answer.model_dump_json(indent=2) + "\n", answer_file)
        return Written(answer, answer_file, mask_file, further)

    def _write_further(self, prediction: Prediction, image: Image) -> dict[str, Path]:
        """Write the raw mask and the maps of the uncertainty."""
        arrays = {} if prediction.raw is None else {RAW: prediction.raw}
        arrays |= {MAP_FILES[measure]: values for measure, values in prediction.maps.items()}
        files = {}
        for name, values in arrays.items():
            other = f"{prediction.answer.case}_{name}"
            if self._is_a_case(other):
                raise _would_overwrite(prediction.answer.case, other)
            files[name] = self._mask_file(other)
            self._write(values, files[name], image)
        return files

    def _write(self, values: NDArray[Any], file: Path, image: Image) -> None:
        write_mask(values, file, geometry=image.geometry, reader=self.description.reader)

    def _mask_file(self, case: str) -> Path:
        return self.folder / f"{case}{self.description.file_ending}"

    def _is_a_case(self, name: str) -> bool:
        return (self.folder / f"{name}.json").exists()


def _would_overwrite(case: str, other: str) -> Refusal:
    return Refusal(
        Code.OUTPUT_IMPOSSIBLE,
        f"A further file of case {case} would overwrite the mask of case {other}.",
        remedy="Choose another folder, or rename one of the cases.",
        observed=other,
    )


def check_output(case: Case, folder: Path, description: ModelDescription) -> None:
    """Refuse a folder in which something written would take the place of one of the case's files.

    Raises:
        ValueError: with the file's name.
    """
    inputs = {file.resolve() for file in case.files}
    ending = description.file_ending
    if (folder / f"{case.name}{ending}").resolve() in inputs:
        raise ValueError(f"the mask of case {case.name} would overwrite its image; choose another folder")
    for name in FURTHER:
        if (folder / f"{case.name}_{name}{ending}").resolve() in inputs:
            raise ValueError(
                f"the file {case.name}_{name}{ending} that may be written is an input; choose another folder"
            )
    spacing_files = {file.resolve() for file in companions(case.files, description.reader)}
    if (folder / f"{case.name}.json").resolve() in spacing_files:
        raise ValueError(f"the answer of case {case.name} would overwrite its spacing; choose another folder")
