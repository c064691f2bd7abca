"""The distribution specification's error codes as exceptions.

https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#error-codes
"""

from __future__ import annotations

from aiohttp import web

#: Code -> HTTP status and default message.
_CODES = {
    "BLOB_UNKNOWN": (404, "blob unknown to registry"),
    "BLOB_UPLOAD_UNKNOWN": (404, "blob upload unknown to registry"),
    "DIGEST_INVALID": (400, "provided digest did not match uploaded content"),
    "MANIFEST_BLOB_UNKNOWN": (404, "manifest references a manifest or blob unknown to registry"),
    "MANIFEST_INVALID": (400, "manifest invalid"),
    "MANIFEST_UNKNOWN": (404, "manifest unknown"),
    "NAME_INVALID": (400, "invalid repository name"),
    "NAME_UNKNOWN": (404, "repository name not known to registry"),
    "TAG_INVALID": (400, "manifest tag did not match what is allowed"),
    "UNAUTHORIZED": (401, "authentication required"),
    "UNSUPPORTED": (405, "the operation is unsupported"),
    "RANGE_INVALID": (416, "invalid content range"),
    "UNKNOWN": (500, "unknown error"),
}


class RegistryError(Exception):
    """A request that is refused; becomes the specification's JSON error body."""

    def __init__(
        self,
        code: str,
        detail: object = None,
        *,
        message: str = "",
        status: int = 0,
        headers: dict[str, str] | None = None,
    ) -> None:
        default_status, default_message = _CODES[code]
        self._error: dict[str, object] = {"code": code, "message": message or default_message}
        if detail is not None:
            self._error["detail"] = detail
        self._status, self._headers = status or default_status, headers
        super().__init__(f"{code}: {self._error['message']}")

    def response(self) -> web.Response:
        """Answer as `{"errors": [{"code", "message", "detail"}]}`."""
        body = {"errors": [self._error]}
        return web.json_response(body, status=self._status, headers=self._headers)
