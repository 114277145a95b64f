"""The client: submit, wait, listen, cancel, download."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import uuid
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

from .errors import Damaged, ServiceError, Unreachable
from .event_lines import read_events
from .records import Event, Job, Model, Series
from .transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import httpx

    from .records import Artifact

POLL_SECONDS = 1.0
_SWITCHES = frozenset({"uncertainty", "mirror", "skip_background"})
_DOUBLE_ENDINGS = (".nii.gz",)


class Client:
    """Talks to one server; a context manager that closes its connections.

    A request that finds no connection, or a busy server, is repeated for ``patience`` seconds; submissions
    carry an idempotency key, so that a repetition makes no second job. Names of files are not
    sent, only their endings.

    Args:
        url: of the server, for example ``http://127.0.0.1:8000``.
        api_key: where the server wants one.
        patience: seconds.
        timeout: seconds without a byte after which a connection counts as lost.
        transport: stands in for the network, in tests.

    Example:
        >>> with Client("http://127.0.0.1:8000") as client:  # doctest: +SKIP
        ...     job = client.segment({"MRI": Path("image.nii.gz")})
        ...     client.download(job.artifact("mask"), Path("mask.nii.gz"))
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        patience: float = 300.0,
        timeout: float = 60.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._transport = Transport(
            url, api_key=api_key, patience=patience, timeout=timeout, transport=transport
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def models(self) -> tuple[Model, ...]:
        """All served models."""
        found = self._transport.json("GET", "v1/models")
        return tuple(Model.model_validate(model) for model in found["models"])

    def archives(self) -> tuple[str, ...]:
        """Names of the archives that series can be fetched from, and results stored in."""
        found = self._transport.json("GET", "v1/archives")
        return tuple(archive["name"] for archive in found["archives"])

    def submit(
        self,
        files: Mapping[str, Path] | Series,
        *,
        model: str | None = None,
        case: str | None = None,
        outputs: Iterable[str] = (),
        push: str | None = None,
        options: Mapping[str, str] | None = None,
        key: str | None = None,
    ) -> Job:
        """Submit one case.

        Args:
            files: by the names that the model gives its ``parts``; or a series, which the server fetches.
            model: needed where several are served.
            case: shown in the answer; not a patient's name.
            outputs: kinds of result files; the server's choice if there are none.
            push: archive that gets the DICOM objects among the outputs; a SEG if there are none.
            options: further fields of the request, as ``{"empty_seg": "omit", "orientation": "RAS"}``.
            key: idempotency key; None makes a new one, so that only repetitions of this call are one job.

        Raises:
            ServiceError: see ``errors``.
            OSError: a file cannot be read.
        """
        fields = {"model": model, "case": case, "outputs": ",".join(outputs), "push": push, **(options or {})}
        data = {name: value for name, value in fields.items() if value}
        headers = {"Idempotency-Key": key or str(uuid.uuid4())}
        if isinstance(files, Series):
            body = series_body(files, data)
            return Job.model_validate(self._transport.json("POST", "v1/jobs", json=body, headers=headers))
        with ExitStack() as opened:

            def parts() -> list[tuple[str, tuple[str, BinaryIO]]]:
                return [
                    (name, (sent_name(path), opened.enter_context(path.open("rb"))))
                    for name, path in files.items()
                ]

            return Job.model_validate(
                self._transport.json("POST", "v1/jobs", files=parts, data=data, headers=headers)
            )

    def job(self, job_id: str) -> Job:
        """How far a job is."""
        return Job.model_validate(self._transport.json("GET", f"v1/jobs/{job_id}"))

    def events(self, job_id: str, *, after: str = "") -> Iterator[Event]:
        """Listen to a job until it is done; a broken connection is taken up again behind the last event.

        Args:
            job_id: of the job.
            after: id of the last event that is known.

        Raises:
            ServiceError: there is no such job, or the server does not come back.
        """
        while True:
            event = None
            for event in self._listen(job_id, after):
                after = event.id or after
                yield event
                if event.kind == "done":
                    return
            if self.job(job_id).is_final and event is None:
                return

    def _listen(self, job_id: str, after: str) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": after} if after else {})}
        try:
            with self._transport.stream(f"v1/jobs/{job_id}/events", headers=headers) as response:
                yield from read_events(response.iter_lines())
        except Unreachable:
            return  # asking for the job, which is repeated, tells whether the server is back

    def wait(self, job_id: str, *, on_news: Callable[[Job], object] = lambda _: None) -> Job:
        """Wait until a job is finished.

        Args:
            job_id: of the job.
            on_news: called with the job whenever something has changed.

        Raises:
            ServiceError: there is no such job, or the server does not come back.
        """
        job, after = self.job(job_id), ""
        on_news(job)
        while not job.is_final:
            after = str(job.last_event or after)
            for event in self._heard(job_id, after):
                job, after = _changed(job, event), event.id or after
                on_news(job)
            if not job.is_final:  # events do not get through, or broke off: ask
                time.sleep(POLL_SECONDS)
                job = self.job(job_id)
                on_news(job)
        return job

    def _heard(self, job_id: str, after: str) -> Iterator[Event]:
        """Listen as far as that goes; asking tells what is wrong, if it is more than the events."""
        with suppress(ServiceError):
            yield from self._listen(job_id, after)

    def cancel(self, job_id: str) -> Job:
        """Cancel a job; a running one ends after its present tile."""
        return Job.model_validate(self._transport.json("DELETE", f"v1/jobs/{job_id}"))

    def manifest(self, job_id: str) -> dict[str, Any]:
        """What made the results: hashes, versions, timings."""
        manifest: dict[str, Any] = self._transport.json("GET", f"v1/jobs/{job_id}/manifest")
        return manifest

    def download(self, artifact: Artifact, path: Path) -> Path:
        """Write a result file, whole or not at all.

        Raises:
            Damaged: it does not have the hash that the server recorded.
            OSError: it cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._transport.repeated(lambda: self._download(artifact, path))
        return path

    def _download(self, artifact: Artifact, path: Path) -> None:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        part = Path(name)
        digest = hashlib.sha256()
        try:
            with os.fdopen(handle, "wb") as file, self._transport.stream(artifact.url) as response:
                for chunk in response.iter_bytes():
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != artifact.sha256:
                raise _damaged(artifact)
            part.chmod(0o644)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def segment(self, files: Mapping[str, Path] | Series, **options: Any) -> Job:
        """Submit one case and wait for it; options as for ``submit``."""
        return self.wait(self.submit(files, **options).id)


def series_body(series: Series, fields: Mapping[str, str]) -> dict[str, Any]:
    """Body of a request for a series: the form's fields, as JSON has them.

    Example:
        >>> series_body(Series(archive="pacs", study="1.2", series="1.3"), {"uncertainty": "true"})
        {'source': {'archive': 'pacs', 'study': '1.2', 'series': '1.3'}, 'uncertainty': True}
    """
    members: dict[str, Any] = {"source": series.model_dump(), **fields}
    if "outputs" in fields:
        members["outputs"] = fields["outputs"].split(",")
    for name in _SWITCHES & fields.keys():
        members[name] = fields[name] in {"true", "1"}
    if "step" in fields:
        members["step"] = float(fields["step"])
    return members


def sent_name(path: Path) -> str:
    """Name under which a file is sent: its own may be a patient's, and only the ending means something.

    Example:
        >>> sent_name(Path("Doe.John.nii.gz")), sent_name(Path("scan.mha"))
        ('image.nii.gz', 'image.mha')
    """
    name = path.name.lower()
    double = next((ending for ending in _DOUBLE_ENDINGS if name.endswith(ending)), "")
    return f"image{double or path.suffix.lower()}"


def _changed(job: Job, event: Event) -> Job:
    if event.kind == "done":
        return Job.model_validate(event.data)
    if event.kind == "progress":
        return Job.model_validate({**job.model_dump(), "state": "running", "progress": event.data})
    known = {name: value for name, value in event.data.items() if name in Job.model_fields and name != "id"}
    return Job.model_validate({**job.model_dump(), **known})


def _damaged(artifact: Artifact) -> Damaged:
    return Damaged(
        "client.damaged",
        f"The file {artifact.name} does not have the hash that the server recorded.",
        "Download it again; if it stays so, something between here and the server changes files.",
    )
