"""The history in Redis, which replicas share. Contract: redis-py 8, Redis 5 or newer.

Keys, all in one hash slot (`{prefix}`): `events`, a stream whose entry ids are the records' seq;
`index`, a hash from source and id to seq; `seq`, `epoch`, `salt`, `rejected` and `removals` (lists),
`tombstones` (by time), `notices` (a hash from key to time) and `minutes` (a hash). A script
writes them together, so replicas that race see one order and no event twice.
"""

from __future__ import annotations

import math
import re
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar

import msgspec
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from event_viewer.cloudevents import Event
from event_viewer.settings import Settings
from event_viewer.store import removal
from event_viewer.store.interface import (
    MAX_BYTES,
    Filter,
    Minute,
    Page,
    Query,
    Record,
    Rejection,
    Removed,
    StoreError,
    rfc3339,
    take,
)
from event_viewer.store.removal import NOTICE_SECONDS, Removal

T = TypeVar("T")

#: Entries read at a time: few at first, then by their size up to this many.
CHUNK = 500
FIRST_CHUNK = 50
MINUTES_KEPT = 24 * 60
#: What has a meaning in a pattern of Redis.
_GLOB = re.compile(r"[*?\[\]\\]")
# KEYS: events, index, seq, minutes, rejected, tombstones
# ARGV: keep, keep_rejected, received, minute, events, then key, event and the two tombstones that
# forbid it of each, then rejections
APPEND = """
local keep, keep_rejected = tonumber(ARGV[1]), tonumber(ARGV[2])
local count, new, accepted = tonumber(ARGV[5]), {}, 0
for i = 1, count do
  local key, event = ARGV[2 + 4 * i], ARGV[3 + 4 * i]
  local forbidden = redis.call('ZSCORE', KEYS[6], ARGV[4 + 4 * i])
    or redis.call('ZSCORE', KEYS[6], ARGV[5 + 4 * i])
  if redis.call('HEXISTS', KEYS[2], key) == 0 and not forbidden then
    local seq = redis.call('INCR', KEYS[3])
    redis.call('HSET', KEYS[2], key, seq)
    redis.call('XADD', KEYS[1], seq .. '-0', 'r', ARGV[3], 'k', key, 'e', event)
    new[i], accepted = 1, accepted + 1
  else
    new[i] = 0
  end
end
local excess = redis.call('XLEN', KEYS[1]) - keep
if excess > 0 then
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', excess)) do
    redis.call('HDEL', KEYS[2], entry[2][4])
  end
  redis.call('XTRIM', KEYS[1], 'MAXLEN', keep)
end
local rejected = #ARGV - 5 - 4 * count
for i = #ARGV - rejected + 1, #ARGV do redis.call('LPUSH', KEYS[5], ARGV[i]) end
if rejected > 0 then
  if keep_rejected > 0 then redis.call('LTRIM', KEYS[5], 0, keep_rejected - 1)
  else redis.call('DEL', KEYS[5]) end
end
for name, number in pairs({a = accepted, d = count - accepted, r = rejected}) do
  if number > 0 then redis.call('HINCRBY', KEYS[4], ARGV[4] .. name, number) end
end
return new
"""
# KEYS: events, index, tombstones; ARGV: key, tombstone, time, how many tombstones to keep
REMOVE = """
local seq = redis.call('HGET', KEYS[2], ARGV[1])
redis.call('ZADD', KEYS[3], ARGV[3], ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[3], 0, -ARGV[4] - 1)
if not seq then return 0 end
redis.call('XDEL', KEYS[1], seq .. '-0')
redis.call('HDEL', KEYS[2], ARGV[1])
return 1
"""
# KEYS: events, index; ARGV: oldest time to keep, entries looked at
EXPIRE = """
for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', ARGV[2])) do
  if tonumber(entry[2][2]) >= tonumber(ARGV[1]) then break end
  redis.call('HDEL', KEYS[2], entry[2][4])
  redis.call('XDEL', KEYS[1], entry[1])
end
"""


class RedisStore:
    """See Store."""

    shared = True
    slow = True

    def __init__(self, settings: Settings) -> None:
        self.keep = settings.keep_events
        self.keep_ms = settings.keep_seconds * 1000
        self.keep_rejected = settings.keep_rejected
        password: dict[str, Any] = {}
        if settings.store_password_file:
            password["password"] = settings.store_password_file.read_text().strip()
        self._redis = redis.Redis.from_url(
            settings.store,
            socket_timeout=settings.store_timeout_seconds,
            socket_connect_timeout=settings.store_timeout_seconds,
            retry=Retry(NoBackoff(), 1),
            **password,
        )
        self._prefix = settings.store_prefix
        self._append_script = self._redis.register_script(APPEND)
        self._expire_script = self._redis.register_script(EXPIRE)
        self._remove_script = self._redis.register_script(REMOVE)
        self._epoch = ""
        self._salt = b""

    def _key(self, name: str) -> str:
        return f"{{{self._prefix}}}:{name}"

    def _keys(self, *names: str) -> list[str]:
        return [self._key(name) for name in names]

    def _do(self, action: Callable[[], T]) -> T:
        try:
            return action()
        except redis.RedisError as error:
            raise StoreError(f"Redis: {error}") from error

    @property
    def epoch(self) -> str:
        """See Store."""
        return self._epoch or self._read_epoch()

    def _read_epoch(self) -> str:
        def read() -> str:
            self._redis.set(self._key("epoch"), secrets.token_hex(4), nx=True)
            return _bytes(self._redis.get(self._key("epoch"))).decode()

        self._epoch = self._do(read)
        return self._epoch

    def append(self, events: list[Event], rejections: list[Rejection]) -> list[bool]:
        """See Store."""
        now = time.time_ns() // 1_000_000
        arguments: list[Any] = [self.keep, self.keep_rejected, now, now // 60_000, len(events)]
        salt = self._salt or self._read_salt()
        for event in events:
            key = _index_key(event.source, event.id)
            arguments += [key, event.json, *removal.forbidding(salt, event.source, event.id)]
            # Before the deletion itself is kept: what is broken off between is done again with it.
            if event.type.endswith(removal.SUFFIX) and (found := removal.removal_of(event)):
                self._remove(found, now, key)
        arguments += [msgspec.json.encode(rejection) for rejection in rejections]
        keys = self._keys("events", "index", "seq", "minutes", "rejected", "tombstones")
        return [one == 1 for one in self._do(lambda: self._append_script(keys, arguments))]

    def _read_salt(self) -> bytes:
        def read() -> bytes:
            self._redis.set(self._key("salt"), secrets.token_bytes(32), nx=True)
            return _bytes(self._redis.get(self._key("salt")))

        self._salt = self._do(read)
        return self._salt

    def _remove(self, wanted: Removal, now: int, notice: str) -> None:
        """Remove what a deletion names, unless that was done; `notice` is the deletion's key."""
        if self._do(lambda: self._redis.hexists(self._key("index"), notice)):
            return
        names = self._named(wanted)
        if not wanted.author:
            names = [*{*names, wanted.id}]  # a deletion may come before its event
        elif not names:
            names = [
                found.id
                for record in self._newest_first(None)
                if removal.is_by(wanted.id, record.event)
                for found in (msgspec.json.decode(record.event, type=_Identity),)
                if found.source == wanted.source
            ]
        keys = self._keys("events", "index", "tombstones")
        removed = 0
        for name in names:
            tombstone = removal.tombstone(self._salt, wanted.source, name)
            arguments: list[Any] = [_index_key(wanted.source, name), tombstone]
            arguments += [now, removal.MOST_TOMBSTONES]
            removed += int(self._do(partial(self._remove_script, keys, arguments)))
        detail = msgspec.json.encode(Removed(rfc3339(now), removed, wanted.by, wanted.reason))

        def note() -> None:
            entries: Any = self._redis.lrange(self._key("rejected"), 0, -1)
            for entry in entries:
                if removal.quotes(msgspec.json.decode(entry, type=Rejection), wanted.id):
                    self._redis.lrem(self._key("rejected"), 0, entry)
            self._redis.lpush(self._key("removals"), detail)
            self._redis.ltrim(self._key("removals"), 0, removal.MOST_REMOVALS - 1)
            self._redis.hset(self._key("notices"), notice, now)

        self._do(note)

    def _named(self, wanted: Removal) -> list[str]:
        """Return the ids that a deletion names: its subject, as it is or as a later version."""
        key = _index_key(wanted.source, wanted.id)
        pattern = _GLOB.sub(r"\\\g<0>", key) + "*"
        index = self._key("index")
        found = self._do(lambda: list(self._redis.hscan_iter(index, match=pattern, count=CHUNK)))
        ids = (_bytes(field).decode().partition("\n")[2] for field, _seq in found)
        return [event_id for event_id in ids if wanted.names(event_id)]

    def removals(self, limit: int) -> list[Removed]:
        """See Store."""
        if not limit:
            return []
        entries: Any = self._do(lambda: self._redis.lrange(self._key("removals"), 0, limit - 1))
        return [msgspec.json.decode(entry, type=Removed) for entry in entries]

    def after(self, seq: int, limit: int, size: int = MAX_BYTES) -> list[Record]:
        """See Store."""
        oldest = self._oldest()
        records = (one for one in self._oldest_first(seq) if one.received >= oldest)
        return take(records, limit, size)

    def last(self) -> int:
        """See Store."""
        return int(self._do(lambda: self._redis.get(self._key("seq"))) or 0)

    def page(self, query: Query, size: int = MAX_BYTES, deadline: float = math.inf) -> Page:
        """See Store."""
        if query.source and query.id:
            records: Iterable[Record] = self._one(query.source, query.id)
        else:
            records = self._newest_first(query.cursor)
        oldest = max(self._oldest(), query.since)
        wanted, taken = Filter(query), list[Record]()
        for record in records:
            if record.received < oldest:
                break
            if wanted.fits(record):
                size -= len(record.event)
                if len(taken) == query.limit or (taken and size < 0):
                    return Page(taken, taken[-1].seq)
                taken.append(record)
            if time.monotonic() > deadline:
                return Page(taken, record.seq, expired=True)
        return Page(taken, None)

    def part(self, seq: int, offset: int, size: int) -> bytes:
        """See Store."""
        for record in self.after(seq - 1, 1):
            if record.seq == seq:
                return record.event[offset : offset + size]
        return b""

    def _one(self, source: str, event_id: str) -> list[Record]:
        seq = self._do(lambda: self._redis.hget(self._key("index"), _index_key(source, event_id)))
        return self.after(int(seq) - 1, 1) if seq else []

    def _oldest_first(self, seq: int) -> Iterator[Record]:
        def read(last: int, count: int) -> Any:
            return self._redis.xrange(self._key("events"), min=f"{last + 1}-0", count=count)

        return self._records(read, seq)

    def _newest_first(self, cursor: int | None) -> Iterator[Record]:
        def read(last: int, count: int) -> Any:
            end = f"{last - 1}" if last else "+"
            return self._redis.xrevrange(self._key("events"), max=end, count=count)

        return self._records(read, cursor or 0)

    def _records(self, read: Callable[[int, int], Any], last: int) -> Iterator[Record]:
        """What `read` (last seq read, count) gives, portion by portion as it is wanted."""
        count = FIRST_CHUNK
        while True:
            entries = self._do(partial(read, last, count))
            size = 1
            for key, fields in entries:
                last = int(key.split(b"-")[0])
                size += len(fields[b"e"])
                yield Record(last, int(fields[b"r"]), fields[b"e"])
            if len(entries) < count:
                return
            count = min(CHUNK, max(1, MAX_BYTES * count // size))

    def _oldest(self) -> int:
        return time.time_ns() // 1_000_000 - self.keep_ms if self.keep_ms else 0

    def total(self) -> int:
        """See Store."""
        return int(self._do(lambda: self._redis.xlen(self._key("events"))))

    def rejected(self, limit: int, offset: int = 0) -> list[Rejection]:
        """See Store."""
        if not limit:
            return []
        key, last = self._key("rejected"), offset + limit - 1
        entries: Any = self._do(lambda: self._redis.lrange(key, offset, last))
        return [msgspec.json.decode(entry, type=Rejection) for entry in entries]

    def rejected_total(self) -> int:
        """See Store."""
        return int(self._do(lambda: self._redis.llen(self._key("rejected"))))

    def minutes(self, since: int) -> list[Minute]:
        """See Store."""
        counts: dict[int, dict[str, int]] = {}
        entries: Any = self._do(lambda: self._redis.hgetall(self._key("minutes")))
        for field, count in entries.items():
            minute = int(field[:-1])
            if minute >= since:
                counts.setdefault(minute, {})[field[-1:].decode()] = int(count)
        return [
            Minute(minute, one.get("a", 0), one.get("d", 0), one.get("r", 0))
            for minute, one in sorted(counts.items())
        ]

    def probe(self) -> None:
        """See Store."""
        self._do(lambda: self._redis.set(self._key("probe"), time.time_ns()))

    def maintain(self) -> None:
        """See Store. Also notices when Redis has lost everything."""
        self._read_epoch()
        if self.keep_ms:
            keys = self._keys("events", "index")
            self._do(lambda: self._expire_script(keys, [self._oldest(), CHUNK]))
        self._drop_notices()
        entries: Any = self._do(lambda: self._redis.hkeys(self._key("minutes")))
        first = time.time() // 60 - MINUTES_KEPT
        old = [field for field in entries if int(field[:-1]) < first]
        if old:
            self._do(lambda: self._redis.hdel(self._key("minutes"), *old))

    def _drop_notices(self) -> None:
        """Drop deletions that pages and streams have had time to learn of: they name what is gone."""
        oldest = time.time_ns() // 1_000_000 - NOTICE_SECONDS * 1000
        notices: Any = self._do(lambda: self._redis.hgetall(self._key("notices")))

        def drop(notice: bytes) -> None:
            seq = self._redis.hget(self._key("index"), notice)
            if seq is not None:
                self._redis.xdel(self._key("events"), f"{_bytes(seq).decode()}-0")
                self._redis.hdel(self._key("index"), notice)
            self._redis.hdel(self._key("notices"), notice)

        for notice, at in notices.items():
            if int(at) < oldest:
                self._do(partial(drop, notice))

    def close(self) -> None:
        """See Store."""
        self._redis.close()


class _Identity(msgspec.Struct):
    source: str
    id: str


def _index_key(source: str, event_id: str) -> str:
    # No attribute can hold a control character.
    return f"{source}\n{event_id}"


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else b""
