"""Sends a kept event again, as one CloudEvent in structured mode."""

from __future__ import annotations

import http.client
import re
import threading
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import unquote, urlsplit

from event_viewer.http import Problem
from event_viewer.settings import Settings

#: Replays at a time: each holds a thread until the sink has answered.
CONCURRENT = 2
#: How often a path may have been percent-encoded.
MAX_DECODINGS = 4


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect could lead anywhere, past the list of sinks."""

    def redirect_request(self, *_: Any) -> None:
        return None


class Replayer:
    """Replays to the sinks the settings allow, and to no other address."""

    def __init__(self, settings: Settings) -> None:
        self.default = settings.replay_sink
        self.allowed = settings.replay_sinks
        self.timeout = settings.replay_timeout_seconds
        self._slots = threading.BoundedSemaphore(CONCURRENT)
        self._opener = urllib.request.build_opener(_NoRedirects)

    @property
    def enabled(self) -> bool:
        """Whether there is a sink to replay to."""
        return bool(self.default or self.allowed)

    def send(self, event: bytes, sink: str = "") -> tuple[str, int]:
        """Post the structured event; returns the sink and its status. Raises Problem."""
        target = sink or self.default
        if not target:
            raise Problem(400, "name a sink: none is set (REPLAY_SINK)")
        if not self._is_allowed(target):
            raise Problem(403, f"{target} is not among the sinks allowed (REPLAY_SINKS)")
        request = urllib.request.Request(  # noqa: S310 - http or https, see _is_allowed
            target,
            data=event,
            headers={"Content-Type": "application/cloudevents+json; charset=utf-8"},
            method="POST",
        )
        if not self._slots.acquire(blocking=False):
            raise Problem(429, "other replays are under way; try again")
        try:
            with self._opener.open(request, timeout=self.timeout) as answer:
                return target, answer.status
        except urllib.error.HTTPError as error:
            with error:
                return target, error.code
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Problem(502, f"{target} cannot be reached: {reason}") from None
        finally:
            self._slots.release()

    def _is_allowed(self, sink: str) -> bool:
        if not _URL(sink):
            return False
        parts = urlsplit(sink)
        if not parts.hostname or "@" in parts.netloc:
            return False
        return sink == self.default or any(_covers(allowed, sink) for allowed in self.allowed)


#: Parsers disagree about spaces, backslashes and control characters.
_URL = re.compile(r"https?://[!-\[\]-~]+").fullmatch


def _covers(allowed: str, sink: str) -> bool:
    """Return whether an entry of REPLAY_SINKS allows `sink`: `*`, the same, or a folder above."""
    if allowed in ("*", sink):
        return True
    there, here = urlsplit(allowed), urlsplit(sink)
    if (there.scheme, there.netloc) != (here.scheme, here.netloc):
        return False
    # The sink may decode the path before it resolves its dots, or more than once.
    path = here.path
    for _ in range(MAX_DECODINGS):
        decoded = unquote(path)
        if decoded == path:
            break
        path = decoded
    else:
        return False
    if {".", ".."} & set(re.split(r"[/\\;]", path)):
        return False
    return here.path.startswith(there.path.rstrip("/") + "/")
