"""Sending events to sinks: retries, replies and dead letters as Eventing's data plane does them.

https://knative.dev/docs/eventing/event-delivery/ and knative/specs eventing/data-plane.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from multidict import CIMultiDict

from streamops_sandbox.knative import cloudevents
from streamops_sandbox.knative.cloudevents import Event
from streamops_sandbox.knative.eventing import durations
from streamops_sandbox.knative.process import CONNECTION_ERRORS
from streamops_sandbox.knative.transport import Transport

_RETRIED = frozenset({404, 408, 409, 429})
_ERROR_DATA_LIMIT = 1024
#: Headers of a request that go along with its event (besides `knative-` ones).
_PASSED = ("x-request-id", "traceparent", "tracestate")


class DeliveryFailed(Exception):
    """A destination (and its dead letter sink) did not take an event; `status` is the last one."""

    def __init__(self, destination: str, status: int, body: bytes) -> None:
        super().__init__(f"{destination} answered {status}")
        self.destination = destination
        self.status = status
        self.body = body


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
            delay=durations.seconds(delivery.get("backoffDelay") or "PT0.05S"),
            timeout=durations.seconds(timeout) if timeout else None,
        )

    def wait(self, attempt: int) -> float:
        """Return the seconds before retry number `attempt`, counted from 0."""
        return self.delay * (attempt if self.linear else 2**attempt)


@dataclass(frozen=True)
class Answer:
    """What a destination said."""

    status: int
    headers: CIMultiDict[str]
    body: bytes

    @property
    def ok(self) -> bool:
        """Whether it took the event."""
        return 200 <= self.status < 300


class Sender:
    """Sends events over a process's transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(
        self, event: Event, url: str, policy: Policy, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send an event until it is taken or all retries are used; return the last answer.

        No answer at all counts as status 500, as upstream reports it.
        """
        attempt = 0
        while True:
            answer = await self._once(event, url, policy, headers)
            retriable = answer.status >= 500 or answer.status in _RETRIED
            if answer.ok or not retriable or attempt >= policy.retry:
                return answer
            await asyncio.sleep(policy.wait(attempt))
            attempt += 1

    async def deliver(
        self,
        event: Event,
        policy: Policy,
        *,
        subscriber: str | None,
        reply: str | None,
        dead_letter: str | None,
    ) -> None:
        """Send an event to a subscriber and what that answers on to `reply`.

        Raises:
            DeliveryFailed: one of the two failed and there is no dead letter sink that took it.
        """
        answered: Event | None = event
        try:
            if subscriber:
                answer = await self._expect(event, subscriber, policy)
                answered = _event_of(answer)
            if answered is not None and reply:
                event = answered
                await self._expect(event, reply, policy)
        except DeliveryFailed as failure:
            if dead_letter is None:
                raise
            await self._expect(_dead_letter(event, failure), dead_letter, policy)

    async def _expect(self, event: Event, url: str, policy: Policy) -> Answer:
        answer = await self.send(event, url, policy, {"Prefer": "reply"})
        if not answer.ok:
            raise DeliveryFailed(url, answer.status, answer.body)
        return answer

    async def _once(
        self, event: Event, url: str, policy: Policy, extra: Mapping[str, str] | None
    ) -> Answer:
        headers, body = event.to_http()
        headers.update(extra or {})
        try:
            async with self._transport.request(
                "POST", url, headers=headers, data=body, timeout=policy.timeout
            ) as response:
                content = await response.read()
                return Answer(response.status, CIMultiDict(response.headers), content)
        except CONNECTION_ERRORS as error:
            reason = str(error) or type(error).__name__
            return Answer(500, CIMultiDict(), f"dispatch error: {reason}".encode())


def passed_on(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers of a request that accompany its event to the next hop."""
    return {
        name: value
        for name, value in headers.items()
        if name.lower() in _PASSED or name.lower().startswith("knative-")
    }


def _event_of(answer: Answer) -> Event | None:
    if not cloudevents.is_event(answer.headers):
        return None
    try:
        return cloudevents.parse(answer.headers, answer.body)
    except cloudevents.InvalidEvent:
        return None


def _dead_letter(event: Event, failure: DeliveryFailed) -> Event:
    text = failure.body.decode("utf-8", "replace").replace("\r", "").replace("\n", " ")
    attributes = {
        **event.attributes,
        "knativeerrordest": failure.destination,
        "knativeerrorcode": str(failure.status),
    }
    if text:
        attributes["knativeerrordata"] = text[:_ERROR_DATA_LIMIT]
    return Event(attributes, event.data, event.headers)
