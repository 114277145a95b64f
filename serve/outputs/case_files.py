"""Further files of answered cases, beside mask and answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from .kinds import ENDINGS, Options, OutputKind
from .writing import check_kinds, write_outputs

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from nnunet_losses.serve.formats import Case
    from nnunet_losses.serve.result_files import Prediction
    from nnunet_losses.serve.schema import ModelDescription

    from .kinds import Output

ALWAYS_WRITTEN = frozenset({OutputKind.MASK, OutputKind.REPORT})
# endings that no image file has, so that an older answer's files can be told from others
_OF_ANSWERS = (
    ENDINGS[OutputKind.SEG],
    ENDINGS[OutputKind.RTSTRUCT],
    ENDINGS[OutputKind.GLB],
    ENDINGS[OutputKind.PNG],
)


@dataclass(frozen=True)
class FurtherFiles:
    """What is written beside the mask and the answer of each case.

    Attributes:
        kinds: checked.
        options: but the stem, which is the case's name.
    """

    kinds: tuple[OutputKind, ...] = ()
    options: Options = Options()  # noqa: RUF009 - frozen

    @classmethod
    def of(cls, names: Sequence[str], options: Options) -> FurtherFiles:
        """Check the names of kinds.

        Raises:
            Refusal: ``output.unknown``.
        """
        return cls(tuple(kind for kind in check_kinds(names) if kind not in ALWAYS_WRITTEN), options)

    @property
    def probabilities(self) -> bool:
        """Whether the networks' probabilities are needed."""
        return OutputKind.PROBABILITIES in self.kinds

    def check(self, case: Case, folder: Path) -> None:
        """Refuse a folder in which one of them would take the place of one of the case's files.

        Raises:
            ValueError: with the file's name.
        """
        inputs = {file.resolve() for file in case.files}
        for path in self._paths(case.name, folder):
            if path.resolve() in inputs:
                raise ValueError(f"the output {path.name} would overwrite an input; choose another folder")

    def remove(self, case: str, folder: Path) -> None:
        """Remove an earlier run's files of these kinds: nothing may stand beside a rejection.

        Only after ``check``.
        """
        for path in self._paths(case, folder):
            path.unlink(missing_ok=True)

    def _paths(self, case: str, folder: Path) -> list[Path]:
        return [folder / f"{case}{ENDINGS[kind]}" for kind in self.kinds]

    def write(self, prediction: Prediction, description: ModelDescription, folder: Path) -> list[Output]:
        """Write them for one case; none for a rejected one.

        Raises:
            Refusal: see ``write_outputs``.
        """
        if prediction.mask is None or prediction.image is None:
            return []
        return write_outputs(
            self.kinds,
            prediction.mask,
            prediction.image,
            prediction.answer,
            description,
            folder,
            replace(self.options, stem=prediction.answer.case),
            probabilities=prediction.probabilities,
        )


def remove_further(case: str, folder: Path) -> None:
    """Remove an earlier run's files of a case, as far as they cannot be anything else."""
    for ending in _OF_ANSWERS:
        (folder / f"{case}{ending}").unlink(missing_ok=True)
    for surface in folder.iterdir():
        if surface.name.startswith(f"{case}.label_") and surface.suffix == ".stl":
            surface.unlink()
