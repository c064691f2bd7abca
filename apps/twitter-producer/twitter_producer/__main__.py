"""Entry point of the producer: `python -m twitter_producer`."""

from __future__ import annotations

import sys

from twitter_producer.shutdown import Shutdown


def main() -> int:
    """Run until SIGTERM; return the exit code."""
    shutdown = Shutdown()
    shutdown.on_signals()
    # Imported now: it takes a third of a second, in which a SIGTERM should not be lost.
    from twitter_producer.application import run  # noqa: PLC0415

    return run(shutdown)


if __name__ == "__main__":
    sys.exit(main())
