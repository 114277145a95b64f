"""Cases to a server, results to a folder; an interrupted run finds its jobs again."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nnunet_losses.ending import ExitCode

from .errors import NotFound, Rejected, ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from .cases import Case
    from .client import Client
    from .records import Artifact, Job, Model, Push

ANSWER, MASK = "answer", "mask"
_ENDINGS = {
    "application/gzip": ".nii.gz",
    "application/json": ".json",
    "application/dicom": ".dcm",
    "image/png": ".png",
    "image/tiff": ".tif",
    "image/bmp": ".bmp",
    "model/stl": ".stl",
    "model/gltf-binary": ".glb",
}
_UNSAFE = re.compile(r"[^\w.-]+")  # the server's names must not lead elsewhere
_FILE_ENDING = re.compile(r"(\.\w{1,16}){1,3}")  # nor its endings
_BY_KIND = {"nrrd": ".nrrd", "mha": ".mha", "probabilities": ".npz"}
_AS_PREDICT = {"png": ".overlay.png"}  # what is called otherwise than its kind


@dataclass(frozen=True)
class Sent:
    """What became of one case: result files by kind, or an error."""

    case: str
    outcome: str | None
    files: Mapping[str, Path]
    error: ServiceError | None = None
    push: Push | None = None

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        files = {kind: str(path) for kind, path in self.files.items()}
        problem = None if self.error is None else problem_of(self.error)
        push = None if self.push is None else self.push.model_dump()
        told = {"problem": problem, "push": push}
        return {"case": self.case, "outcome": self.outcome, "files": files, **told}


@dataclass(frozen=True)
class Sending:
    """How cases are sent.

    Attributes:
        client: of the server.
        model: which one answers.
        folder: for results: CASE.json the answer, CASE with the mask's ending, CASE.KIND with another's.
        outputs: kinds of results beside answer and mask.
        push: archive that gets the DICOM objects among them.
        options: further fields of the request.
    """

    client: Client
    model: Model
    folder: Path
    outputs: tuple[str, ...] = ()
    options: Mapping[str, str] | None = None
    push: str | None = None

    def send(self, case: Case, *, on_news: Callable[[Job], object]) -> Sent:
        """Send one case, wait, and write its results; what an interrupted run began is taken up.

        Raises:
            OSError: a file cannot be read or written.
        """
        try:
            job = self._job(case)
            job = self.client.wait(job.id, on_news=on_news)
            return self._finish(case, job)
        except Rejected as rejected:
            return self._rejected(case, rejected)
        except ServiceError as error:
            return Sent(case.name, None, self._write_problem(case, error), error)

    def targets(self, case: Case) -> set[Path]:
        """Files that a case's results may be written to, as far as that is known before."""
        endings = {".json", ".problem.json", ".job.json", self._mask_ending}
        return {self._path(case, ending) for ending in endings}

    @property
    def _mask_ending(self) -> str:
        ending = self.model.file_ending or ""
        return ending if _FILE_ENDING.fullmatch(ending) else ""

    def _clear(self, case: Case) -> None:
        """Remove an earlier answer's files: no mask may stand beside a rejection."""
        for ending in (".json", self._mask_ending or ".mask", *_AS_PREDICT.values()):
            self._path(case, ending).unlink(missing_ok=True)
        for path in self.folder.iterdir() if self.folder.is_dir() else ():
            if path.name.startswith(
                tuple(f"{case.name}.{kind}{sign}" for kind in self.outputs for sign in ".-")
            ):
                path.unlink()

    def _path(self, case: Case, ending: str) -> Path:
        return self.folder / f"{case.name}{ending}"

    def _job(self, case: Case) -> Job:
        """The job of an earlier run that was interrupted, if the server still has it; else a new one."""
        note = self._path(case, ".job.json")
        stamp = self._stamp(case)
        try:
            known = json.loads(note.read_text())
            if known["request"] == stamp:
                return self.client.job(known["job"])
        except (OSError, ValueError, KeyError, TypeError, NotFound):
            note.unlink(missing_ok=True)
        kinds = (MASK, ANSWER, *(kind for kind in self.outputs if kind not in {MASK, ANSWER}))
        wanted = case.files if case.series is None else case.series
        job = self.client.submit(
            wanted, model=self.model.name, outputs=kinds, push=self.push, options=self.options
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        note.write_text(json.dumps({"job": job.id, "request": stamp}))
        return job

    def _stamp(self, case: Case) -> list[Any]:
        """What the same request has in common; sizes and times stand for contents."""
        files = [
            [part, str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns]
            for part, path in case.files.items()
        ]
        series = None if case.series is None else case.series.model_dump()
        options = [list(pair) for pair in sorted((self.options or {}).items())]
        return [self.model.name, sorted(self.outputs), options, files, series, self.push]

    def _finish(self, case: Case, job: Job) -> Sent:
        self._clear(case)
        if job.state != "succeeded":
            self._path(case, ".job.json").unlink(missing_ok=True)
            raise _failure(job)
        files = {}
        for artifact in job.artifacts:
            files[artifact.name] = self.client.download(artifact, self._path(case, self._ending(artifact)))
        for ending in (".job.json", ".problem.json"):
            self._path(case, ending).unlink(missing_ok=True)
        return Sent(case.name, job.outcome, files, push=job.push)

    def _ending(self, artifact: Artifact) -> str:
        if artifact.name == ANSWER:
            return ".json"
        if artifact.name == MASK:
            return self._mask_ending or _ENDINGS.get(artifact.media_type, ".mask")
        if artifact.name in _AS_PREDICT:
            return _AS_PREDICT[artifact.name]
        ending = _BY_KIND.get(artifact.name) or _ENDINGS.get(artifact.media_type, "")
        return f".{_UNSAFE.sub('_', artifact.name)}{ending}"

    def _rejected(self, case: Case, rejected: Rejected) -> Sent:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear(case)
        path = self._path(case, ".json")
        path.write_text(json.dumps(rejected.answer | {"case": case.name}, indent=2) + "\n")
        return Sent(case.name, "rejected", {ANSWER: path})

    def _write_problem(self, case: Case, error: ServiceError) -> dict[str, Path]:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self._path(case, ".problem.json")
        path.write_text(json.dumps(problem_of(error), indent=2) + "\n")
        return {"problem": path}


def problem_of(error: ServiceError) -> dict[str, Any]:
    """The error for machines."""
    return {"code": error.code, "detail": error.detail, "remedy": error.remedy, "request": error.request_id}


def exit_code(sent: Sequence[Sent]) -> ExitCode:
    """0 where all cases were answered, 1 where one was not, else 3 where one was rejected; as ``predict``.

    An answer that was to be stored in an archive, and was not, counts as none.
    """
    if any(one.error is not None or (one.push and one.push.state == "failed") for one in sent):
        return ExitCode.FAILED
    return ExitCode.REJECTED if any(one.outcome == "rejected" for one in sent) else ExitCode.DONE


def _failure(job: Job) -> ServiceError:
    if job.problem is None:
        return ServiceError("job.cancelled", "The job was cancelled.", "Send the case again.")
    return ServiceError(job.problem.code, job.problem.detail, job.problem.remedy)
