"""Logs as one JSON object a line, with the keys that Cloud Logging and others look for."""

from __future__ import annotations

import io
import logging
import sys
import threading
from datetime import UTC, datetime
from pathlib import Path

from twitter_producer import json_text

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
        return json_text.encode_any(entry).decode()


def configure(level: str) -> None:
    """Log to standard output, threads' failures too; libraries only from WARNING on.

    tweepy logs the bearer at DEBUG, warns at each request with the newest field names, and logs
    each end of a stream as an error, which the producer reports itself.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("twitter_producer").setLevel(level)
    logging.getLogger("tweepy").setLevel(logging.CRITICAL)
    logging.captureWarnings(True)
    threading.excepthook = _log_failure


def _log_failure(failure: threading.ExceptHookArgs) -> None:
    kind, error = failure.exc_type, failure.exc_value or failure.exc_type()
    logging.getLogger(__name__).critical(
        "a thread failed: this is a bug",
        exc_info=(kind, error, failure.exc_traceback),
    )


def last_words(message: str) -> None:
    """Leave the reason for the exit where `kubectl describe pod` shows it, if this is a pod."""
    if _TERMINATION_LOG.is_file():
        try:
            _TERMINATION_LOG.write_text(message[:4000], "utf-8", "backslashreplace")
        except OSError:  # not writable for this user: the log has the message as well
            logging.getLogger(__name__).debug("no termination log")
