"""The API against its OpenAPI document, and what the document cannot say."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, cast
from unittest.mock import Mock

import schemathesis
from apps.event_viewer.viewer_support import APP, PATIENCE, Start, Viewer, wait_until
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance
from starlette.routing import Route

from event_viewer.application import routes
from event_viewer.routes import Resource

Make = Callable[..., dict[str, Any]]
DOCUMENT = json.loads((APP / "event_viewer" / "static" / "openapi.json").read_text())
# A stream does not end; test_viewer_stream.py is about it.
schema = schemathesis.openapi.from_dict(DOCUMENT).exclude(path="/api/stream")


@schema.parametrize()
@settings(
    max_examples=15,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_as_documented(case: schemathesis.Case, viewer: Viewer) -> None:
    # A schema cannot say all that makes an event valid; test_viewer_parsing.py is about that.
    # Nor that there is a sink to replay to, or an event to remove.
    unsure = ("POST /", "POST /api/replay", "POST /api/removals")
    beyond = [positive_data_acceptance] if case.operation.label in unsure else []
    case.call_and_validate(base_url=viewer.url, session=viewer.http, excluded_checks=beyond)


def test_every_path_is_documented() -> None:
    served = {
        (method.lower(), route.path)
        for route in routes(*(cast(Any, Mock()) for _ in range(6)))
        if isinstance(route, Route) and isinstance(route.app, Resource)
        for method in set(route.app.operations) - {"HEAD"}
        if route.path != "/static/{name}"
    }
    documented = {
        (method, path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert documented == served


def test_refusals_are_documented(start: Start) -> None:
    """Without a token, and with one that gives no such right."""
    viewer = start(READ_TOKEN="reader", WRITE_TOKEN="writer")
    asked = []
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for headers in (
                {},
                {"Authorization": "Bearer reader"},
                {"Authorization": "Bearer writer"},
                {"Origin": "https://elsewhere.example"},
            ):
                with viewer.http.request(
                    method, viewer.url + path, headers=headers, timeout=PATIENCE, stream=True
                ) as answer:
                    where = (method, path, headers)
                    assert str(answer.status_code) in operation["responses"], where
                    asked.append(answer.status_code)
    assert {200, 401, 403} <= set(asked)


def test_the_document_is_served(viewer: Viewer) -> None:
    assert viewer.get("/api/openapi.json").json() == DOCUMENT


def test_pages_follow_each_other(viewer: Viewer, event: Make) -> None:
    source = event()["source"]
    viewer.send_batch([event(number) for number in range(25)])
    seen: list[str] = []
    cursor = None
    while True:
        page = viewer.get(
            "/api/events", params={"source": source, "limit": 10, "cursor": cursor}
        ).json()
        seen += [record["event"]["id"] for record in page["events"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [str(number) for number in reversed(range(25))]


def test_only_the_total(viewer: Viewer, event: Make) -> None:
    viewer.send(event(1))
    page = viewer.get("/api/events", params={"limit": 0}).json()
    assert page["total"] >= 1
    assert page["events"] == []


def test_since(viewer: Viewer, event: Make) -> None:
    source = event()["source"]
    viewer.send(event(1))
    received = viewer.find(source, "1").json()["received"]
    assert len(viewer.events(source=source, since=received)) == 1
    assert viewer.events(source=source, since="2999-01-01T00:00:00Z") == []
    for wrong in ("", "yesterday", "2020-01-01"):
        assert viewer.get("/api/events", params={"since": wrong}).status_code == 400


def test_rates(viewer: Viewer, event: Make) -> None:
    def last_hour() -> dict[str, int]:
        minutes = viewer.get("/api/stats").json()["minutes"]
        assert len(minutes) == 60
        return {
            name: sum(minute[name] for minute in minutes)
            for name in ("accepted", "duplicates", "rejected")
        }

    before = last_hour()
    viewer.send_batch([event(number) for number in (1, 2, 3, 3)])
    viewer.post(data=b"bad")
    expected = {
        "accepted": before["accepted"] + 3,
        "duplicates": before["duplicates"] + 1,
        "rejected": before["rejected"] + 1,
    }
    wait_until(lambda: last_hour() == expected)


def test_metrics(viewer: Viewer) -> None:
    answer = viewer.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    for name in ("events_accepted_total", "events_kept", "streams", "commit_seconds_bucket"):
        assert f"\nevent_viewer_{name}" in answer.text


def test_errors_are_json(viewer: Viewer) -> None:
    for answer in (
        viewer.get("/nothing"),
        viewer.get("/api/events/only-a-source"),
        viewer.get("/api/events", params={"limit": "many"}),
        viewer.get("/api/replay"),
    ):
        assert 400 <= answer.status_code < 500
        assert answer.json()["error"]
