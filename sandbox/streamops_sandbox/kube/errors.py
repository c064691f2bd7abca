"""Failures as Kubernetes states them: an HTTP code and a `Status` object.

Wording, reasons and details follow k8s.io/apimachinery/pkg/api/errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]


class StatusError(Exception):
    """A request that fails with a `Status` body."""

    def __init__(
        self, code: int, reason: str, message: str, *, details: Json | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def body(self) -> Json:
        """The `Status` object to answer with."""
        status: Json = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        status["code"] = self.code
        return status


def _details(group: str, kind: str, name: str) -> Json:
    details: Json = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in details.items() if value}


def qualified(plural: str, group: str) -> str:
    """`deployments.apps`, or just `pods` for the core group."""
    return f"{plural}.{group}" if group else plural


def bad_request(message: str) -> StatusError:
    """400: the request cannot be understood."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401: no or wrong credentials."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str) -> StatusError:
    """403: somebody known may not do this."""
    what = qualified(plural, group)
    subject = f'{what} "{name}"' if name else what
    return StatusError(
        403,
        "Forbidden",
        f"{subject} is forbidden: {why}",
        details=_details(group, plural, name),
    )


def not_found(group: str, plural: str, name: str) -> StatusError:
    """404: the object does not exist."""
    return StatusError(
        404,
        "NotFound",
        f'{qualified(plural, group)} "{name}" not found',
        details=_details(group, plural, name),
    )


def no_such_path() -> StatusError:
    """404: the path or resource type is not served."""
    return StatusError(
        404, "NotFound", "the server could not find the requested resource", details={}
    )


class NoSuchRoute(Exception):
    """A path that no handler is registered for."""


def method_not_allowed(method: str) -> StatusError:
    """405: the resource does not take this verb."""
    return StatusError(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
        details={"method": method},
    )


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    """406: none of the media types asked for can be produced."""
    return StatusError(
        406,
        "NotAcceptable",
        "only the following media types are accepted: " + ", ".join(accepted),
    )


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """409: the name is taken."""
    return StatusError(
        409,
        "AlreadyExists",
        f'{qualified(plural, group)} "{name}" already exists',
        details=_details(group, plural, name),
    )


MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


def conflict(group: str, plural: str, name: str, why: str = MODIFIED) -> StatusError:
    """409: a precondition or the resourceVersion does not hold."""
    return StatusError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(plural, group)} "{name}": {why}',
        details=_details(group, plural, name),
    )


def expired(message: str) -> StatusError:
    """410: the resourceVersion or continue token is too old."""
    return StatusError(410, "Expired", message)


def unsupported_media_type(supported: Sequence[str]) -> StatusError:
    """415: the body's Content-Type cannot be read."""
    return StatusError(
        415,
        "UnsupportedMediaType",
        "the body of the request was in an unknown format - accepted media types include: "
        + ", ".join(supported),
    )


def cause(kind: str, field: str, message: str) -> Json:
    """One entry of `details.causes`."""
    return {"reason": kind, "message": message, "field": field}


def invalid(group: str, kind: str, name: str, causes: Sequence[Json]) -> StatusError:
    """422: the object breaks rules; all broken rules at once."""
    texts = list(dict.fromkeys(f"{entry['field']}: {entry['message']}" for entry in causes))
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    details = _details(group, kind, name)
    details["causes"] = list(causes)
    return StatusError(
        422, "Invalid", f'{qualified(kind, group)} "{name}" is invalid: {joined}', details=details
    )


def too_many_requests(message: str) -> StatusError:
    """429: the same request may succeed a second later."""
    return StatusError(429, "TooManyRequests", message, details={"retryAfterSeconds": 1})


def internal(message: str) -> StatusError:
    """500: something behind the API server failed."""
    return StatusError(
        500,
        "InternalError",
        f"Internal error occurred: {message}",
        details={"causes": [{"message": message}]},
    )


def not_implemented(what: str) -> StatusError:
    """501: a real API server does this, this one does not."""
    return StatusError(501, "NotImplemented", f"the sandbox's API server does not model {what}")


def unavailable(message: str) -> StatusError:
    """503: something this request needs is not reachable."""
    return StatusError(503, "ServiceUnavailable", message)
