"""The ids of what has been delivered: against duplicates, and to know whose deletion matters."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Collection
from struct import iter_unpack, pack

#: Bounded, since a ConfigMap holds 1 MiB: these take 215 kB of it.
MOST = 20_000


class DeliveredIds:
    """The last ids, as hashes of 64 bits; the oldest are forgotten first."""

    def __init__(self, most: int = MOST) -> None:
        self._hashes: dict[int, None] = {}
        self._most = most

    def __contains__(self, text: str) -> bool:
        return _number(text) in self._hashes

    def __len__(self) -> int:
        return len(self._hashes)

    def add(self, text: str) -> None:
        """Remember an id as the newest."""
        key = _number(text)
        self._hashes.pop(key, None)
        self._hashes[key] = None
        if len(self._hashes) > self._most:
            del self._hashes[next(iter(self._hashes))]

    def dump(self) -> str:
        """Return the hashes as text, oldest first."""
        return packed(self._hashes)

    def load(self, text: str) -> None:
        """Take over what `dump` returned; ValueError if it is not that."""
        self._hashes = dict.fromkeys(unpacked(text)[-self._most :])


def packed(numbers: Collection[int]) -> str:
    """Return numbers of 64 bits as base64."""
    return base64.b64encode(pack(f">{len(numbers)}Q", *numbers)).decode()


def unpacked(text: str) -> list[int]:
    """Return the numbers that `packed` was given; ValueError if the text is not of it."""
    content = base64.b64decode(text, validate=True)
    if len(content) % 8:
        raise ValueError("the delivered ids are cut off")
    return [number for (number,) in iter_unpack(">Q", content)]


def digest(text: str) -> bytes:
    """Return the 8 bytes by which an id is remembered."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _number(text: str) -> int:
    return int.from_bytes(digest(text), "big")
