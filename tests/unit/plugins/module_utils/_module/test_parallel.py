"""Work on several inputs at a time."""

from __future__ import annotations

import signal
import threading
import time

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._module.parallel import in_parallel


def test_results_are_in_the_order_of_the_inputs() -> None:
    barrier = threading.Barrier(2)  # both are worked on at a time

    def work(number: int) -> int:
        barrier.wait(60)
        return number * 2

    assert in_parallel(work, [1, 2], workers=2) == [2, 4]


def test_the_first_error_is_raised_and_what_has_not_begun_is_left() -> None:
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        time.sleep(0.01)
        raise ValueError(f"of {number}")

    with pytest.raises(ValueError, match="of 0"):
        in_parallel(work, range(1000), workers=2)
    assert len(begun) < 1000


def test_a_signal_that_wakes_no_wait_is_heeded_all_the_same() -> None:
    heeded = threading.Event()
    previous = signal.signal(signal.SIGUSR1, lambda *_: heeded.set())

    def work(number: int) -> bool:
        if not number:
            time.sleep(0.2)  # the main thread waits by now
            # To this thread, so that it does not wake the main one, whose matter the handler is.
            signal.raise_signal(signal.SIGUSR1)
        return heeded.wait(20)

    try:
        assert in_parallel(work, range(2)) == [True, True]
    finally:
        signal.signal(signal.SIGUSR1, previous)
