"""The rotation of credentials: read at the start, on a timer, and at once when X refuses them."""

from __future__ import annotations

import logging
import time

from twitter_producer.credentials import CredentialsError, KeyReader, Keys
from twitter_producer.errors import Refused, SourceError
from twitter_producer.settings import Settings
from twitter_producer.shutdown import Heartbeat, Shutdown
from twitter_producer.x import XApi

log = logging.getLogger(__name__)

_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0


class CredentialRotation:
    """Gives the X API the keys of a reader."""

    def __init__(self, settings: Settings, reader: KeyReader, api: XApi) -> None:
        self._settings, self._reader, self._api = settings, reader, api
        self._keys: Keys | None = None
        self._read_at = 0.0

    def wait_for_keys(self, shutdown: Shutdown, heartbeat: Heartbeat) -> None:
        """Read the keys for the first time, with retries until there are some."""
        wait = _FIRST_WAIT
        while not shutdown:
            try:
                self._use(self._reader.read())
                return
            except (CredentialsError, SourceError) as error:
                if self._settings.run_once:
                    raise
                log.error(
                    "the credentials cannot be used yet",
                    extra={"error": str(error), "next_in_seconds": wait},
                )
            self._pause(wait, shutdown, heartbeat)
            wait = min(_LONGEST_WAIT, wait * 2)

    def wait_for_change(self, seconds: float, shutdown: Shutdown, heartbeat: Heartbeat) -> bool:
        """Wait up to so many seconds for other keys; True as soon as they are used.

        X ends the old keys when it makes new ones: it refuses them before anybody can have put the
        new ones where they are read.
        """
        until = time.monotonic() + seconds
        wait = _FIRST_WAIT
        while not shutdown and (left := until - time.monotonic()) > 0:
            self._pause(min(wait, left), shutdown, heartbeat)
            if not shutdown and self.renew():
                return True
            wait = min(_LONGEST_WAIT, wait * 2)
        return False

    @property
    def known(self) -> bool:
        """Whether the keys have been read."""
        return self._keys is not None

    def due(self) -> bool:
        """Return whether the keys are to be read again."""
        age = time.monotonic() - self._read_at
        return self._keys is not None and age >= self._settings.credentials_refresh_seconds

    def renew(self) -> bool:
        """Read the keys again; True if they are others now."""
        try:
            self._read_at = time.monotonic()
            keys = self._reader.read()
            if keys == self._keys:
                return False
            self._use(keys)
        except (CredentialsError, SourceError) as error:
            log.error("the credentials cannot be read again", extra={"error": str(error)})
            return False
        log.info("the credentials have changed")
        return True

    def bearer(self) -> str:
        """Return an app-only bearer."""
        if self._keys is None:
            raise Refused("no credentials have been read yet")
        return self._api.bearer(self._keys)

    def _pause(self, seconds: float, shutdown: Shutdown, heartbeat: Heartbeat) -> None:
        """Wait until the next reading, which may be slow."""
        heartbeat.beat(seconds + self._settings.secret_manager_timeout_seconds * 5)
        shutdown.wait(seconds)

    def _use(self, keys: Keys) -> None:
        self._read_at = time.monotonic()
        self._api.use(keys)
        self._keys = keys
