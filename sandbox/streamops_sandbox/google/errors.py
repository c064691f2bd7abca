"""Google's error model (https://cloud.google.com/apis/design/errors), with the messages people search for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiohttp import web

#: google.rpc.Code name -> HTTP status, of those used here.
HTTP_STATUS = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "ABORTED": 409,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
}


class GoogleError(Exception):
    """An error as Google's JSON APIs answer it.

    `status` is the name of a google.rpc.Code; `details` are google.rpc detail messages, each with
    its `@type`.
    """

    def __init__(
        self, status: str, message: str, details: Sequence[dict[str, Any]] = (), *, code: int = 0
    ) -> None:
        super().__init__(message)
        self.message = message
        self._error: dict[str, Any] = {
            "code": code or HTTP_STATUS[status],
            "message": message,
            "status": status,
            **({"details": list(details)} if details else {}),
        }

    def response(self) -> web.Response:
        """The error as it is answered."""
        return web.json_response({"error": self._error}, status=self._error["code"])


class OAuthError(Exception):
    """An error of a token endpoint (RFC 6749, section 5.2): `{error, error_description}`."""

    def __init__(self, error: str, description: str, *, code: int = 400) -> None:
        super().__init__(description)
        self._body = {"error": error, "error_description": description}
        self._code = code

    def response(self) -> web.Response:
        """The error as it is answered."""
        return web.json_response(self._body, status=self._code)


def error_info(reason: str, domain: str = "googleapis.com", **metadata: str) -> dict[str, Any]:
    """A google.rpc.ErrorInfo."""
    return {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": reason,
        "domain": domain,
        "metadata": metadata,
    }


def bad_request(*violations: tuple[str, str]) -> GoogleError:
    """INVALID_ARGUMENT for (field, description) pairs, as Google's JSON parser reports them."""
    detail = {
        "@type": "type.googleapis.com/google.rpc.BadRequest",
        "fieldViolations": [{"field": field, "description": text} for field, text in violations],
    }
    return GoogleError("INVALID_ARGUMENT", "\n".join(text for _, text in violations), [detail])


def invalid(field: str, description: str) -> GoogleError:
    """INVALID_ARGUMENT for one field."""
    return bad_request((field, description))


def invalid_argument(message: str) -> GoogleError:
    """INVALID_ARGUMENT for the request as a whole."""
    return GoogleError("INVALID_ARGUMENT", message)


def permission_denied(permission: str, resource: str) -> GoogleError:
    """What a caller without `permission` is told; Google does not say whether the resource exists."""
    names = {"permission": permission, "resource": resource}
    return GoogleError(
        "PERMISSION_DENIED",
        f"Permission '{permission}' denied for resource '{resource}' (or it may not exist).",
        [error_info("IAM_PERMISSION_DENIED", "iam.googleapis.com", **names)],
    )


def not_modelled(what: str) -> GoogleError:
    """501: Google has this, the sandbox does not."""
    return GoogleError("UNIMPLEMENTED", f"The sandbox does not model {what}.")
