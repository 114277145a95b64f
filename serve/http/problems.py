"""Problems as HTTP answers (RFC 9457): one table of codes, one way to render them.

https://www.rfc-editor.org/rfc/rfc9457
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from pydantic_core import to_json
from starlette.responses import Response

from nnunet_losses.serve.errors import Code
from nnunet_losses.serve.jobs.errors import JobCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nnunet_losses.serve.jobs.errors import JobRefusal
    from nnunet_losses.serve.jobs.records import Failure

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:problem-type:nnunet-losses:"


class ServiceCode(StrEnum):
    """Stable codes of problems that only the HTTP service has; those of images and bundles are ``Code``."""

    REQUEST_INVALID = "request.invalid"
    REQUEST_MALFORMED = "request.malformed"
    REQUEST_NOT_FOUND = "request.not_found"
    REQUEST_METHOD = "request.method_not_allowed"
    REQUEST_NOT_ACCEPTABLE = "request.not_acceptable"
    REQUEST_MEDIA_TYPE = "request.unsupported_media_type"
    REQUEST_TIMEOUT = "request.timeout"
    REQUEST_ABANDONED = "request.abandoned"
    REQUEST_RANGE = "request.range"
    REQUEST_HTTP = "request.http"
    REQUEST_TARGET_TOO_LONG = "request.target_too_long"
    REQUEST_HEADERS_TOO_LARGE = "request.headers_too_large"
    REQUEST_HOST = "request.host"
    REQUEST_ORIGIN = "request.origin"
    REQUEST_QUOTA = "request.quota"
    REQUEST_APPROXIMATION = "request.approximation"
    AUTH_REQUIRED = "auth.required"
    AUTH_INVALID = "auth.invalid"
    AUTH_SCOPE = "auth.scope"
    AUTH_UNAVAILABLE = "auth.unavailable"
    MODEL_UNSPECIFIED = "model.unspecified"
    MODEL_UNKNOWN = "model.unknown"
    MODEL_NOT_READY = "model.not_ready"
    MODEL_RELOAD_OFF = "model.reload_off"
    MODEL_RELOAD_FAILED = "model.reload_failed"
    SERVICE_NOT_READY = "service.not_ready"
    SERVICE_BUSY = "service.busy"
    SERVICE_STOPPING = "service.stopping"
    PREDICTION_TIMEOUT = "prediction.timeout"
    INTERNAL = "internal"


@dataclass(frozen=True)
class ProblemType:
    """What one code always means."""

    status: int
    title: str


PROBLEM_TYPES: Mapping[Code | ServiceCode | JobCode, ProblemType] = {
    Code.INPUT_MISSING: ProblemType(400, "An input file is missing"),
    Code.INPUT_UNREADABLE: ProblemType(400, "A file cannot be read as an image"),
    Code.INPUT_UNSUPPORTED_FORMAT: ProblemType(400, "The file format is not supported"),
    Code.INPUT_TRUNCATED: ProblemType(400, "A file ends too early"),
    Code.INPUT_CORRUPT: ProblemType(400, "A file is damaged"),
    Code.INPUT_TOO_LARGE: ProblemType(413, "The request or the image is too large"),
    Code.INPUT_DECODER_FAILED: ProblemType(400, "The decoder broke down over a file"),
    Code.INPUT_DECODER_TIMEOUT: ProblemType(400, "Decoding a file took too long"),
    Code.INPUT_DECODER_MEMORY: ProblemType(413, "Decoding a file needs too much memory"),
    Code.INPUT_UNSAFE_ARCHIVE: ProblemType(400, "A zip file holds what it must not"),
    Code.SERIES_NO_IMAGES: ProblemType(400, "There are no DICOM images"),
    Code.SERIES_MIXED: ProblemType(400, "The slices do not belong together"),
    Code.SERIES_MISSING_SLICE: ProblemType(400, "Slices are missing"),
    Code.SERIES_DUPLICATE_SLICE: ProblemType(400, "Slices lie at the same place"),
    Code.SERIES_TILTED: ProblemType(400, "The slices are shifted against one another"),
    Code.SERIES_UNPLACED: ProblemType(400, "Slices do not say where they lie"),
    Code.SERIES_RESCALE: ProblemType(400, "The slices' rescaling cannot be applied"),
    Code.SERIES_MULTI_FRAME: ProblemType(400, "A multi-frame image does not describe its frames"),
    Code.SERIES_TRANSFER_SYNTAX: ProblemType(400, "The transfer syntax is not supported"),
    Code.CONTRACT_CHANNEL_COUNT: ProblemType(422, "The number of channels is wrong"),
    Code.CONTRACT_CHANNEL_NAME: ProblemType(422, "A part is named after no channel, or twice after one"),
    Code.CONTRACT_DIMENSIONS: ProblemType(422, "The number of dimensions is wrong"),
    Code.CONTRACT_GEOMETRY_MISMATCH: ProblemType(422, "The channels do not lie on one grid"),
    Code.CONTRACT_SPACING: ProblemType(422, "The voxel spacing is impossible"),
    Code.CONTRACT_SIZE: ProblemType(422, "The image's size is outside what the model can process"),
    Code.CONTRACT_NON_FINITE: ProblemType(422, "The image holds NaN or infinity"),
    Code.CONTRACT_BLANK: ProblemType(422, "The image is blank"),
    Code.CONTRACT_CONSTANT: ProblemType(422, "All voxels have one value"),
    Code.CONTRACT_VALUE_RANGE: ProblemType(422, "Values are outside what the model was made for"),
    Code.OUTPUT_UNKNOWN: ProblemType(422, "There is no such output"),
    Code.OUTPUT_IMPOSSIBLE: ProblemType(422, "This image cannot be answered in that format"),
    Code.OUTPUT_NOT_INSTALLED: ProblemType(501, "The server lacks a library for that output"),
    Code.POLICY_OUT_OF_DISTRIBUTION: ProblemType(422, "The image is unlike those that the model knows"),
    Code.POLICY_EMPTY: ProblemType(422, "Nothing was found, and empty masks were not wanted"),
    Code.DICOMWEB_NOT_ALLOWED: ProblemType(403, "This archive is not on the operator's list"),
    Code.DICOMWEB_NOT_FOUND: ProblemType(422, "The archive has no such study and series"),
    Code.DICOMWEB_UNREACHABLE: ProblemType(502, "The archive does not answer"),
    Code.DICOMWEB_REFUSED: ProblemType(502, "The archive refused, or answered what cannot be understood"),
    Code.BUNDLE_UNREADABLE: ProblemType(503, "A bundle cannot be read"),
    Code.BUNDLE_UNSUPPORTED: ProblemType(503, "A bundle asks for what this version cannot do"),
    Code.BUNDLE_HASH_MISMATCH: ProblemType(503, "A bundle's files are not the exported ones"),
    Code.BUNDLE_SELF_TEST_FAILED: ProblemType(503, "A model does not reproduce its golden answer"),
    Code.BUNDLE_TIMEOUT: ProblemType(503, "A bundle took too long to be opened"),
    Code.BACKEND_UNAVAILABLE: ProblemType(503, "The inference engine is not available"),
    Code.BACKEND_FAILED: ProblemType(500, "The inference engine failed"),
    ServiceCode.REQUEST_INVALID: ProblemType(422, "The request's fields are not understood"),
    ServiceCode.REQUEST_MALFORMED: ProblemType(400, "The body is not well-formed"),
    ServiceCode.REQUEST_NOT_FOUND: ProblemType(404, "There is nothing at this address"),
    ServiceCode.REQUEST_METHOD: ProblemType(405, "This address does not know the method"),
    ServiceCode.REQUEST_NOT_ACCEPTABLE: ProblemType(406, "No such representation"),
    ServiceCode.REQUEST_MEDIA_TYPE: ProblemType(415, "The body's media type is not understood"),
    ServiceCode.REQUEST_TIMEOUT: ProblemType(408, "The body did not arrive in time"),
    ServiceCode.REQUEST_ABANDONED: ProblemType(499, "The client went away"),
    ServiceCode.REQUEST_RANGE: ProblemType(416, "The file has no such part"),
    ServiceCode.REQUEST_HTTP: ProblemType(400, "The request is not HTTP/1.1"),
    ServiceCode.REQUEST_TARGET_TOO_LONG: ProblemType(414, "The address is too long"),
    ServiceCode.REQUEST_HEADERS_TOO_LARGE: ProblemType(431, "The headers are too large"),
    ServiceCode.REQUEST_HOST: ProblemType(421, "The Host header names another machine"),
    ServiceCode.REQUEST_ORIGIN: ProblemType(403, "Another site's page sent the request"),
    ServiceCode.REQUEST_QUOTA: ProblemType(429, "The caller asks for too much"),
    ServiceCode.REQUEST_APPROXIMATION: ProblemType(403, "Approximations are not allowed"),
    ServiceCode.AUTH_REQUIRED: ProblemType(401, "The request does not say who asks"),
    ServiceCode.AUTH_INVALID: ProblemType(401, "The key or token is not accepted"),
    ServiceCode.AUTH_SCOPE: ProblemType(403, "The key or token does not grant this"),
    ServiceCode.AUTH_UNAVAILABLE: ProblemType(503, "Keys and tokens cannot be judged"),
    ServiceCode.MODEL_UNSPECIFIED: ProblemType(422, "Several models are served and none was named"),
    ServiceCode.MODEL_UNKNOWN: ProblemType(404, "There is no such model"),
    ServiceCode.MODEL_NOT_READY: ProblemType(503, "The model is not ready"),
    ServiceCode.MODEL_RELOAD_OFF: ProblemType(403, "Reloading is switched off"),
    ServiceCode.MODEL_RELOAD_FAILED: ProblemType(409, "The new bundle is not served, the old one still is"),
    ServiceCode.SERVICE_NOT_READY: ProblemType(503, "Not every model is ready"),
    ServiceCode.SERVICE_BUSY: ProblemType(503, "All places are taken"),
    ServiceCode.SERVICE_STOPPING: ProblemType(503, "The server is being stopped"),
    ServiceCode.PREDICTION_TIMEOUT: ProblemType(504, "The prediction took too long"),
    JobCode.JOB_UNKNOWN: ProblemType(404, "There is no such job"),
    JobCode.JOB_FINISHED: ProblemType(409, "The job is finished and cannot be cancelled"),
    JobCode.EVENTS_UNKNOWN: ProblemType(422, "The job has no such event"),
    JobCode.IDEMPOTENCY_CONFLICT: ProblemType(422, "The idempotency key was used for another request"),
    JobCode.PARAMETERS_TOO_LARGE: ProblemType(413, "The request's fields are too large"),
    JobCode.QUEUE_FULL: ProblemType(503, "As many jobs wait as may"),
    JobCode.QUEUE_QUOTA: ProblemType(429, "The caller has as many unfinished jobs as one may have"),
    JobCode.ARTIFACT_UNKNOWN: ProblemType(404, "The job has no such artifact"),
    JobCode.ARTIFACT_DAMAGED: ProblemType(500, "The artifact's file is not as it was written"),
    JobCode.WORKER_LOST: ProblemType(500, "The worker died over the job, twice"),
    JobCode.JOB_TIMEOUT: ProblemType(504, "The job ran too long"),
    JobCode.MODEL_UNAVAILABLE: ProblemType(503, "The job's model is no longer served"),
    JobCode.STORAGE_FULL: ProblemType(507, "The server's disk is full"),
    JobCode.STORAGE_BUSY: ProblemType(503, "The job database is locked"),
    JobCode.STORAGE_UNAVAILABLE: ProblemType(503, "The job database cannot be used"),
    ServiceCode.INTERNAL: ProblemType(500, "Something went wrong in the service"),
}


class ServiceProblem(Exception):  # noqa: N818 - like a refusal, an answer rather than a fault
    """A request that is turned away, for a reason of the service rather than of the image.

    ``members`` are extension members of the problem document, ``headers`` go with the response.
    """

    def __init__(
        self,
        code: ServiceCode | Code | JobCode,
        detail: str,
        *,
        remedy: str,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(f"{detail} {remedy}")
        self.problem = ProblemDocument(code, detail, remedy, members=members, headers=dict(headers or {}))


@dataclass(frozen=True)
class ProblemDocument:
    """Everything that a problem says to the client."""

    code: Code | ServiceCode | JobCode
    detail: str
    remedy: str
    status: int | None = None  # None: the code's own
    members: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def content(self, *, request_id: str) -> dict[str, Any]:
        """The JSON object: RFC 9457's members, then ``code`` and ``remedy``, then the extensions."""
        kind = PROBLEM_TYPES[self.code]
        return {
            "type": f"{TYPE_PREFIX}{self.code}",
            "title": kind.title,
            "status": self.status or kind.status,
            "detail": self.detail,
            "instance": request_id,
            "code": str(self.code),
            "remedy": self.remedy,
            **self.members,
        }

    def response(self, *, request_id: str) -> Response:
        """Render as ``application/problem+json``. Values that JSON does not know (NaN) become strings."""
        content = self.content(request_id=request_id)
        body = to_json(content, inf_nan_mode="strings", fallback=str)
        return Response(body, content["status"], headers=dict(self.headers), media_type=MEDIA_TYPE)


def job_problem(failure: Failure) -> ProblemDocument:
    """Say why a job failed, in the words that its worker found."""
    code = next((code for code in PROBLEM_TYPES if code.value == failure.code), None)
    if code is None or code is ServiceCode.INTERNAL:
        return internal_error()
    values = {"observed": failure.observed, "expected": failure.expected}
    members = {name: value for name, value in values.items() if value is not None}
    return ProblemDocument(code, failure.detail, failure.remedy, members=members)


def refused_job(refusal: JobRefusal) -> ProblemDocument:
    """Say what the queue refuses; what only those who write workers understand is our fault."""
    if refusal.code not in PROBLEM_TYPES:
        return internal_error()
    values = {"observed": refusal.observed, "expected": refusal.expected}
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return ProblemDocument(
        refusal.code,
        refusal.detail,
        refusal.remedy,
        members={name: value for name, value in values.items() if value is not None},
        headers=headers,
    )


def stopping() -> ProblemDocument:
    """Say that there was no time left for this request."""
    return ProblemDocument(
        ServiceCode.SERVICE_STOPPING,
        "The server was told to stop, and the request took longer than it could wait.",
        remedy="Send the request again when the server is back.",
    )


def internal_error() -> ProblemDocument:
    """Say that it is our fault, and nothing about the inside."""
    return ProblemDocument(
        ServiceCode.INTERNAL,
        f"{HTTPStatus.INTERNAL_SERVER_ERROR.phrase}.",
        remedy="Report it with the request id in `instance`; the server's log has the details under it.",
    )
