"""Trigger filters and durations, apart from any cluster."""

from __future__ import annotations

import pytest

from streamops_sandbox.knative import delivery, filters

EVENT = {"specversion": "1.0", "id": "7", "type": "com.x.post", "source": "/x", "likes": "12"}


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


def test_durations():
    assert delivery.seconds("PT0.2S") == 0.2
    assert delivery.seconds("P1DT2H3M4S") == 93784
    for wrong in ("", "P", "PT", "1s", "P1Y"):
        with pytest.raises(ValueError, match="ISO 8601"):
            delivery.seconds(wrong)
