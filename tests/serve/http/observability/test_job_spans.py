"""Spans of jobs: in the trace of the request that submitted them, and without a word of the client's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.http.app import create_app
from nnunet_losses.serve.http.settings import Settings
from nnunet_losses.serve.spans import Spans
from nnunet_losses.serve.workers.job_spans import JobSpans
from nnunet_losses.serve.workers.threads import Threads

from ..fakes import PATIENCE, FakeEngine, running, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CANARY = "JaneDoe1971"
TIMINGS = {"read": 0.2, "preprocess": 0.1, "network": 1.5, "stitch": 0.3, "write": 0.05}


class Timed(FakeEngine):
    """Says how long its stages took, as the real one does."""

    def answer(self) -> Any:
        answer = super().answer()
        manifest = answer.manifest.model_copy(update={"timings": TIMINGS})
        return answer.model_copy(update={"manifest": manifest})


def act(*, progress: Callable[..., None], **_: Any) -> None:
    progress("network", 0, 1)


class Traced:
    """A service whose spans are kept."""

    def __init__(self, client: httpx.Client, exporter: InMemorySpanExporter, engine: Timed) -> None:
        self.client, self.exporter, self.engine = client, exporter, engine

    def send(self, *, spans: int) -> tuple[str, Any]:
        """Send a job with a trace; give the answer's trace header and the spans of the job's attempt."""
        self.exporter.clear()
        files = {name: (f"{CANARY}.nii.gz", CANARY.encode()) for name in ("T1", "FLAIR")}
        headers = {"traceparent": f"00-{TRACE}-{PARENT}-01"}
        reply = self.client.post("/v1/jobs", files=files, data={"case": CANARY}, headers=headers)
        assert reply.status_code == 202
        wait_for(lambda: len(self.exporter.get_finished_spans()) >= spans)
        return reply.headers["traceresponse"], self.exporter.get_finished_spans()


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    exporter, engine = InMemorySpanExporter(), Timed(act=act)
    spans = JobSpans(Spans(SimpleSpanProcessor(exporter)))
    predictors = Threads({"brain": lambda: engine}, spans=spans)
    folder: Path = tmp_path_factory.mktemp("traced")
    app = create_app(Settings(temporary_folder=folder), predictors=predictors)
    with running(app) as (url, _), httpx.Client(base_url=url, timeout=PATIENCE) as client:
        wait_for(lambda: client.get("/v2/health/ready").status_code == 200)
        yield Traced(client, exporter, engine)


def test_a_job_and_its_stages_are_in_the_trace_of_its_request(traced: Traced) -> None:
    header, spans = traced.send(spans=2 + len(TIMINGS))
    by_name = {span.name: span for span in spans}
    assert set(by_name) == {"job", "queue", "decode", "preprocess", "network", "stitch", "write"}
    assert {f"{span.context.trace_id:032x}" for span in by_name.values()} == {TRACE}
    job = by_name.pop("job")
    request = header.split("-")[2]
    assert f"{job.parent.span_id:016x}" == request
    assert [f"{link.context.span_id:016x}" for link in job.links] == [request]
    assert {span.parent.span_id for span in by_name.values()} == {job.context.span_id}
    for name, seconds in (("decode", 0.2), ("network", 1.5)):
        assert (by_name[name].end_time - by_name[name].start_time) / 1e9 == pytest.approx(seconds, abs=1e-6)
    assert job.start_time == by_name["queue"].start_time <= by_name["queue"].end_time <= job.end_time
    assert job.attributes["nnunet_losses.job.state"] == "succeeded"
    assert job.attributes["nnunet_losses.model"] == "brain"
    assert not [span for span in spans if CANARY in span.to_json()]


def test_a_failure_is_told_by_its_code_and_stage(traced: Traced) -> None:
    def fail(*, progress: Callable[..., None], **_: Any) -> None:
        progress("prepare", 0, 1)
        raise Refusal(Code.INPUT_TRUNCATED, f"Half of {CANARY} is missing.", remedy="Send all.")

    traced.engine.act = fail
    _, spans = traced.send(spans=2)
    (job,) = (span for span in spans if span.name == "job")
    assert job.attributes["error.type"] == "input.truncated"
    assert job.attributes["nnunet_losses.job.stage"] == "prepare"
    assert not job.status.is_ok
    assert not [span for span in spans if CANARY in span.to_json()]


def test_without_a_stored_trace_one_begins(traced: Traced) -> None:
    """Of jobs of an older server: nothing stands above them."""
    from types import SimpleNamespace

    from nnunet_losses.serve.jobs.states import JobState

    traced.exporter.clear()
    job: Any = SimpleNamespace(
        id="0" * 32, traceparent=None, created=1.0, started=3.0, finished=4.0, attempt=2, result=None,
        state=JobState.SUCCEEDED, failure=None, parameters={"model": "brain"},
    )  # fmt: skip
    JobSpans(Spans(SimpleSpanProcessor(traced.exporter))).ended(job)
    (span,) = traced.exporter.get_finished_spans()
    assert (span.name, span.parent, span.links) == ("job", None, ())
    assert (span.start_time, span.end_time) == (3_000_000_000, 4_000_000_000)  # its second attempt
