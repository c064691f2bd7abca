"""Where the history is kept: SQLite, or Redis to share it between replicas."""

from __future__ import annotations

from typing import TYPE_CHECKING

from event_viewer.store.interface import Store

if TYPE_CHECKING:
    from event_viewer.settings import Settings


def open_store(settings: Settings) -> Store:
    """The store `STORE` names; raises StoreError where it cannot be opened."""
    if settings.store.startswith(("redis://", "rediss://")):
        from event_viewer.store.redis import RedisStore  # noqa: PLC0415 - loaded where it is used

        return RedisStore(settings)
    from event_viewer.store.sqlite import SqliteStore  # noqa: PLC0415 - as above

    return SqliteStore(settings)
