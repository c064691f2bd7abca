"""Where posts go that the sink refuses for good, so that the stream can go on."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cloudevents.core.v1.event import CloudEvent

from twitter_producer import events, json_text
from twitter_producer.settings import Settings
from twitter_producer.sink import Answer, Sink

log = logging.getLogger(__name__)


class DeadLetter(Protocol):
    """Takes an event that was refused, with the answer that refused it."""

    def put(self, event: CloudEvent, answer: Answer) -> bool:
        """Return whether the event is kept; False: it may not be given up yet."""
        ...

    def abort(self) -> None:
        """End the attempt under way."""
        ...


class DeadLetterSink:
    """Another sink; the event carries Knative's own extensions for the reason."""

    def __init__(self, sink: Sink, maker: events.EventMaker) -> None:
        self._sink, self._maker = sink, maker

    def put(self, event: CloudEvent, answer: Answer) -> bool:
        """Send the event on, in binary mode, once; what is refused for good here is logged."""
        taken = self._sink.send(self._maker.refused(event, answer.status, answer.reason))
        if taken.accepted:
            return True
        log.error(
            "the dead-letter sink does not accept a post",
            extra={"sink": self._sink.shown, "status": taken.status, "reason": taken.reason},
        )
        return not taken.retryable and DeadLetterLog().put(event, answer)

    def abort(self) -> None:
        """End the attempt under way."""
        self._sink.abort()


class DeadLetterFile:
    """A file with one JSON object a line: time, status, reason and the event."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, event: CloudEvent, answer: Answer) -> bool:
        """Append the event as a whole line, or leave the file as it was."""
        line = json_text.encode_any(_entry(event, answer)) + b"\n"
        try:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            try:
                _append(file, line)
            finally:
                os.close(file)
        except OSError as error:
            log.error(
                "the dead-letter file cannot be written",
                extra={"file": str(self._path), "error": str(error)},
            )
            return False
        return True

    def abort(self) -> None:
        """Nothing waits for anybody here."""


def _append(file: int, line: bytes) -> None:
    """Append a line on its own; OSError, with the file as before, if it does not fit."""
    end = os.fstat(file).st_size
    if end and os.pread(file, 1, end - 1) != b"\n":  # another process was killed in the middle
        line = b"\n" + line
    try:
        rest = line
        while rest:  # what is written in part is followed by the reason: the disk is full, mostly
            rest = rest[os.write(file, rest) :]
        os.fsync(file)  # the checkpoint moves on after this
    except OSError:
        os.ftruncate(file, end)
        raise


class DeadLetterLog:
    """The log, where neither a sink nor a file is configured."""

    def put(self, event: CloudEvent, answer: Answer) -> bool:
        """Log the whole event: nothing else has it any more."""
        log.error("refused for good", extra=_entry(event, answer))
        return True

    def abort(self) -> None:
        """Nothing waits for anybody here."""


def _entry(event: CloudEvent, answer: Answer) -> dict[str, object]:
    return {
        "refused": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "status": answer.status,
        "reason": answer.reason,
        "event": events.as_json(event),
    }


def destination(settings: Settings, maker: events.EventMaker) -> DeadLetter:
    """Return what the settings ask for: a sink, else a file, else the log."""
    if settings.dead_letter_sink:
        return DeadLetterSink(Sink(settings.dead_letter_sink, settings, with_token=False), maker)
    if settings.dead_letter_file:
        return DeadLetterFile(settings.dead_letter_file)
    return DeadLetterLog()
