"""The log says what happened, and nothing of what a client sent."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.http.logs import LOGGER, JsonFormatter

from .fakes import FakeEngine, serving

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CANARY = "JaneDoe1971"


class Lines(logging.Handler):
    """Keeps formatted lines."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(JsonFormatter())
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(self.format(record))

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in map(json.loads, self.texts) if line["event"] == name]


@pytest.fixture
def lines() -> Iterator[Lines]:
    handler = Lines()
    level = LOGGER.level
    root = logging.getLogger()
    for logger in (LOGGER, root):
        logger.addHandler(handler)
    LOGGER.setLevel("INFO")
    LOGGER.propagate = False
    yield handler
    for logger in (LOGGER, root):
        logger.removeHandler(handler)
    LOGGER.setLevel(level)
    LOGGER.propagate = True


def test_a_request_is_one_line(lines: Lines, tmp_path: Path) -> None:
    with serving(FakeEngine(), folder=tmp_path) as service:
        response = service.segment()
    (line,) = lines.events("request")
    assert line["route"] == "/v1/segment"
    assert line["request_id"] == response.headers["x-request-id"]
    assert (line["method"], line["status"]) == ("POST", 200)
    assert (line["model"], line["outcome"]) == ("brain", "segmented")
    assert line["seconds"] > 0


def test_a_problem_is_logged_with_its_code(lines: Lines, tmp_path: Path) -> None:
    refusal = Refusal(Code.INPUT_TRUNCATED, "It ends early.", remedy="Send all of it.")
    with serving(FakeEngine(act=_raising(refusal)), folder=tmp_path) as service:
        service.segment()
        service.client.get("/v1/models/nobody")
    codes = [(line["status"], line["code"]) for line in lines.events("request") if "code" in line]
    assert (400, "input.truncated") in codes
    assert (404, "model.unknown") in codes


def test_an_unexpected_exception_is_logged_by_place_and_id(lines: Lines, tmp_path: Path) -> None:
    with serving(FakeEngine(act=_raising(RuntimeError(CANARY))), folder=tmp_path) as service:
        response = service.segment()
    (line,) = lines.events("job.internal")
    (request,) = [line for line in lines.events("request") if line["route"] == "/v1/segment"]
    assert (line["level"], line["error"]) == ("error", "RuntimeError")
    assert request["request_id"] == response.headers["x-request-id"]
    assert request["job"] == line["job"]
    assert any("test_logs.py" in place for place in line["stack"])


def test_nothing_of_a_client_is_in_the_log_or_in_a_refusal(lines: Lines, tmp_path: Path) -> None:
    """A canary through every door: paths, headers, part names, file names, fields, contents, exceptions."""
    part = (f"{CANARY}.nii.gz", CANARY.encode())
    both = {"T1": part, "FLAIR": part}
    with serving(FakeEngine(act=_raising(RuntimeError(CANARY))), folder=tmp_path) as service:
        ask = service.client.request
        responses = [
            ask("GET", f"/{CANARY}?patient={CANARY}"),
            ask("GET", f"/v1/models/{CANARY}"),
            ask("GET", f"/v2/models/{CANARY}/ready", headers={"X-Request-ID": CANARY}),
            ask("POST", "/v1/segment", files=both, data={"case": CANARY}),
            ask("POST", "/v1/segment", files=both, data={"model": CANARY}),
            ask("POST", "/v1/segment", files={CANARY: part}),
            ask("POST", "/v1/segment", files=both, data={CANARY: CANARY}),
            ask("POST", "/v1/segment", content=CANARY, headers={"Content-Type": f"multipart/{CANARY}"}),
            ask(
                "POST",
                "/v1/segment",
                content=CANARY,
                headers={"Content-Type": "multipart/form-data; boundary=x"},
            ),
            ask("POST", "/v1/segment", files=both, headers={"Accept": f"text/{CANARY}"}),
        ]
        assert [response.status_code for response in responses] == [
            404,
            404,
            404,
            500,
            404,
            422,
            422,
            415,
            400,
            406,
        ]
    assert len(lines.events("request")) == len(responses) - 1  # all but the probe
    assert CANARY not in "".join(lines.texts)
    assert CANARY not in "".join(response.text for response in responses)


def test_the_configuration_gives_json_and_turns_raw_paths_off() -> None:
    code = (
        "import logging.config\n"
        "from nnunet_losses.serve.http.logs import log_event, logging_configuration\n"
        "logging.config.dictConfig(logging_configuration())\n"
        "log_event('model.ready', model='brain')\n"
        "logging.getLogger('other').warning('from %s', 'elsewhere')\n"
        "logging.getLogger('uvicorn.access').info('GET /patients/jane')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    first, second = map(json.loads, done.stderr.splitlines())
    assert (first["event"], first["model"], first["level"]) == ("model.ready", "brain", "info")
    assert second["event"] == "from elsewhere"


def _raising(error: Exception):
    def call(**_: Any) -> None:
        raise error

    return call
