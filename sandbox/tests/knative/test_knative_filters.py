"""Trigger filters and cron schedules, apart from any cluster."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamops_sandbox.knative import cesql, filters
from streamops_sandbox.knative.eventing import cron, durations

EVENT = {"specversion": "1.0", "id": "7", "type": "com.x.post", "source": "/x", "likes": "12"}


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("type = 'com.x.post'", True),
        ("type LIKE 'com.%'", True),
        ("type NOT LIKE 'com.x.____'", False),
        ("likes > 10 AND likes <= 12", True),
        ("likes + 3 * 2 = 18", True),
        ("(likes + 3) * 2 = 30", True),
        ("-likes < 0", True),
        ("likes / 5 = 2 AND likes % 5 = 2", True),
        ("type IN ('a', 'com.x.post')", True),
        ("NOT (source = '/x')", False),
        ("EXISTS lang OR EXISTS id", True),
        ("lang = 'de'", False),
        ("NOT EXISTS lang", True),
        ("TRUE XOR FALSE", True),
        ("LENGTH(type) = 10", True),
        ("UPPER(LEFT(type, 3)) = 'COM'", True),
        ("SUBSTRING(type, -4) = 'post'", True),
        ("CONCAT_WS('-', id, likes) = '7-12'", True),
        ("IS_INT(source) OR IS_BOOL('true')", True),
        ("source > 1", False),
        ("1 / 0 = 1", False),
        ('id = "7"', True),
        ("id = 7", True),
    ],
)
def test_cesql(expression, matches):
    assert cesql.compile_expression(expression)(EVENT) is matches


@pytest.mark.parametrize(
    "expression", ["", "type =", "type = 'a", "(1", "1 2", "NO(1)", "ABS()", "a LIKE b"]
)
def test_cesql_says_where_it_is_wrong(expression):
    with pytest.raises(cesql.ParseError):
        cesql.compile_expression(expression)


@pytest.mark.parametrize(
    ("item", "matches"),
    [
        ({"exact": {"type": "com.x.post", "source": "/x"}}, True),
        ({"exact": {"type": "com.x.post", "source": "/y"}}, False),
        ({"prefix": {"type": "com."}}, True),
        ({"suffix": {"type": ".post"}}, True),
        ({"exact": {"lang": "de"}}, False),
        ({"all": [{"prefix": {"type": "com"}}, {"exact": {"id": "7"}}]}, True),
        ({"any": [{"prefix": {"type": "org"}}, {"exact": {"id": "7"}}]}, True),
        ({"not": {"exact": {"id": "7"}}}, False),
        ({"cesql": "likes > 10"}, True),
    ],
)
def test_dialects(item, matches):
    assert filters.compile_filter(item)(EVENT) is matches


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"exact": {}},
        {"exact": {"type": ""}},
        {"no": {}},
        {"cesql": "("},
        {"all": [], "any": []},
    ],
)
def test_wrong_filters_are_refused(item):
    with pytest.raises(filters.InvalidFilter):
        filters.compile_filter(item)


def test_attributes_filter_takes_empty_as_any():
    spec = {"filter": {"attributes": {"type": "", "source": "/x"}}}
    assert filters.compile_trigger(spec)(EVENT)
    assert not filters.compile_trigger({"filter": {"attributes": {"lang": ""}}})(EVENT)
    assert filters.compile_trigger({})(EVENT)


@pytest.mark.parametrize(
    ("schedule", "timezone", "after", "expected"),
    [
        ("*/15 * * * *", "UTC", "2026-11-23T10:07:30", "2026-11-23T10:15:00"),
        ("0 9 * * mon-fri", "UTC", "2026-11-27T10:00:00", "2026-11-30T09:00:00"),
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("30 8 1 * sun", "UTC", "2026-11-23T00:00:00", "2026-11-29T08:30:00"),
        ("0 9 * * *", "Europe/Berlin", "2026-11-23T00:00:00", "2026-11-23T08:00:00"),
        ("@hourly", "UTC", "2026-11-23T10:00:00", "2026-11-23T11:00:00"),
        ("@every 1h30m", "UTC", "2026-11-23T10:00:00", "2026-11-23T11:30:00"),
    ],
)
def test_cron(schedule, timezone, after, expected):
    moment = datetime.fromisoformat(after).replace(tzinfo=UTC)
    found = cron.Schedule(schedule, timezone).after(moment)
    assert found == datetime.fromisoformat(expected).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "schedule", ["", "* * * *", "60 * * * *", "* * * * x", "*/0 * * * *", "@every x"]
)
def test_wrong_schedules_are_refused(schedule):
    with pytest.raises(ValueError):  # noqa: PT011 - the message differs for each
        cron.Schedule(schedule)


def test_durations():
    assert durations.seconds("PT0.2S") == 0.2
    assert durations.seconds("P1DT2H3M4S") == 93784
    for wrong in ("", "P", "PT", "1s", "P1Y"):
        with pytest.raises(ValueError, match="ISO 8601"):
            durations.seconds(wrong)
