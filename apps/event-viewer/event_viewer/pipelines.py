"""Pipelines: what the producers that send events here say of themselves."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from event_viewer import outgoing
from event_viewer.settings import Settings, is_http_url

#: Pipelines that are asked, and so many at a time.
MOST_PIPELINES, AT_A_TIME = 20, 5
#: Bytes read of the file, and of an answer; characters shown of each text.
MOST_BYTES, MOST_CHARACTERS = 64 << 10, 500
TIMEOUT_SECONDS = 5.0
#: Who asks sooner is given what was answered before, so that many pages cost as much as one.
FRESH_SECONDS = 3.0
#: Attempts to meet the replica that reads; the others stand by.
ATTEMPTS = 4


class _Reading(msgspec.Struct):
    problem: str | None = None


class _Counters(msgspec.Struct):
    delivered: float | None = None


class _Budget(msgspec.Struct):
    posts: int
    dollars: float
    left: int | None = None


class _Status(msgspec.Struct):
    """What is used of a producer's `/status`."""

    pipeline: str
    source: str
    state: str
    query: str | None = None
    reading: _Reading = msgspec.field(default_factory=_Reading)
    counters: _Counters = msgspec.field(default_factory=_Counters)
    budget: _Budget | None = None
    per_minute: float | None = None
    seconds_behind: float | None = None
    standing_by: bool = False


_decode = msgspec.json.Decoder(_Status).decode


class Pipelines:
    """Requests the status of the producers in PIPELINES_FILE, on demand."""

    def __init__(self, settings: Settings) -> None:
        self.file = settings.pipelines_file
        self._lock = asyncio.Lock()
        self._found: list[dict[str, Any]] = []
        self._until = 0.0

    @property
    def enabled(self) -> bool:
        """Whether there is a file that names any."""
        return self.file is not None

    async def read(self) -> list[dict[str, Any]]:
        """Return each pipeline's status, or why there is none, in the order of the file."""
        async with self._lock:
            if time.monotonic() >= self._until:
                self._found = await asyncio.to_thread(self._ask_all)
                self._until = time.monotonic() + FRESH_SECONDS
            return self._found

    def _ask_all(self) -> list[dict[str, Any]]:
        if self.file is None:
            return []
        with ThreadPoolExecutor(AT_A_TIME) as pool:
            return list(pool.map(_ask, _urls(self.file)))


def _urls(file: Path) -> list[str]:
    """Return the URLs of the file, one a line; it may change at any time."""
    try:
        with file.open("rb") as opened:
            text = opened.read(MOST_BYTES).decode(errors="replace")
    except OSError:
        return []
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if is_http_url(line)][:MOST_PIPELINES]


def _ask(url: str) -> dict[str, Any]:
    until = time.monotonic() + TIMEOUT_SECONDS
    status = None
    for _ in range(ATTEMPTS):
        left = until - time.monotonic()
        if left <= 0:
            break
        try:
            code, body = outgoing.request("GET", url, timeout=left, most=MOST_BYTES)
            if code != 200:
                return _unknown(url, f"the producer answered {code}")
            status = _decode(body)
        except msgspec.MsgspecError:
            return _unknown(url, "the producer's answer is not a status")
        except outgoing.ERRORS as error:
            if status is None:
                return _unknown(url, f"the producer cannot be reached: {error}")
            break
        if not status.standing_by:
            break
    return (
        _unknown(url, "the producer has not answered in time")
        if status is None
        else _known(url, status)
    )


def _unknown(url: str, problem: str) -> dict[str, Any]:
    return {"url": url, "name": "", "problem": _cut(problem)}


def _known(url: str, status: _Status) -> dict[str, Any]:
    budget = status.budget
    return {
        "url": url,
        "name": _cut(status.pipeline),
        "problem": _cut(status.reading.problem or ""),
        "source": _cut(status.source),
        "query": _cut(status.query or ""),
        "state": "standing by" if status.standing_by else _cut(status.state),
        "delivered": status.counters.delivered,
        "per_minute": status.per_minute,
        "seconds_behind": status.seconds_behind,
        "budget": budget
        and {"posts": budget.posts, "left": budget.left, "dollars": budget.dollars},
    }


def _cut(text: str) -> str:
    return text if len(text) <= MOST_CHARACTERS else text[: MOST_CHARACTERS - 1] + "…"
