"""Sending events to sinks: retries, replies and dead letters as Eventing's data plane does them.

https://knative.dev/docs/eventing/event-delivery/ and knative/specs eventing/data-plane.md.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from streamops_sandbox.knative import cloudevents
from streamops_sandbox.knative.cloudevents import Event
from streamops_sandbox.knative.process import CONNECTION_ERRORS
from streamops_sandbox.knative.transport import Transport

_DURATION = re.compile(r"P(?=.)(\d+W)?(\d+D)?(T(?=.)([\d.]+H)?([\d.]+M)?([\d.]+S)?)?")
_UNITS = {"W": 604800, "D": 86400, "H": 3600, "M": 60, "S": 1}
_RETRIED = frozenset({404, 408, 409, 429})
_ERROR_DATA_LIMIT = 1024


def seconds(text: str) -> float:
    """Return the seconds of an ISO 8601 duration like `PT0.2S`.

    Raises:
        ValueError: the text is none; years and months, which have no fixed length, count as none.
    """
    if not _DURATION.fullmatch(text):
        raise ValueError(f"{text!r} is not an ISO 8601 duration")
    return sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+)([WDHMS])", text))


@dataclass(frozen=True)
class Policy:
    """How often and how long to try; delay and timeout in seconds."""

    retry: int = 0
    linear: bool = False
    delay: float = 0.05
    timeout: float | None = None

    @classmethod
    def read(cls, delivery: Mapping[str, Any] | None) -> Policy:
        """Read a validated `delivery`."""
        delivery = delivery or {}
        timeout = delivery.get("timeout")
        return cls(
            retry=delivery.get("retry") or 0,
            linear=delivery.get("backoffPolicy") == "linear",
            delay=seconds(delivery.get("backoffDelay") or "PT0.05S"),
            timeout=seconds(timeout) if timeout else None,
        )

    def wait(self, attempt: int) -> float:
        """Return the seconds before retry number `attempt`, counted from 0."""
        return self.delay * (attempt if self.linear else 2**attempt)


@dataclass(frozen=True)
class Answer:
    """What a destination answered, and the event in it if there is one."""

    status: int
    body: bytes = b""
    event: Event | None = None

    @property
    def ok(self) -> bool:
        """Whether it took the event."""
        return 200 <= self.status < 300


async def send(
    transport: Transport, event: Event, url: str, policy: Policy, *, replies: bool = False
) -> Answer:
    """Send an event until it is taken or all retries are used; return the last answer.

    No answer at all counts as status 500, as upstream reports it. Where `replies` are asked for, an
    answer with a body that is not an event counts as status 502.
    """
    for attempt in itertools.count():
        answer = await _once(transport, event, url, policy, replies=replies)
        retriable = answer.status >= 500 or answer.status in _RETRIED
        if answer.ok or not retriable or attempt >= policy.retry:
            break
        await asyncio.sleep(policy.wait(attempt))
    return answer


async def _once(
    transport: Transport, event: Event, url: str, policy: Policy, *, replies: bool
) -> Answer:
    headers, body = event.to_http()
    headers["Prefer"] = "reply"
    try:
        async with transport.request(
            "POST", url, headers=headers, data=body, timeout=policy.timeout
        ) as response:
            answer = Answer(response.status, await response.read())
            return _read_reply(answer, response.headers) if answer.ok and replies else answer
    except CONNECTION_ERRORS as error:
        return Answer(500, f"dispatch error: {str(error) or type(error).__name__}".encode())


def _read_reply(answer: Answer, headers: Mapping[str, str]) -> Answer:
    if not cloudevents.is_event(headers):
        return Answer(502) if answer.body else answer
    try:
        return replace(answer, event=cloudevents.parse(headers, answer.body))
    except cloudevents.InvalidEvent:
        return Answer(502)


def dead_letter(event: Event, destination: str, failure: Answer) -> Event:
    """Return the event with attributes that say why a destination did not take it."""
    text = failure.body.decode("utf-8", "replace").replace("\r", "").replace("\n", " ")
    attributes = {
        **event.attributes,
        "knativeerrordest": destination,
        "knativeerrorcode": str(failure.status),
    }
    if text:
        attributes["knativeerrordata"] = text[:_ERROR_DATA_LIMIT]
    return Event(attributes, event.data)
