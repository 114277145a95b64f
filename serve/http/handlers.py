"""Every exception that becomes an answer, in one place."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from nnunet_losses.serve.errors import Code, Refusal
from nnunet_losses.serve.jobs.errors import JobCode, JobRefusal
from nnunet_losses.serve.jobs.storage_errors import is_full

from .problems import ProblemDocument, ServiceCode, ServiceProblem, internal_error, job_problem, refused_job

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import FastAPI
    from starlette.requests import Request
    from starlette.responses import Response

    from nnunet_losses.serve.answer import Answer, Problem
    from nnunet_losses.serve.jobs.records import Failure


class Rejection(Exception):  # noqa: N818 - a rejection is an answer, not a fault
    """An image that the model was not made for: 422 with the whole answer."""

    def __init__(self, problem: Problem, answer: Answer) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.answer = answer


class JobFailed(Exception):  # noqa: N818 - why a job failed is an answer to who waited for it
    """A job that ended without an answer."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.code)
        self.failure = failure


def add_handlers(app: FastAPI) -> None:
    """Install the handlers; what none of them knows is answered by ``RequestContext``."""
    app.add_exception_handler(Rejection, _handler(_rejection))
    app.add_exception_handler(Refusal, _handler(_refusal))
    app.add_exception_handler(ServiceProblem, _handler(_service_problem))
    app.add_exception_handler(JobRefusal, _handler(_job_refusal))
    app.add_exception_handler(JobFailed, _handler(_job_failed))
    app.add_exception_handler(OSError, _handler(_storage))
    app.add_exception_handler(ClientDisconnect, _handler(_abandoned))
    app.add_exception_handler(RequestValidationError, _handler(_validation))
    app.add_exception_handler(HTTPException, _handler(_http))


def note(request: Request, **fields: Any) -> None:
    """Add fields to the request's line in the log. Never anything that the client sent."""
    request.scope["state"].setdefault("notes", {}).update(fields)


def _handler(
    describe: Callable[[Any], ProblemDocument],
) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        document = describe(error)
        note(request, code=str(document.code))
        return document.response(request_id=request.scope["state"]["request_id"])

    return handle


def _rejection(error: Rejection) -> ProblemDocument:
    problem = error.problem
    members = {**_values(problem), "answer": error.answer.model_dump(mode="json")}
    return ProblemDocument(Code(problem.code), problem.detail, problem.remedy, members=members)


def _refusal(error: Refusal) -> ProblemDocument:
    return ProblemDocument(error.code, error.detail, error.remedy, members=_values(error))


def _values(source: Problem | Refusal) -> dict[str, Any]:
    members = {"observed": source.observed, "expected": source.expected}
    return {name: value for name, value in members.items() if value is not None}


def _service_problem(error: ServiceProblem) -> ProblemDocument:
    return error.problem


def _job_refusal(error: JobRefusal) -> ProblemDocument:
    document = refused_job(error)
    if document.code is ServiceCode.INTERNAL:
        raise error
    return document


def _job_failed(error: JobFailed) -> ProblemDocument:
    return job_problem(error.failure)


def _storage(error: OSError) -> ProblemDocument:
    """Answer for a disk that upload or mask have filled; other faults go on to ``RequestContext``."""
    if not is_full(error):
        raise error
    return ProblemDocument(
        JobCode.STORAGE_FULL,
        "The server's disk has no room for this request.",
        remedy="Tell the operator, and try again later.",
    )


def _abandoned(_: ClientDisconnect) -> ProblemDocument:
    """Nobody reads this; the log's line says what happened."""
    return ProblemDocument(ServiceCode.REQUEST_ABANDONED, "The client went away.", remedy="Send it again.")


def _validation(error: RequestValidationError) -> ProblemDocument:
    """Say where and what, without repeating the value."""
    errors = [{"location": list(item["loc"]), "message": item["msg"]} for item in error.errors()]
    return ProblemDocument(
        ServiceCode.REQUEST_INVALID,
        f"{len(errors)} value(s) of the request are not understood.",
        remedy="See `errors`, and the description of the service at /openapi.json.",
        members={"errors": errors},
    )


_HTTP_CODES = {404: ServiceCode.REQUEST_NOT_FOUND, 405: ServiceCode.REQUEST_METHOD}


def _http(error: HTTPException) -> ProblemDocument:
    """Answer what the framework itself refuses: unknown addresses and methods."""
    if error.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return internal_error()
    code = _HTTP_CODES.get(error.status_code, ServiceCode.REQUEST_INVALID)
    return ProblemDocument(
        code,
        f"{HTTPStatus(error.status_code).phrase}.",
        remedy="See the description of the service at /openapi.json.",
        status=error.status_code,
        headers=dict(error.headers or {}),
    )
