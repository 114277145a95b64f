"""Many cases: whatever happens to one does not stop the rest."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from nnunet_losses.ending import ExitCode

from .answer import Answer, Outcome
from .errors import Refusal
from .formats import Case, Incomplete, write_text
from .memory_gate import MemoryGate
from .outputs.case_files import FurtherFiles
from .problems import problem_of
from .result_files import Written
from .safety.memory import available_memory

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

    from .course import Course
    from .policies import Policies
    from .predictor import Predictor


class Stopped(Exception):  # noqa: N818 - somebody's wish, no error
    """Ctrl-C ended a run.

    Attributes:
        results: of the cases that were answered before.
    """

    def __init__(self, results: Sequence[Result]) -> None:
        super().__init__(f"stopped after {len(results)} cases")
        self.results = tuple(results)


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
    def exit_code(self) -> ExitCode:
        """Exit code of a run with this case alone."""
        if self.written is None:
            return ExitCode.FAILED
        return ExitCode.REJECTED if self.written.answer.outcome is Outcome.REJECTED else ExitCode.DONE

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


@dataclass(eq=False)
class _Turn:
    """One case on its way through the three steps.

    Attributes:
        case: what is to be answered.
        course: what is known of it, once it was prepared.
        refusal: why there will be no answer.
        kept: an earlier run's answer.
    """

    case: Case | Incomplete
    course: Course | None = None
    refusal: Refusal | None = None
    kept: Result | None = None


@dataclass(frozen=True)
class Batch:
    """How cases are answered into a folder.

    Attributes:
        predictor: the model.
        folder: for masks, answers and problems.
        overwrite: whether cases that this model answered before, by the same wishes, are answered again.
        overlap: read and preprocess the next case, and write the one before, while the network works on this
            one. There are three cases in memory then at most, fewer where it does not suffice for three.
            The answers are the same but for their timings.
        further: what is written beside masks and answers.
    """

    predictor: Predictor
    folder: Path
    overwrite: bool = True
    overlap: bool = True
    further: FurtherFiles = FurtherFiles()  # noqa: RUF009 - frozen

    def run(
        self, cases: Sequence[Case | Incomplete], *, progress: Callable[[int, int], None] | None = None
    ) -> Generator[Result]:
        """Answer the cases, yielding each result, in their order, once its files are written.

        Whatever ends the iteration early (an exception of ``progress``, Ctrl-C) lets the threads finish what
        they have begun: there are no half-written files.

        Args:
            cases: to answer.
            progress: called with (tiles done, tiles to do) of the case at the network, in this thread.

        Raises:
            OSError: where the folder cannot be written to.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.overlap and len(cases) > 1:
            yield from self._run_overlapping(cases, progress)
            return
        for case in cases:
            yield self._finish(self._infer(self._prepare(case), progress))

    def _run_overlapping(
        self, cases: Sequence[Case | Incomplete], progress: Callable[[int, int], None] | None
    ) -> Generator[Result]:
        gate = MemoryGate(self._memory)
        with ThreadPoolExecutor(1, "prepare") as ahead, ThreadPoolExecutor(1, "finish") as behind, gate:
            coming = ahead.submit(self._prepare, cases[0], gate)
            leaving: Future[Result] | None = None
            for case in (*cases[1:], None):
                turn = coming.result()
                if case is not None:
                    coming = ahead.submit(self._prepare, case, gate)
                self._infer(turn, progress)
                if leaving is not None:
                    yield leaving.result()
                leaving = behind.submit(self._finish, turn, gate)
                del turn  # it is the finishing thread's now: nothing may keep its arrays alive
            assert leaving is not None, "there is at least one case"
            yield leaving.result()

    def _memory(self) -> int:
        """Bytes that all cases in memory may need together."""
        budget = self.predictor.limits.memory_bytes
        return available_memory() if budget is None else budget

    def _prepare(self, case: Case | Incomplete, gate: MemoryGate | None = None) -> _Turn:
        if not self.overwrite and (earlier := self._earlier(case.name)):
            return _Turn(case, kept=earlier)
        if isinstance(case, Incomplete):
            return _Turn(case, refusal=case.refusal)
        self.further.check(case, self.folder)
        self.predictor.make_room(case, self.folder)
        self.further.remove(case.name, self.folder)
        admit = None if gate is None else partial(gate.enter, case.name)
        try:
            course = self.predictor.prepare(case, admit=admit)
            course.probabilities = self.further.probabilities
            return _Turn(case, course)
        except Refusal as refusal:
            return _Turn(case, refusal=refusal)

    def _infer(self, turn: _Turn, progress: Callable[[int, int], None] | None) -> _Turn:
        if turn.course is not None:
            try:
                self.predictor.infer(turn.course, progress=progress)
            except Refusal as refusal:
                turn.refusal, turn.course = refusal, None
        return turn

    def _finish(self, turn: _Turn, gate: MemoryGate | None = None) -> Result:
        try:
            return turn.kept or self._written(turn)
        except Refusal as refusal:
            self._write_problem(turn.case.name, refusal)
            return Result(turn.case.name, refusal=refusal)
        finally:
            turn.course = None
            if gate is not None:
                gate.leave(turn.case.name)

    def _written(self, turn: _Turn) -> Result:
        name = turn.case.name
        if turn.refusal is not None and isinstance(turn.case, Incomplete):
            return Result(name, self.predictor.reject_to_folder(name, turn.refusal, self.folder))
        if turn.refusal is not None:
            raise turn.refusal
        assert turn.course is not None, "prepared before"
        prediction = self.predictor.conclude(turn.course)
        written = self.predictor.write(prediction, self.folder)
        final = replace(prediction, answer=written.answer)
        self.further.write(final, self.predictor.bundle.description, self.folder)
        return Result(name, written)

    def _write_problem(self, case: str, refusal: Refusal) -> None:
        self.predictor.remove_results(case, self.folder)
        text = problem_of(refusal).model_dump_json(indent=2)
        write_text(text + "\n", self.folder / f"{case}.problem.json")

    def _is_ours(self, answer: Answer) -> bool:
        """Whether this model gave it, by the same wishes: answers of two must not be mixed in one folder."""
        is_breach = answer.problem is not None and answer.problem.code.startswith("contract.")
        same_model = answer.manifest.bundle_sha256 == self.predictor.bundle.sha256
        return same_model and (is_breach or _same_wishes(answer, self.predictor.policies))

    def _earlier(self, case: str) -> Result | None:
        """The complete answer of an earlier run of the same model, where there is one."""
        answer_file = self.folder / f"{case}.json"
        mask_file = self.folder / f"{case}{self.predictor.bundle.description.file_ending}"
        try:
            answer = Answer.model_validate_json(answer_file.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        if not self._is_ours(answer):
            return None
        if answer.outcome is Outcome.REJECTED:
            return Result(case, Written(answer, answer_file, None), kept=True)
        return (
            Result(case, Written(answer, answer_file, mask_file), kept=True) if mask_file.exists() else None
        )


def _same_wishes(answer: Answer, policies: Policies) -> bool:
    return (answer.policy.ood, answer.policy.empty) == (policies.ood, policies.empty)


def exit_code(results: Sequence[Result]) -> ExitCode:
    """0 where all cases were answered, 1 where one was not, else 3 where one was rejected."""
    codes = {result.exit_code for result in results}
    return ExitCode.FAILED if ExitCode.FAILED in codes else max(codes, default=ExitCode.DONE)
