"""Logs as one JSON object a line, with the keys that Cloud Logging and others look for."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

_STANDARD = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_TERMINATION_LOG = Path("/dev/termination-log")


class JsonFormatter(logging.Formatter):
    """Renders a record with what was given as `extra`; posts' texts and secrets are never given."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line of JSON."""
        entry: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "severity": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
        }
        entry |= {key: value for key, value in vars(record).items() if key not in _STANDARD}
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False, default=str)


def configure(level: str) -> None:
    """Log to standard output; libraries only from WARNING on.

    tweepy logs the bearer at DEBUG, and warns at each request with the newest field names.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("twitter_producer").setLevel(level)
    logging.getLogger("tweepy").setLevel(logging.ERROR)
    logging.captureWarnings(True)


def last_words(message: str) -> None:
    """Leave the reason for the exit where `kubectl describe pod` shows it, if this is a pod."""
    if _TERMINATION_LOG.is_file():
        try:
            _TERMINATION_LOG.write_text(message[:4000])
        except OSError:  # not writable for this user: the log has the message as well
            logging.getLogger(__name__).debug("no termination log")
