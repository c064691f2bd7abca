"""Where posts go that the sink refuses for good, so that the stream can go on."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from twitter_producer import events
from twitter_producer.settings import Settings
from twitter_producer.sink import Answer, Sink

log = logging.getLogger(__name__)


class DeadLetter(Protocol):
    """Takes an event that was refused, with the answer that refused it."""

    def put(self, event: CloudEvent, answer: Answer) -> bool:
        """Return whether the event is kept; False: it may not be given up yet."""
        ...


class DeadLetterSink:
    """Another sink; the event carries Knative's own extensions for the reason."""

    def __init__(self, sink: Sink, maker: events.EventMaker) -> None:
        self._sink, self._maker = sink, maker

    def put(self, event: CloudEvent, answer: Answer) -> bool:
        """Send the event on, in binary mode, once."""
        marked = self._maker.refused(event, answer.status, answer.reason)
        taken = self._sink.send(events.binary([marked]))
        if not taken.accepted:
            log.error(
                "the dead-letter sink does not take a post",
                extra={"sink": self._sink.url, "status": taken.status, "reason": taken.reason},
            )
        return taken.accepted


class DeadLetterFile:
    """A file with one JSON object a line: time, status, reason and the event."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, event: CloudEvent, answer: Answer) -> bool:
        """Append the event."""
        entry = _entry(event, answer)
        try:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry, ensure_ascii=False) + "\n")
                file.flush()
                os.fsync(file.fileno())  # the checkpoint moves on after this
        except OSError as error:
            log.error("the dead-letter file cannot be written", extra={"error": str(error)})
            return False
        return True


class DeadLetterLog:
    """The log, where neither a sink nor a file is configured."""

    def put(self, event: CloudEvent, answer: Answer) -> bool:
        """Log the whole event: nothing else has it any more."""
        log.error("refused for good", extra=_entry(event, answer))
        return True


def _entry(event: CloudEvent, answer: Answer) -> dict[str, object]:
    return {
        "refused": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "status": answer.status,
        "reason": answer.reason,
        "event": json.loads(JSONFormat().write(event)),
    }


def destination(settings: Settings, maker: events.EventMaker) -> DeadLetter:
    """Return what the settings ask for: a sink, else a file, else the log."""
    if settings.dead_letter_sink:
        return DeadLetterSink(Sink(settings.dead_letter_sink, settings, with_token=False), maker)
    if settings.dead_letter_file:
        return DeadLetterFile(settings.dead_letter_file)
    return DeadLetterLog()
