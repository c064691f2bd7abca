"""Failures as Kubernetes states them: an HTTP code and a `Status` object.

Wording, reasons and details follow k8s.io/apimachinery/pkg/api/errors.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamops_sandbox.objects import Object

MODIFIED = (
    "the object has been modified; please apply your changes to the latest version and try again"
)


class StatusError(Exception):
    """A request that fails with a `Status` body."""

    def __init__(
        self, code: int, reason: str, message: str, *, details: Object | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details

    def body(self) -> Object:
        """Return the `Status` object to answer with."""
        status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        status["message"] = self.message
        if self.reason:
            status["reason"] = self.reason
        if self.details:
            status["details"] = self.details
        return {**status, "code": self.code}


def success(code: int | None = None, details: Object | None = None) -> Object:
    """Return the `Status` of something that went well."""
    status: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
    if details is not None:
        status["details"] = details
    return status if code is None else {**status, "code": code}


class NoSuchRoute(Exception):
    """A path that no handler is registered for."""


def unregistered(kind: object, version: object, place: str = "pkg/runtime/scheme.go:111") -> str:
    """Return that a kind is none of a version's; `place` is where the API server's source has it."""
    return f'no kind "{kind}" is registered for version "{version}" in scheme "{place}"'


def qualified(plural: str, group: str) -> str:
    """Return `deployments.apps`, or just `pods` for the core group."""
    return f"{plural}.{group}" if group else plural


def _details(group: str, kind: str, name: str) -> Object:
    details: Object = {"name": name, "group": group, "kind": kind}
    return {key: value for key, value in details.items() if value}


def _named(group: str, plural: str, name: str) -> str:
    what = qualified(plural, group)
    return f'{what} "{name}"' if name else what


def bad_request(message: str) -> StatusError:
    """400: the request cannot be understood."""
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    """401: no or wrong credentials."""
    return StatusError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str) -> StatusError:
    """403: somebody known may not do this."""
    message = f"{_named(group, plural, name)} is forbidden: {why}"
    return StatusError(403, "Forbidden", message, details=_details(group, plural, name))


def not_found(group: str, plural: str, name: str) -> StatusError:
    """404: the object does not exist."""
    message = f'{qualified(plural, group)} "{name}" not found'
    return StatusError(404, "NotFound", message, details=_details(group, plural, name))


def no_such_path() -> StatusError:
    """404: the path or resource type is not served."""
    return StatusError(404, "NotFound", "the server could not find the requested resource")


def method_not_allowed() -> StatusError:
    """405: the resource does not take this verb."""
    message = "the server does not allow this method on the requested resource"
    return StatusError(405, "MethodNotAllowed", message, details={})


def not_acceptable(accepted: Sequence[str]) -> StatusError:
    """406: none of the media types asked for can be produced."""
    message = f"only the following media types are accepted: {', '.join(accepted)}"
    return StatusError(406, "NotAcceptable", message)


def already_exists(group: str, plural: str, name: str) -> StatusError:
    """409: the name is taken."""
    message = f"{_named(group, plural, name)} already exists"
    return StatusError(409, "AlreadyExists", message, details=_details(group, plural, name))


def conflict(group: str, plural: str, name: str, why: str = MODIFIED) -> StatusError:
    """409: a precondition or the resourceVersion does not hold."""
    what = f'{qualified(plural, group)} "{name}"'
    message = f"Operation cannot be fulfilled on {what}: {why}"
    return StatusError(409, "Conflict", message, details=_details(group, plural, name))


def expired(message: str) -> StatusError:
    """410: the resourceVersion or continue token is too old."""
    return StatusError(410, "Expired", message)


def unsupported_media_type(supported: Sequence[str]) -> StatusError:
    """415: the body's Content-Type cannot be read."""
    text = "the body of the request was in an unknown format - accepted media types include: "
    return StatusError(415, "UnsupportedMediaType", text + ", ".join(supported))


def cause(kind: str, field: str, message: str) -> Object:
    """Return one entry of `details.causes`."""
    return {"reason": kind, "message": message, "field": field}


def invalid(group: str, kind: str, name: str, causes: Sequence[Object]) -> StatusError:
    """422: the object breaks rules; all broken rules at once."""
    texts = list(dict.fromkeys(f"{entry['field']}: {entry['message']}" for entry in causes))
    joined = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    message = f'{qualified(kind, group)} "{name}" is invalid: {joined}'
    details = {**_details(group, kind, name), "causes": list(causes)}
    return StatusError(422, "Invalid", message, details=details)


def internal(message: str) -> StatusError:
    """500: something behind the API server failed."""
    text = f"Internal error occurred: {message}"
    return StatusError(500, "InternalError", text, details={"causes": [{"message": message}]})


def not_implemented(what: str) -> StatusError:
    """501: a real API server does this, this one does not."""
    return StatusError(501, "NotImplemented", f"the sandbox's API server does not model {what}")


def unavailable(message: str) -> StatusError:
    """503: something this request needs is not reachable."""
    return StatusError(503, "ServiceUnavailable", message)
