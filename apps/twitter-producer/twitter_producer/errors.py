"""Errors of a source: why a read did not return posts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class SourceError(Exception):
    """A read did not return what was asked for.

    `unbilled`: the network has said that it returns no posts; otherwise it may have billed some.
    """

    unbilled = False


class Unavailable(SourceError):
    """No answer, a broken one, or a 5xx: a retry may help."""


class RateLimited(SourceError):
    """429; `reset` is when the next request is allowed (Unix time), where that is known."""

    def __init__(self, message: str, reset: float | None) -> None:
        super().__init__(message)
        self.reset = reset


class CreditsDepleted(SourceError):
    """402: the account has no credits left."""


class Refused(SourceError):
    """401: the credentials are not valid (any more)."""


class Forbidden(SourceError):
    """403: the credentials are valid but may not do this."""


class BadRequest(SourceError):
    """400: the request is refused as it is."""


class Unusable(SourceError):
    """The source cannot be read with these settings or this checkpoint: the process ends."""

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Paused(SourceError):
    """Reading pauses for so many seconds by a setting of ours; `details` are for the log."""

    def __init__(
        self, message: str, advice: str, seconds: float, details: Mapping[str, Any]
    ) -> None:
        super().__init__(message)
        self.advice, self.seconds, self.details = advice, seconds, details


_BY_STATUS: Mapping[int, type[SourceError]] = {400: BadRequest, 401: Refused, 403: Forbidden}


def of_status(
    status: int, message: str, others: Mapping[int, type[SourceError]] | None = None
) -> SourceError:
    """Return the error that an HTTP status stands for; `others` are a network's own meanings."""
    return {**_BY_STATUS, **(others or {})}.get(status, Unavailable)(message)
