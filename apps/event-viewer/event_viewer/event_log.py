"""The lines `kubectl logs` shows: one for each event, at a cost that stays bounded.

A thread writes them, many at a time, so a reader of the log that stalls holds up nothing; what
cannot be logged is counted instead.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import threading
import time
from typing import BinaryIO

import msgspec

from event_viewer.cloudevents import Event
from event_viewer.settings import Settings
from event_viewer.store.interface import Rejection

#: Bytes that may wait for the log's reader.
MAX_WAITING = 1 << 20
#: Lines are handed to the thread this often: waking it for each would cost more than the lines.
GATHER_SECONDS = 0.05
CLOSE_SECONDS = 1.0


class EventLog:
    """Lines `received event …` and `rejected event …` on standard output."""

    def __init__(self, settings: Settings, out: BinaryIO = sys.stdout.buffer) -> None:
        self.enabled = settings.log_events
        self.text_length = settings.log_text_length
        self.rate = settings.log_events_per_second
        self._out = out
        self._second = 0
        self._in_second = 0
        self._left_out = 0
        self._gathered: list[str] = []
        self._given = self._written = 0  # bytes: the event loop counts one, the thread the other
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="event-log", daemon=True)
        self._thread.start()

    def events(self, events: list[Event], new: list[bool]) -> None:
        """Log events just stored; `new` is False where an event was known already."""
        if not self.enabled:
            return
        take = self._allowed(len(events))
        lines = []
        for event, is_new in zip(events[:take], new, strict=False):
            text = event.text[: self.text_length] + "…" * (len(event.text) > self.text_length)
            lines.append(
                f"received event id={_field(event.id)} type={_field(event.type)}"
                f" source={event.source}{'' if is_new else ' duplicate=true'} text={_quote(text)}\n"
            )
        self._put("".join(lines))

    def rejections(self, rejections: list[Rejection]) -> None:
        """Log refused requests."""
        if self.enabled:
            take = self._allowed(len(rejections))
            self._put(
                "".join(
                    f"rejected event status={one.status} client={one.client}"
                    f" reason={_quote(one.reason)}\n"
                    for one in rejections[:take]
                )
            )

    def _allowed(self, count: int) -> int:
        """How many of `count` lines fit this second's allowance."""
        if not self.rate:
            return count
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._in_second = second, 0
        take = min(count, self.rate - self._in_second)
        self._in_second += take
        self._left_out += count - take
        return take

    def _put(self, lines: str) -> None:
        if not lines:
            return
        if not self._gathered:
            asyncio.get_running_loop().call_later(GATHER_SECONDS, self._hand_over)
        self._gathered.append(lines)

    def _hand_over(self) -> None:
        lines, self._gathered = "".join(self._gathered), []
        if self._given - self._written > MAX_WAITING:
            self._left_out += lines.count("\n")
            return
        if self._left_out and self._in_second < (self.rate or 1):
            lines = f"{lines}{self._left_out} events were not logged\n"
            self._left_out = 0
        encoded = lines.encode()
        self._given += len(encoded)
        self._queue.put(encoded)

    def _write(self) -> None:
        while (lines := self._queue.get()) is not None:
            try:
                self._out.write(lines)
                self._out.flush()
            except (OSError, ValueError):
                return  # nobody reads the log any more
            self._written += len(lines)

    def close(self) -> None:
        """Write what is left, unless the log's reader stalls."""
        self._hand_over()
        self._queue.put(None)
        self._thread.join(CLOSE_SECONDS)


def _field(text: str) -> str:
    return _quote(text) if " " in text or '"' in text else text


def _quote(text: str) -> str:
    return msgspec.json.encode(text).decode()
