"""Many cases, one after the other: whatever happens to one does not stop the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from .answer import Answer, Outcome
from .errors import Refusal
from .formats import Case, Incomplete, write_text
from .predictor import Written, problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from .predictor import Predictor

ANSWERED, FAILED, REJECTED = 0, 1, 3  # exit codes; 2 is a wrong command line


@dataclass(frozen=True)
class Result:
    """What became of one case: an answer, or a problem that left none.

    Attributes:
        case: its name.
        written: the answer's files.
        refusal: why there is no answer.
        kept: whether the answer is an earlier run's.
    """

    case: str
    written: Written | None = None
    refusal: Refusal | None = None
    kept: bool = False

    @property
    def exit_code(self) -> int:
        """Exit code of a run with this case alone."""
        if self.written is None:
            return FAILED
        return REJECTED if self.written.answer.outcome is Outcome.REJECTED else ANSWERED

    def as_json(self) -> dict[str, Any]:
        """Names of files and outcome, for machines."""
        if self.written is None:
            assert self.refusal is not None, "a case has an answer or a problem"
            return {"case": self.case, "outcome": None, "problem": problem_of(self.refusal).model_dump()}
        answer, mask = self.written.answer, self.written.mask_file
        return {
            "case": self.case,
            "outcome": answer.outcome.value,
            "answer": str(self.written.answer_file),
            "mask": None if mask is None else str(mask),
            "kept": self.kept,
            "problem": None if answer.problem is None else answer.problem.model_dump(),
        }


@dataclass(frozen=True)
class Batch:
    """How cases are answered into a folder.

    Attributes:
        predictor: the model.
        folder: for masks, answers and problems.
        overwrite: whether cases that were answered before are answered again.
    """

    predictor: Predictor
    folder: Path
    overwrite: bool = True

    def run(
        self, cases: Sequence[Case | Incomplete], *, progress: Callable[[int, int], None] | None = None
    ) -> Iterator[Result]:
        """Answer the cases, yielding each result as it comes.

        Raises:
            OSError: where the folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for case in cases:
            kept = None if self.overwrite else self._earlier(case.name)
            yield kept or self._answer(case, progress)

    def _answer(self, case: Case | Incomplete, progress: Callable[[int, int], None] | None) -> Result:
        try:
            if isinstance(case, Incomplete):
                return Result(
                    case.name, self.predictor.reject_to_folder(case.name, case.refusal, self.folder)
                )
            return Result(case.name, self.predictor.predict_to_folder(case, self.folder, progress=progress))
        except Refusal as refusal:
            self._write_problem(case.name, refusal)
            return Result(case.name, refusal=refusal)

    def _write_problem(self, case: str, refusal: Refusal) -> None:
        self.predictor.remove_results(case, self.folder)
        text = problem_of(refusal).model_dump_json(indent=2)
        write_text(text + "\n", self.folder / f"{case}.problem.json")

    def _earlier(self, case: str) -> Result | None:
        """The complete answer of an earlier run, where there is one."""
        answer_file = self.folder / f"{case}.json"
        mask_file = self.folder / f"{case}{self.predictor.bundle.description.file_ending}"
        try:
            answer = Answer.model_validate_json(answer_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        if answer.outcome is Outcome.REJECTED:
            return Result(case, Written(answer, answer_file, None), kept=True)
        return (
            Result(case, Written(answer, answer_file, mask_file), kept=True) if mask_file.exists() else None
        )


def exit_code(results: Sequence[Result]) -> int:
    """0 where all cases were answered, 1 where one was not, else 3 where one was rejected."""
    codes = {result.exit_code for result in results}
    return FAILED if FAILED in codes else max(codes, default=ANSWERED)
