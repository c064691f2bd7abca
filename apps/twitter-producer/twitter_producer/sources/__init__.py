"""Where posts come from: the interface of every source."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from twitter_producer.metrics import Metrics
from twitter_producer.posts import Post
from twitter_producer.settings import Settings
from twitter_producer.shutdown import Heartbeat, Shutdown


class Batch(Protocol):
    """Posts to deliver next, oldest first; `ended`: for now the source has no more."""

    @property
    def posts(self) -> Sequence[Post]:
        """The posts."""
        ...

    @property
    def ended(self) -> bool:
        """Whether everything has been read."""
        ...


@dataclass(frozen=True)
class Context:
    """What a source is given; `save` stores the checkpoint now."""

    settings: Settings
    metrics: Metrics
    shutdown: Shutdown
    heartbeat: Heartbeat
    save: Callable[[], None]


class Source(ABC):
    """A network's posts, read in batches, oldest first in each.

    The order of calls: `restore` or `begin`, `open`, then `read` and `commit` in turn, `release`,
    `close`. Only `commit` moves what `dump` returns, so what was read but not delivered is read
    again after a crash.
    """

    #: The network's name in checkpoints.
    network: str
    #: The network's name in messages.
    title: str
    #: What the process waits for before it counts as ready; a network that is down is not that.
    waiting_for: str | None = None

    def __init__(self, context: Context) -> None:
        self.settings, self.metrics = context.settings, context.metrics
        self.shutdown, self.heartbeat, self.save = context.shutdown, context.heartbeat, context.save

    @abstractmethod
    def restore(self, stored: dict[str, Any]) -> None:
        """Resume from what `dump` returned; ValueError, KeyError or TypeError if it is not that."""

    @abstractmethod
    def begin(self) -> None:
        """Start without a checkpoint, as far back as LOOKBACK_SECONDS."""

    @abstractmethod
    def dump(self) -> dict[str, Any]:
        """Return, as JSON values, how far everything has been delivered."""

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Return the part of the status that is this source's; `checkpoint` is in it."""

    @abstractmethod
    def read(self) -> Batch:
        """Return what comes next; raises errors.SourceError."""

    @abstractmethod
    def commit(self, done: Sequence[bool]) -> bool:
        """Move over the last batch; `done` says which of its posts need no delivery any more.

        Returns:
            Whether there is more to be read at once.
        """

    @abstractmethod
    def pause(self) -> float:
        """Return the seconds until the next read when everything has been read."""

    @property
    def behind(self) -> bool:
        """Whether there is something to read besides what is new."""
        return False

    @property
    @abstractmethod
    def complete_until(self) -> datetime:
        """The time up to which everything has been delivered."""

    def now(self) -> datetime:
        """Return the time as the network has it."""
        return datetime.now(UTC)

    def open(self) -> bool:
        """Wait for what the first read needs; False if the shutdown came first.

        Raises:
            errors.SourceError: a retry may help.
            errors.Unusable: it can never be opened.
        """
        return True

    def refresh(self) -> None:  # noqa: B027 - optional
        """Do what is due by the time of day, such as reading credentials again."""

    def renew(self) -> bool:
        """Read the credentials again at once; True if they have changed."""
        return False

    def wait_for_credentials(self, seconds: float) -> None:
        """Wait so long, or until the credentials have changed."""
        self.heartbeat.beat(seconds)
        self.shutdown.wait(seconds)

    def release(self) -> None:  # noqa: B027 - optional
        """Give up what is reserved for reads that will not be made any more."""

    def abort(self) -> None:  # noqa: B027 - optional
        """End the requests under way, from another thread."""

    def close(self) -> None:  # noqa: B027 - optional
        """Close the connections."""

    def log_fields(self) -> dict[str, Any]:
        """Return further fields for the log line about a delivered batch."""
        return {}
