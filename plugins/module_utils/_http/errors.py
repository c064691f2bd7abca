"""The reasons for which a request has no usable answer."""

from __future__ import annotations

from enum import Enum

from .._module.errors import TaskError


class Cause(Enum):
    """What kept the answer away; domains map it to advice."""

    CERTIFICATE = "certificate"  # not trusted, or for another name
    CONNECTION = "connection"  # refused, reset, cut
    FORMAT = "format"  # an answer that is not the API's
    NAME = "name"  # cannot be resolved
    PROXY = "proxy"  # the proxy, not the server
    SIZE = "size"  # larger than is read
    TIMEOUT = "timeout"  # no answer in time


class NoAnswer(TaskError):
    """A request has no usable answer.

    `sent` is whether the server may have received it, `url` the server's address.
    """

    def __init__(self, message: str, cause: Cause, *, sent: bool) -> None:
        super().__init__(message)
        self.cause = cause
        self.sent = sent

    @property
    def is_transient(self) -> bool:
        """Whether the same request may be answered a moment later."""
        return self.cause in (Cause.CONNECTION, Cause.NAME, Cause.PROXY, Cause.TIMEOUT)


class SettingError(TaskError):
    """A proxy or a certificate cannot be used; nothing was sent."""
