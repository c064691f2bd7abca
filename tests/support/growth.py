"""How processor time grows with the size of the input."""

from __future__ import annotations

import time
from collections.abc import Callable

Make = Callable[[int], Callable[[], object]]
#: Twice the input takes at most so many times as long.
MOST = 2.5
#: Seconds below which caches and the allocator weigh more than the work.
LEAST = 0.005
TRIES = 5


def is_linear(make: Make, size: int = 100_000) -> bool:
    """Return whether what `make(n)` returns takes a time that is linear in n; prints what it measured."""
    small, large = make(size), make(2 * size)
    for _ in range(TRIES):
        one, two = _cpu_seconds(small), _cpu_seconds(large)
        if two <= MOST * one or two < LEAST:
            return True
        print(f"{one * 1000:.2f} ms for {size}, {two * 1000:.2f} ms for twice that")
    return False


def _cpu_seconds(work: Callable[[], object]) -> float:
    """The least processor time of several runs, which other processes hardly change."""
    times = []
    for _ in range(5):
        began = time.thread_time()
        work()
        times.append(time.thread_time() - began)
    return min(times)
