"""Work on several inputs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")


def in_parallel(work: Callable[[_In], _Out], inputs: Iterable[_In], workers: int = 8) -> list[_Out]:
    """Return what `work` returns, in the order of the inputs; raise its first error."""
    listed = list(inputs)
    if len(listed) < 2:
        return [work(value) for value in listed]
    with ThreadPoolExecutor(min(workers, len(listed))) as pool:
        return list(pool.map(work, listed))
