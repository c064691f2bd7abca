"""Replay of a kept event: one CloudEvent in structured mode, to a sink the settings allow."""

from __future__ import annotations

import re
import threading
from urllib.parse import unquote, urlsplit

from event_viewer import outgoing
from event_viewer.http import Problem
from event_viewer.settings import Settings

#: Replays at a time: each holds a thread until the sink has answered.
CONCURRENT = 2
#: How often a path may have been percent-encoded.
MAX_DECODINGS = 4
HEADERS = {"Content-Type": "application/cloudevents+json; charset=utf-8"}


class Replayer:
    """Sender of events to the sinks the settings allow, and to no other address."""

    def __init__(self, settings: Settings) -> None:
        self.default = settings.replay_sink
        self.allowed = settings.replay_sinks
        self.timeout = settings.replay_timeout_seconds
        self._slots = threading.BoundedSemaphore(CONCURRENT)

    @property
    def enabled(self) -> bool:
        """Whether there is a sink to replay to."""
        return bool(self.default or self.allowed)

    def send(self, event: bytes, sink: str = "") -> tuple[str, int]:
        """Post the structured event; return the sink and its status.

        A redirect is returned, not followed: it could lead past the list of sinks.

        Raises:
            Problem: The sink is not allowed, or has not answered in time.
        """
        target = sink or self.default
        if not target:
            raise Problem(400, "name a sink: none is set (REPLAY_SINK)")
        if not self._is_allowed(target):
            raise Problem(403, f"{target} is not among the sinks allowed (REPLAY_SINKS)")
        if not self._slots.acquire(blocking=False):
            raise Problem(429, "other replays are running; try again later")
        try:
            status, _ = outgoing.request(
                "POST", target, body=event, headers=HEADERS, timeout=self.timeout
            )
        except outgoing.ERRORS as error:
            raise Problem(502, f"{target} cannot be reached: {error}") from None
        finally:
            self._slots.release()
        return target, status

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
