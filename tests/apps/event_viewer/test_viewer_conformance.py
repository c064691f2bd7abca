"""The CloudEvents specification's own scenarios for the HTTP protocol binding."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from apps.event_viewer.viewer_support import Viewer
from pytest_bdd import given, parsers, scenario, then, when
from support.conformance import FEATURE, request_bytes

if not FEATURE.is_file():
    pytest.skip(f"{FEATURE} is not here", allow_module_level=True)


@scenario(str(FEATURE), "Binary content mode (<contentType>)")
def test_binary() -> None:
    pass


@scenario(str(FEATURE), "Structured content mode (<contentType>)")
def test_structured() -> None:
    pass


@given("HTTP Protocol Binding is supported")
def supported(viewer: Viewer) -> None:
    assert viewer.get("/readyz").status_code == 200


@given("an HTTP request", target_fixture="message")
def request_text(docstring: str) -> bytes:
    return request_bytes(docstring)


@when("parsed as HTTP request", target_fixture="received")
def parsed(viewer: Viewer, message: bytes) -> dict[str, Any]:
    before = viewer.events(limit=1)
    # Every scenario has the same id: told apart, or they were duplicates of the first.
    unique = f"1234-1234-1234-{before[0]['seq'] if before else 0}"
    changed = message.replace(b"1234-1234-1234", unique.encode())
    grown = len(changed) - len(message)
    if b"ce-id" not in message:
        changed = re.sub(
            rb"Content-Length: (\d+)",
            lambda match: b"Content-Length: %d" % (int(match[1]) + grown),
            changed,
        )
    assert viewer.raw(changed).startswith(b"HTTP/1.1 202 ")
    event = viewer.find("/mycontext/subcontext", unique).json()["event"]
    return {**event, "id": event["id"].replace(unique, "1234-1234-1234")}


@then("the attributes are:")
def attributes(received: dict[str, Any], datatable: list[list[str]]) -> None:
    expected = dict(datatable[1:])
    assert {name: value for name, value in received.items() if name != "data"} == expected


@then(parsers.parse("the data is equal to the following JSON:"))
def data(received: dict[str, Any], docstring: str) -> None:
    assert received["data"] == json.loads(docstring)
