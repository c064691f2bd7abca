"""`python -m event_viewer`: serve until SIGTERM."""

from __future__ import annotations

import logging
import os
import sys
import tempfile

from event_viewer.settings import SettingsError, load
from event_viewer.store import open_store
from event_viewer.store.interface import StoreError


def main() -> int:
    """Run the viewer; return 2 when its settings are wrong, 1 when it cannot start."""
    try:
        settings = load()
    except SettingsError as error:
        for problem in error.problems:
            print(f"event-viewer: {problem}", file=sys.stderr)
        return 2
    logging.basicConfig(
        level=settings.log_level, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    with tempfile.TemporaryDirectory(prefix="event-viewer-") as folder:
        if settings.workers > 1:
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder  # read by the metrics' library
        if not settings.store:
            settings = settings.model_copy(update={"store": f"{folder}/events.sqlite"})
        try:
            open_store(settings).close()  # else gunicorn would start worker after worker
        except StoreError as error:
            print(f"event-viewer: {error}", file=sys.stderr)
            return 1
        from event_viewer.server import Server  # noqa: PLC0415 - imports the metrics

        Server(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
