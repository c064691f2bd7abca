"""`python -m event_viewer`: serves until SIGTERM."""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import tempfile

from event_viewer.settings import SettingsError, load


def main() -> int:
    """Run the viewer; 2 when its settings are wrong."""
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
            # Where the processes' metrics come together; looked at when the library is imported.
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        if not settings.store:
            settings = dataclasses.replace(
                settings, store=f"{folder}/events.sqlite", temporary=True
            )
        from event_viewer.server import Server  # noqa: PLC0415 - imports the metrics

        Server(settings).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
