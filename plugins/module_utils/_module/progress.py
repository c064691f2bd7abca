"""Rate limit of progress reports."""

from __future__ import annotations

import time
from collections.abc import Callable

PROGRESS_INTERVAL, REPEAT_INTERVAL = 3.0, 15.0  # seconds


def paced(report: Callable[[str], None]) -> Callable[[str], None]:
    """Return a function that reports at most every 3 s (an unchanged sentence every 15 s).

    Each sentence is prefixed with the seconds since the call of `paced`.
    """
    started = time.monotonic()
    last_time, last_sentence = started, ""

    def progress(sentence: str) -> None:
        nonlocal last_time, last_sentence
        now = time.monotonic()
        if now - last_time < (REPEAT_INTERVAL if sentence == last_sentence else PROGRESS_INTERVAL):
            return
        last_time, last_sentence = now, sentence
        report(f"{now - started:.0f} s: {sentence}")

    return progress
