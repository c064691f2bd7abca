"""X's error answers: RFC 7807 problems of X's own types, in forms its OpenAPI document allows."""

from __future__ import annotations

from typing import Any

from aiohttp import web

#: What the address of every type of problem begins with.
TYPES = "https://api.x.com/2/problems/"


class Problem(Exception):
    """Ends a request with an error answer."""

    def __init__(self, status: int, title: str, detail: str, **fields: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.headers: dict[str, str] = fields.pop("headers", {})
        self.body = {"title": title, "detail": detail, "status": status, **fields}

    def response(self) -> web.Response:
        """Return the answer."""
        content_type = "application/problem+json"
        if not str(self.body.get("type", "")).startswith(TYPES):
            # X's document knows no problem type for these: its plain `Error` form fits them.
            content_type = "application/json"
            plain = {"type": "about:blank", "code": self.status, "message": self.body["detail"]}
            self.body = plain | self.body
        return web.json_response(
            self.body, status=self.status, headers=self.headers, content_type=content_type
        )


def invalid(parameter: str, value: str, message: str) -> Problem:
    """Return the 400 for a parameter that X does not take."""
    return Problem(
        400,
        "Invalid Request",
        message,
        type=TYPES + "invalid-request",
        parameter=parameter,
        value=value,
        errors=[{"parameters": {parameter: [value]}, "message": message}],
    )


def unauthorized(reason: str) -> Problem:
    """Return the 401."""
    return Problem(401, "Unauthorized", f"Unauthorized: {reason}")


def not_modelled(what: str) -> Problem:
    """Return the 501 for what the real X may do and this stand-in does not."""
    return Problem(501, "Not Implemented", f"the sandbox does not model {what}")
