"""Looking at a cluster again and again until something is there, through an API server that is away."""

from __future__ import annotations

import time
from collections.abc import Callable

from .client import Client
from .errors import KubeError


def poll(
    client: Client,
    look: Callable[[], str],
    *,
    deadline: float,
    pause: float,
    progress: Callable[[str], None],
) -> str:
    """Return "" once `look` returns "", what it says is missing at `deadline` (by time.monotonic()).

    `pause` is in seconds. A server that has answered before may be away in the meantime; one that never
    has is given up on, since most often its address is wrong.
    """
    with client.transport.retries.until(deadline):
        while True:
            try:
                missing = look()
            except KubeError as error:
                if not (error.is_transient and client.transport.retries.answered.is_set()):
                    raise
                missing = f"the API server does not answer ({error})"
            if not missing or time.monotonic() >= deadline:
                return missing
            progress(missing)
            time.sleep(pause)
