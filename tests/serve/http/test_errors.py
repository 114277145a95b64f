"""Every way in which a request fails, and the form of the answer."""

from __future__ import annotations

import errno
import math

import pytest

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.http.problems import PROBLEM_TYPES, ServiceCode
from nnunet_losses.serve.jobs.errors import JobCode

from .fakes import FakeEngine, Service, problem, serving

BOUNDARY = "frontier"
FORM = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def body(*parts: str) -> bytes:
    """A body of parts, each given as its header and content."""
    return "".join(f"--{BOUNDARY}\r\n{part}\r\n" for part in parts).encode() + f"--{BOUNDARY}--\r\n".encode()


def part(name: str, content: str = "x", *, filename: str | None = "x.nii.gz") -> str:
    file = "" if filename is None else f'; filename="{filename}"'
    return f'Content-Disposition: form-data; name="{name}"{file}\r\n\r\n{content}'


@pytest.mark.parametrize("code", list(Code))
def test_every_refusal_of_the_engine_has_its_status(
    service: Service, monkeypatch: pytest.MonkeyPatch, code: Code
) -> None:
    def refuse(**_: object) -> None:
        values = {"observed": [1, math.nan], "expected": {"at_most": 2}}
        raise Refusal(code, "What was seen.", remedy="What to do.", **values)

    monkeypatch.setattr(service.engines[0], "act", refuse)
    content = problem(service.segment(), PROBLEM_TYPES[code].status, code)
    assert (content["detail"], content["remedy"]) == ("What was seen.", "What to do.")
    assert (content["observed"], content["expected"]) == ([1, "NaN"], {"at_most": 2})
    assert service.leftovers() == []


def test_the_table_knows_every_code() -> None:
    unseen = {
        JobCode.JOB_INTERNAL,  # is `internal` for clients
        JobCode.ARTIFACT_INVALID,
        JobCode.PROGRESS_INVALID,
        JobCode.JOB_TRANSITION,
        JobCode.LEASE_LOST,
        JobCode.STORAGE_SCHEMA,
        JobCode.STORAGE_URL,
    }
    assert set(PROBLEM_TYPES) == {*Code, *ServiceCode, *JobCode} - unseen


def test_a_rejected_image_gets_422_with_its_answer(tmp_path) -> None:
    engine = FakeEngine(rejects=Refusal(Code.CONTRACT_BLANK, "All voxels are 0.", remedy="Send the image."))
    with serving(engine, folder=tmp_path) as service:
        for accept in ("*/*", "application/json"):
            response = service.segment(headers={"Accept": accept}, data={"case": "visit 2"})
            content = problem(response, 422, "contract.blank")
            assert content["answer"]["outcome"] == "rejected"
            assert content["answer"]["case"] == "visit 2"
            assert content["answer"]["problem"]["code"] == "contract.blank"


@pytest.mark.parametrize(
    ("names", "code", "expectation"),
    [
        (["T1"], "contract.channel_count", "Missing: FLAIR"),
        ([], "contract.channel_count", "Missing: T1, FLAIR"),
        (["T1", "FLAIR", "T2"], "contract.channel_name", "named after no channel"),
        (["T1", "T2"], "contract.channel_name", "named after no channel"),
        (["T1", "FLAIR", "0002"], "contract.channel_name", "named after no channel"),
        (["T1", "t1", "FLAIR"], "contract.channel_name", "0000 came twice"),
        (["T1", "0000", "FLAIR"], "contract.channel_name", "0000 came twice"),
    ],
)
def test_wrong_channels_are_named_with_an_answer(
    service: Service, names: list[str], code: str, expectation: str
) -> None:
    content = problem(
        service.client.post("/v1/segment", content=body(*map(part, names)), headers=FORM), 422, code
    )
    assert expectation in content["detail"]
    assert content["expected"] == ["T1", "FLAIR"]
    assert "-F T1=@T1.nii.gz -F FLAIR=@FLAIR.nii.gz" in content["remedy"]
    assert content["answer"]["outcome"] == "rejected"


@pytest.mark.parametrize(
    ("headers", "content", "status", "code"),
    [
        ({"Content-Type": "text/plain"}, b"{}", 415, "request.unsupported_media_type"),
        ({"Content-Type": "application/json"}, b"{}", 422, "request.invalid"),
        ({"Content-Type": "application/json"}, b"{", 400, "request.malformed"),
        ({}, b"", 415, "request.unsupported_media_type"),
        ({"Content-Type": "multipart/mixed; boundary=x"}, b"", 415, "request.unsupported_media_type"),
        ({"Content-Type": "multipart/form-data"}, b"", 400, "request.malformed"),
        ({"Content-Type": f"multipart/form-data; boundary={'b' * 300}"}, b"", 400, "request.malformed"),
        (FORM, b"", 400, "request.malformed"),
        (FORM, b"no boundary anywhere", 400, "request.malformed"),
        (FORM, body(part("T1"))[:-20], 400, "request.malformed"),
        (FORM, body("Content-Disposition: form-data\r\n\r\nx"), 400, "request.malformed"),
        (FORM, body("no header"), 400, "request.malformed"),
        (FORM, body(*(f"X-{i}: y" for i in range(1)), part("T1")), 400, "request.malformed"),
        (FORM, body(part("T1", filename=None)), 422, "request.invalid"),
        (FORM, body(part("colour", filename=None)), 422, "request.invalid"),
        (FORM, body(part("model", filename=None), part("model", filename=None)), 422, "request.invalid"),
        (FORM, body(part("case", "x" * 2000, filename=None)), 422, "request.invalid"),
        (FORM, body(*(part(f"T{i}") for i in range(200))), 422, "request.invalid"),
        (FORM, body(part("model", "other", filename=None), part("T1")), 404, "model.unknown"),
    ],
)
def test_bodies_that_are_no_request(
    service: Service, headers: dict[str, str], content: bytes, status: int, code: str
) -> None:
    problem(service.client.post("/v1/segment", content=content, headers=headers), status, code)
    assert service.leftovers() == []
    assert service.segment().status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "request.not_found"),
        ("GET", "/docs", 404, "request.not_found"),
        ("GET", "/v1/models/../../etc/passwd", 404, "request.not_found"),
        ("GET", "/v1/models/nobody", 404, "model.unknown"),
        ("GET", "/v2/models/nobody/ready", 404, "model.unknown"),
        ("GET", "/v1/segment", 405, "request.method_not_allowed"),
        ("DELETE", "/v1/models", 405, "request.method_not_allowed"),
    ],
)
def test_addresses_and_methods(service: Service, method: str, path: str, status: int, code: str) -> None:
    response = service.client.request(method, path)
    problem(response, status, code)
    assert status != 405 or response.headers["allow"]


def test_an_unexpected_exception_says_nothing_of_the_inside(tmp_path) -> None:
    def fail(**_: object) -> None:
        raise KeyError("secret of the inside")

    with serving(FakeEngine(act=fail), folder=tmp_path) as service:
        response = service.segment()
        problem(response, 500, "internal")
        assert "secret" not in response.text
        assert service.client.get("/v2/health/live").status_code == 200
        assert service.leftovers() == []


@pytest.mark.parametrize(
    ("number", "status", "code"),
    [(errno.ENOSPC, 507, "storage.full"), (errno.EACCES, 500, "internal")],
)
def test_a_full_disk_has_a_code_of_its_own(
    service: Service, monkeypatch: pytest.MonkeyPatch, number: int, status: int, code: str
) -> None:
    def fail(**_: object) -> None:
        raise OSError(number, "/secret/path")

    monkeypatch.setattr(service.engines[0], "act", fail)
    response = service.segment()
    problem(response, status, code)
    assert "secret" not in response.text


def test_a_clients_uuid_is_kept_and_anything_else_replaced(service: Service) -> None:
    known = "6b1cf7ee-4a6a-4a10-93f1-2f0c5f2d2f11"
    for sent, kept in ((known, True), ("Jane Doe", False), ("", False)):
        response = service.client.get("/nothing", headers={"X-Request-ID": sent})
        assert (response.headers["x-request-id"] == sent) is kept
        assert response.json()["instance"] == response.headers["x-request-id"]


def test_a_validation_error_of_the_framework_does_not_repeat_the_value(tmp_path) -> None:
    with serving(FakeEngine(), folder=tmp_path) as service:
        app = service.server.config.app
        app.add_api_route("/number/{number}", _double)
        response = service.client.get("/number/jane")
    content = problem(response, 422, "request.invalid")
    assert content["errors"][0]["location"] == ["path", "number"]
    assert "jane" not in response.text


async def _double(number: int) -> int:
    return number * 2
