"""Trace context: taken from who calls, told to who is called, and never a way for a name to travel."""

from __future__ import annotations

import pytest

from nnunet_losses.serve.http.observability.tracing import begin

from ..security.gates import Guarded

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def test_a_trace_goes_on() -> None:
    found = begin(f"00-{TRACE}-{PARENT}-01")
    assert (found.trace_id, found.parent_id, found.is_sampled) == (TRACE, PARENT, True)
    assert found.span_id != PARENT
    assert found.header == f"00-{TRACE}-{found.span_id}-01"
    assert begin(f"cc-{TRACE}-{PARENT}-00-what-will-be").trace_id == TRACE  # a later version


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-more",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{PARENT}-01",
        f"00-{TRACE[:-1]}g-{PARENT}-01",
        "JaneDoe",
    ],
)
def test_another_one_begins_where_there_is_none(header: str | None) -> None:
    found = begin(header)
    assert found.parent_id is None
    assert found.trace_id not in (header or "")
    assert begin(header).trace_id != found.trace_id


def test_every_answer_names_its_trace() -> None:
    guarded = Guarded()
    found = guarded.ask("GET", "/healthz", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert found.headers["traceresponse"].split("-")[1] == TRACE
    refused = guarded.ask("GET", headers={"Host": "evil.example"})
    assert len(refused.headers["traceresponse"]) == 55


def test_spans_carry_the_ids_that_were_told() -> None:
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    from nnunet_losses.serve.http.observability.telemetry import Telemetry

    exporter = InMemorySpanExporter()
    guarded = Guarded(telemetry=Telemetry(SimpleSpanProcessor(exporter)))
    canary = "JaneDoe1971"
    headers = {"traceparent": f"00-{TRACE}-{PARENT}-01", "X-Case": canary}
    answer = guarded.ask("POST", f"/v1/{canary}?case={canary}", headers=headers)
    (span,) = exporter.get_finished_spans()
    assert f"{span.context.trace_id:032x}" == TRACE
    assert f"{span.context.span_id:016x}" == answer.headers["traceresponse"].split("-")[2]
    assert f"{span.parent.span_id:016x}" == PARENT
    assert span.attributes["http.response.status_code"] == answer.status_code
    assert span.end_time >= span.start_time
    assert canary not in span.to_json()
