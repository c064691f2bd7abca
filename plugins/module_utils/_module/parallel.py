"""Work on several inputs at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Any, TypeVar

_In = TypeVar("_In")
_Out = TypeVar("_Out")
_TURN = 0.5  # seconds


def in_parallel(work: Callable[[_In], _Out], inputs: Iterable[_In], workers: int = 8) -> list[_Out]:
    """Return what `work` returns, in the order of the inputs; raise its first error."""
    listed = list(inputs)
    if len(listed) < 2:
        return [work(value) for value in listed]
    with ThreadPoolExecutor(min(workers, len(listed))) as pool:
        futures = [pool.submit(work, value) for value in listed]
        try:
            wait_for(futures)
        finally:
            for future in futures:
                future.cancel()
    return [future.result() for future in futures]


def wait_for(futures: list[Future[Any]]) -> None:
    """Wait until all have ended or one has failed.

    It waits in short turns: a signal that arrives just before a thread begins to wait does not wake it, and Ctrl-C
    would have no effect until the end.
    """
    while True:
        done, pending = wait(futures, _TURN, FIRST_EXCEPTION)
        if not pending or any(future.exception() for future in done):
            return
