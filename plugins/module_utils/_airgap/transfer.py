"""Work of several threads that moves bytes: counted, under a deadline, given up at the first error."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from .._module.parallel import wait_for
from .errors import BundleError

T = TypeVar("T")


class _Cancelled(BaseException):
    """Another thread has failed."""


class Transfer:
    """Bytes that are moved within `timeout` seconds; `progress` gets a sentence about them."""

    def __init__(self, verb: str, timeout: float, progress: Callable[[str], None]) -> None:
        self.total = 0
        self.done = 0
        self._verb = verb
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._progress = progress
        self._lock = threading.Lock()
        self._failed = threading.Event()

    def note(self, sentence: str) -> None:
        """Report what is being done."""
        with self._lock:
            self._progress(sentence)

    def add(self, count: int) -> None:
        """Count bytes; raise BundleError after the deadline, and end the thread after another's error."""
        with self._lock:
            self.done += count
            if self.total:
                self._progress(
                    f"{self._verb} {self.done} of {self.total} bytes"
                    f" ({100 * self.done // self.total} %)"
                )
        if self._failed.is_set():
            raise _Cancelled
        if time.monotonic() > self._deadline:
            raise BundleError(
                f"timeout: not done within {self._timeout:g} s; what is done is kept, and the next"
                " run goes on there. Set a longer timeout"
            )

    def run(self, work: Iterable[Callable[[], T]], workers: int) -> list[T]:
        """Return the results; raise the first error, after the others have ended."""
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(self._one, one) for one in work]
            try:
                wait_for(futures)
            except BaseException:
                self._stop(futures)
                raise
            ended = [future for future in futures if future.done()]
            errors = [error for future in ended if (error := future.exception())]
            if errors:
                self._stop(futures)
                raise next((e for e in errors if not isinstance(e, _Cancelled)), errors[0])
        return [future.result() for future in futures]

    def _one(self, work: Callable[[], T]) -> T:
        self.add(0)
        return work()

    def _stop(self, futures: list[Future[T]]) -> None:
        self._failed.set()
        for future in futures:
            future.cancel()


def write_error(error: OSError, path: object) -> BundleError:
    """Return the error for a file that cannot be written."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return BundleError(
            f"path: the disk of {path} is full. What was written is kept: make room and run again, or"
            " choose another disk"
        )
    return BundleError(f"path: {path} cannot be written: {error.strerror}")
