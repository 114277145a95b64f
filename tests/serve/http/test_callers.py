"""Callers of the whole service: jobs are their own, and a patient's name goes nowhere."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.http.security.caller import Scope
from nnunet_losses.serve.http.security.key_store import changing
from nnunet_losses.serve.http.security.keys import create_key
from nnunet_losses.serve.logs import LOGGER, JsonFormatter

from ...conftest import ROOT
from .fakes import PATIENCE, FakeEngine, Service, problem, serving, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

CANARY = "JaneDoe1971"
HEADERS = {
    "X-Request-ID": CANARY,
    "traceparent": CANARY,
    "User-Agent": CANARY,
    "Referer": f"http://{CANARY}/",
}


class Owned:
    """A service that asks for keys, with two callers and an operator."""

    def __init__(self, service: Service, tokens: dict[str, str]) -> None:
        self.service = service
        self.ann, self.bob, self.prometheus = (
            httpx.Client(
                base_url=service.url, timeout=PATIENCE, headers={"Authorization": f"Bearer {tokens[name]}"}
            )
            for name in ("ann", "bob", "prometheus")
        )

    def close(self) -> None:
        for client in (self.ann, self.bob, self.prometheus):
            client.close()

    def submit(self, client: httpx.Client, **more: Any) -> str:
        files = {name: (f"{CANARY}.nii.gz", CANARY.encode()) for name in ("T1", "FLAIR")}
        reply = client.post("/v1/jobs", files=files, **more)
        assert reply.status_code == 202, reply.text
        job: str = reply.json()["id"]
        wait_for(lambda: client.get(f"/v1/jobs/{job}").json()["state"] not in {"queued", "running"})
        return job


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Owned]:
    folder = tmp_path_factory.mktemp("owned")
    tokens = {}
    with changing(folder / "keys.json") as keys:
        for name in ("ann", "bob", "prometheus"):
            scope = Scope.METRICS if name == "prometheus" else Scope.SEGMENT
            tokens[name], record = create_key(name, [scope])
            keys.append(record)
    with serving(FakeEngine(), folder=folder / "uploads", keys_file=folder / "keys.json") as service:
        owned = Owned(service, tokens)
        yield owned
        owned.close()


@pytest.fixture
def lines() -> Iterator[list[str]]:
    """Everything that is logged, by whatever logger."""
    found: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: found.append(JsonFormatter().format(record))  # type: ignore[method-assign]
    root, level = logging.getLogger(), logging.getLogger().level
    own = LOGGER.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    LOGGER.setLevel(logging.DEBUG)
    silenced = {name: logging.getLogger(name).level for name in ("httpx", "httpcore")}
    for name in silenced:  # the test's own client
        logging.getLogger(name).setLevel(logging.CRITICAL)
    yield found
    root.removeHandler(handler)
    root.setLevel(level)
    LOGGER.setLevel(own)
    for name, before in silenced.items():
        logging.getLogger(name).setLevel(before)


def test_jobs_belong_to_their_caller(owned: Owned) -> None:
    job = owned.submit(owned.ann)
    addresses = [f"/v1/jobs/{job}{rest}" for rest in ("", "/events", "/manifest", "/artifacts/mask")]
    for address in addresses:
        assert owned.ann.get(address).status_code == 200, address
        problem(owned.bob.get(address), 404, "job.unknown")
        problem(owned.service.client.get(address), 401, "auth.required")
    problem(owned.bob.delete(f"/v1/jobs/{job}"), 404, "job.unknown")
    unknown = owned.bob.get(f"/v1/jobs/{'0' * 32}").json()
    hidden = owned.bob.get(f"/v1/jobs/{job}").json()
    differing = {key for key in unknown if unknown[key] != hidden[key]}
    assert differing <= {"instance"}  # nobody can tell another's job from none


def test_keys_of_callers_do_not_meet(owned: Owned) -> None:
    """One Idempotency-Key of two callers makes two jobs."""
    headers = {"Idempotency-Key": "visit-1"}
    assert owned.submit(owned.ann, headers=headers) != owned.submit(owned.bob, headers=headers)


def test_a_patients_name_goes_nowhere(owned: Owned, lines: list[str]) -> None:
    """A canary through every door: files, parts, fields, headers, addresses, contents, exceptions."""
    ask = owned.ann.request
    part = (f"{CANARY}.nii.gz", CANARY.encode())
    both = {"T1": part, "FLAIR": part}
    job = owned.submit(owned.ann, data={"case": CANARY}, headers=HEADERS)
    replies = [
        ask("GET", f"/{CANARY}?patient={CANARY}", headers=HEADERS),
        ask("GET", f"/v1/models/{CANARY}", headers=HEADERS),
        ask("POST", f"/v1/models/{CANARY}/reload", headers=HEADERS),
        ask("GET", f"/v2/models/{CANARY}", headers=HEADERS),
        ask("GET", f"/v2/models/{CANARY}/versions/{CANARY}/ready", headers=HEADERS),
        ask("GET", f"/v1/jobs/{CANARY}", headers=HEADERS),
        ask("GET", f"/v1/jobs/{job}/artifacts/{CANARY}", headers=HEADERS),
        ask("GET", f"/v1/jobs/{job}/events", headers=HEADERS | {"Last-Event-ID": CANARY}),
        ask("DELETE", f"/v1/jobs/{CANARY}", headers=HEADERS),
        ask("POST", "/v1/jobs", files=both, data={"model": CANARY}, headers=HEADERS),
        ask("POST", "/v1/jobs", files=both, data={"outputs": CANARY}, headers=HEADERS),
        ask("POST", "/v1/jobs", files=both, data={CANARY: CANARY}, headers=HEADERS),
        ask("POST", "/v1/jobs", files={CANARY: part}, headers=HEADERS),
        ask(
            "POST",
            "/v1/jobs",
            files=both,
            headers=HEADERS | {"Prefer": CANARY, "Idempotency-Key": CANARY * 40},
        ),
        ask("POST", "/v1/segment", content=CANARY, headers=HEADERS | {"Content-Type": f"multipart/{CANARY}"}),
        ask("POST", "/v1/segment", files=both, headers=HEADERS | {"Accept": f"text/{CANARY}"}),
        ask("POST", "/v1/segment", files=both, headers=HEADERS | {"Authorization": f"Bearer {CANARY}"}),
        ask("POST", "/v1/segment", files=both, headers=HEADERS | {"Origin": f"https://{CANARY}"}),
        ask(CANARY.upper(), "/v1/jobs", headers=HEADERS),
    ]
    engine = owned.service.engines[0]
    for error in (
        RuntimeError(CANARY),
        Refusal(Code.INPUT_CORRUPT, "It is damaged.", remedy="Send it again."),
    ):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "act", _raising(error))
            replies.append(ask("POST", "/v1/segment", files=both, data={"case": CANARY}, headers=HEADERS))
            owned.submit(owned.ann, data={"case": CANARY})
    told = [reply.text + str(sorted(reply.headers.items())) for reply in replies if reply.is_error]
    assert len(told) >= len(replies) - 1
    assert [text for text in told if CANARY.lower() in text.lower()] == []
    ids = {reply.headers["x-request-id"] for reply in replies if "x-request-id" in reply.headers}
    assert len(ids) >= len(replies) - 1  # one of them is no HTTP
    wait_for(lambda: ids <= logged(lines))
    assert [line for line in lines if CANARY.lower() in line.lower()] == []
    figures = owned.prometheus.get("/metrics")
    assert figures.status_code == 200
    assert CANARY.lower() not in figures.text.lower()
    assert 'nnunet_losses_jobs_failed_total{code="input.corrupt",model="brain"}' in figures.text
    assert "key:ann" not in figures.text


def logged(lines: list[str]) -> set[str]:
    """Ids of the requests that have their line; it is written after the answer."""
    known = map(json.loads, list(lines))
    return {line["request_id"] for line in known if line["event"] == "request"}


def test_every_figure_is_documented(owned: Owned) -> None:
    text = (ROOT / "docs" / "observability.md").read_text()
    lines = owned.prometheus.get("/metrics").text.splitlines()
    names = {line.split()[2] for line in lines if line.startswith("# TYPE nnunet_losses")}
    assert len(names) > 15
    assert [name for name in sorted(names) if f"`{name}`" not in text and not name.endswith("_created")] == []


def _raising(error: Exception):
    def act(**_: Any) -> None:
        raise error

    return act
