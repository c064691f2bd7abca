"""The time the producer takes for what comes from outside grows with its size, no faster."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable

import pytest
from support.growth import is_linear

from twitter_producer import events, http_answers, json_text, query

Work = Callable[[], object]


def attempt(work: Work) -> Work:
    """The work, whatever it refuses."""

    def run() -> None:
        with contextlib.suppress(ValueError, TypeError, events.Unsendable):
            work()

    return run


def post(text: str) -> Work:
    maker = events.EventMaker("/x", "com.x.post", {})
    event = maker.probe("1", {"text": text})
    return lambda: [events.message(mode, [event]) for mode in events.MODES]


@pytest.mark.parametrize(
    "make",
    [
        # Answers of X, of sinks and of the API server
        lambda n: lambda: json_text.decode("[" * n),
        lambda n: lambda: json_text.decode('{"a":' * n),
        lambda n: lambda: json_text.decode("[" + "9" * n + "]"),
        lambda n: lambda: json_text.decode('"' + "\\ud83d" * n + '"'),
        lambda n: lambda: json_text.decode(" " * n + "x"),
        lambda n: lambda: json_text.decode(json.dumps({"data": [{"id": "1"}] * (n // 20)})),
        lambda n: lambda: http_answers.retry_after("9" * n),
        lambda n: lambda: http_answers.retry_after("Mon, " * n),
        lambda n: lambda: http_answers.retry_after(" " * n),
        lambda n: lambda: http_answers.printable("\x00" * n),
        # Posts
        lambda n: lambda: json_text.encode_any(["\ud83d"] * n),
        lambda n: lambda: json_text.encode_any({str(i): "\ud83d" for i in range(n // 10)}),
        lambda n: post("a\u00e9\U0001f680" * n),
        lambda n: post('"\\\n' * n),
        lambda n: post("\ud83d" * n),
        # Queries
        lambda n: lambda: query.check("a " * n, 10**9),
        lambda n: lambda: query.check("(" * n, 10**9),
        lambda n: lambda: query.check("(" * n + "a" + ")" * n, 10**9),
        lambda n: lambda: query.check('"' * n, 10**9),
        lambda n: lambda: query.check('"a" ' * n + '"', 10**9),
        lambda n: lambda: query.check("-is:retweet " * n, 10**9),
        lambda n: lambda: query.check(" " * n, 10**9),
        lambda n: lambda: query.build(["a" * n], [], []),
        lambda n: lambda: query.build(["from:" + "a" * n], ["e" * n], []),
        lambda n: lambda: query.build(["a_" * n + ":"], [], ["_" * n + "\x00"]),
        lambda n: lambda: query.build([f"a{i}" for i in range(n // 10)], [], ["is:" + "a" * n]),
    ],
)
def test_time_grows_with_the_size(make: Callable[[int], Work]) -> None:
    assert is_linear(lambda size: attempt(make(size)), 20_000)  # beyond, caches end
