"""What is sent again, how often, and after which pauses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from urllib3 import HTTPHeaderDict

from ansible_collections.streamops.knative.plugins.module_utils._http.client import Answer
from ansible_collections.streamops.knative.plugins.module_utils._http.errors import Cause, NoAnswer
from ansible_collections.streamops.knative.plugins.module_utils._http.retries import Retries


def answer(status: int, text: str = "", **headers: str) -> Answer:
    fields = HTTPHeaderDict({name.replace("_", "-"): value for name, value in headers.items()})
    return Answer(status, fields, text.encode())


def no_answer(cause: Cause, *, sent: bool) -> NoAnswer:
    return NoAnswer("no answer", cause, sent=sent)


def attempts(*outcomes: Answer | NoAnswer) -> tuple[Callable[[], Answer], list[Any]]:
    """A request with these outcomes, one after the other, and a list of those that came."""
    remaining: Iterator[Answer | NoAnswer] = iter(outcomes)
    seen: list[Any] = []

    def attempt() -> Answer:
        outcome = next(remaining)
        seen.append(outcome)
        if isinstance(outcome, NoAnswer):
            raise outcome
        return outcome

    return attempt, seen


OK = answer(200)


@pytest.mark.parametrize(
    ("outcome", "always", "if_repeatable"),
    [
        (answer(429), True, True),
        (answer(503), True, True),
        (answer(502), False, True),
        (answer(504), False, True),
        (answer(500, "etcdserver: leader changed"), False, True),
        (answer(500, "failed calling webhook"), False, False),
        (answer(404), False, False),
        (answer(409), False, False),
        (no_answer(Cause.CONNECTION, sent=False), True, True),
        (no_answer(Cause.CONNECTION, sent=True), False, True),
        (no_answer(Cause.TIMEOUT, sent=True), False, True),
        (no_answer(Cause.NAME, sent=False), True, True),
        (no_answer(Cause.CERTIFICATE, sent=False), False, False),
        (no_answer(Cause.FORMAT, sent=True), False, False),
    ],
)
def test_only_what_may_go_better_and_does_no_harm_is_sent_again(
    outcome: Answer | NoAnswer, always: bool, if_repeatable: bool
) -> None:
    for repeatable, expected in ((False, always), (True, if_repeatable)):
        attempt, seen = attempts(outcome, OK)
        try:
            Retries(sleep=lambda _: None).send(attempt, repeatable=repeatable)
        except NoAnswer:
            assert not expected
        assert (len(seen) == 2) == expected


def test_the_server_is_given_the_pause_that_it_asks_for() -> None:
    pauses: list[float] = []
    date = "Wed, 21 Oct 2026 07:28:00 GMT"
    later = "Wed, 21 Oct 2026 07:28:09 GMT"
    attempt, _ = attempts(
        answer(429, Retry_After="7"), answer(503, Retry_After=later, Date=date), OK
    )
    assert Retries(sleep=pauses.append).send(attempt, repeatable=False).status == 200
    assert pauses == [7.0, 9.0]


def test_pauses_double_up_to_the_longest() -> None:
    pauses: list[float] = []
    attempt, _ = attempts(*[answer(503)] * 7, OK)
    Retries(sleep=pauses.append, pause=1, longest_pause=8).send(attempt, repeatable=True)
    for pause, longest in zip(pauses, [1, 2, 4, 8, 8, 8, 8], strict=True):
        assert longest / 2 <= pause <= longest


def test_the_last_outcome_is_returned_when_the_attempts_are_used_up() -> None:
    retries = Retries(sleep=lambda _: None, attempts=2)
    attempt, seen = attempts(*[answer(503)] * 3)
    assert retries.send(attempt, repeatable=True).status == 503
    assert len(seen) == 3
    attempt, seen = attempts(*[no_answer(Cause.CONNECTION, sent=False)] * 3)
    with pytest.raises(NoAnswer):
        retries.send(attempt, repeatable=True)
    assert len(seen) == 3


def test_a_pause_longer_than_the_budget_is_not_waited_for() -> None:
    attempt, seen = attempts(answer(429, Retry_After="100"), OK)
    assert Retries(sleep=lambda _: None).send(attempt, repeatable=True).status == 429
    assert len(seen) == 1


def test_a_server_that_never_answered_is_given_up_on_sooner() -> None:
    lost = no_answer(Cause.CONNECTION, sent=False)
    retries = Retries(sleep=lambda _: None, first_contact=0, attempts=3)
    attempt, _ = attempts(lost, OK)
    with pytest.raises(NoAnswer):
        retries.send(attempt, repeatable=True)
    retries.answered.set()
    attempt, _ = attempts(lost, OK)
    assert retries.send(attempt, repeatable=True).status == 200
