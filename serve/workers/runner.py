"""Does one job: files to the model, answer and masks to the job's artifacts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import to_jsonable_python

from ..backends.onnxruntime_network import is_out_of_memory
from ..dicomweb import Archives
from ..errors import Code, Refusal
from ..jobs.drift import register
from ..media import media_type
from .archiving import Errand
from .engine import ANSWER, MASK, Order

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

    from ..answer import Answer
    from ..jobs.artifacts import FolderStore
    from ..jobs.database import Database
    from ..jobs.task import Task
    from .engine import Segmentation
    from .host import ModelHost


class JobRunner:
    """What a ``Worker`` calls for each job.

    Args:
        host: the models.
        inputs: where the clients' files lie.
        database: where drift is watched.
        archives: that series are fetched from, and results stored in.
    """

    def __init__(
        self, host: ModelHost, inputs: FolderStore, database: Database, archives: Archives | None = None
    ) -> None:
        self._host = host
        self._inputs = inputs
        self._database = database
        self._archives = archives or Archives()
        self._streams: set[str] = set()  # that are known to the database

    def __call__(self, task: Task) -> None:
        """Do a job.

        Raises:
            Refusal: the input is refused, or the model is not served.
            TaskInterrupted: somebody wants it to stop.
        """
        order = Order.model_validate(task.job.parameters).model_copy(update={"identity": task.job.id})
        engine = self._host.engine(order.model)
        errand = Errand(order, task, self._archives)
        files = self._uploaded(order, task) if order.source is None else errand.fetch(order.source)
        try:
            made = engine.segment(files, folder=task.output.scratch(), order=order, progress=task.progress)
        except Exception as error:
            if is_out_of_memory(error):
                raise _out_of_memory() from error
            raise
        made = errand.deliver(made)
        _keep(made, order, task)
        task.result = _result(made.answer) | self._drift(made)

    def _uploaded(self, order: Order, task: Task) -> tuple[Path, ...]:
        token = task.job.input_folder
        assert token is not None, "the service gives every job its files, or says where they are"
        return tuple(self._inputs.folder(token) / file.name for file in order.files)

    def _drift(self, made: Segmentation) -> dict[str, JsonValue]:
        """Say where the case belongs in its model's stream, which is begun by the first one."""
        if made.drift is None:
            return {}
        stream = made.drift.stream
        if stream.id not in self._streams:
            register(self._database, stream)
            self._streams.add(stream.id)
        return {"drift": {"stream": stream.id, "score": made.drift.score}}


def _out_of_memory() -> Refusal:
    return Refusal(
        Code.BACKEND_FAILED,
        "The device's memory was not enough for this image.",
        remedy="Crop the image to the region of interest, or ask the operator for a device with more memory.",
    )


def _keep(made: Segmentation, order: Order, task: Task) -> None:
    """Move what was made into the job's folder."""
    answer = made.answer.model_copy(update={"case": order.case})
    path = task.output.add(ANSWER, media_type="application/json", suffix=".json")
    path.write_text(answer.model_dump_json(indent=2) + "\n")
    if made.mask is not None and MASK in order.outputs:
        _move(task, MASK, made.mask, media_type(made.mask.name))
    for kind, file in made.more.items():
        _move(task, kind, file.path, file.media_type)


def _move(task: Task, kind: str, path: Path, kind_of_media: str) -> None:
    """Keep a file under its kind; of its own name only the format's ending."""
    endings = path.suffixes[-2:] if path.suffix.lower() == ".gz" else path.suffixes[-1:]
    suffix = "".join(endings).lower()
    path.rename(task.output.add(kind, media_type=kind_of_media, suffix=suffix))


def _result(answer: Answer) -> dict[str, JsonValue]:
    """What lists and metrics say of a job, without opening its files."""
    said = {
        "outcome": answer.outcome,
        "verdict": answer.distribution.verdict,
        "problem": answer.problem,
        "push": answer.push,
        "seconds": answer.manifest.timings,
    }
    plain: dict[str, JsonValue] = to_jsonable_python(said, inf_nan_mode="strings", fallback=str)
    return plain
