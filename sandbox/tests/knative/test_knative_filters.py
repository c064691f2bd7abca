"""Trigger filters and durations, apart from any cluster."""

from __future__ import annotations

import pytest

from streamops_sandbox.knative import delivery
from streamops_sandbox.knative.filters import passes, problem

EVENT = {"specversion": "1.0", "id": "7", "type": "com.x.post", "source": "/x", "likes": "12"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, True),
        ({"filter": {"attributes": {"type": "", "source": "/x"}}}, True),
        ({"filter": {"attributes": {"lang": ""}}}, False),
        ({"filters": [{"exact": {"type": "com.x.post", "source": "/x"}}]}, True),
        ({"filters": [{"exact": {"type": "com.x.post"}}, {"exact": {"source": "/y"}}]}, False),
        ({"filters": [{"exact": {"lang": "de"}}]}, False),
        ({"filters": [{"prefix": {"type": "com."}}, {"suffix": {"type": ".post"}}]}, True),
        ({"filters": [{"all": [{"prefix": {"type": "com"}}, {"exact": {"id": "8"}}]}]}, False),
        ({"filters": [{"any": [{"prefix": {"type": "org"}}, {"exact": {"id": "7"}}]}]}, True),
        ({"filters": [{"not": {"exact": {"id": "7"}}}]}, False),
        ({"filters": [{"exact": {"id": "7"}}], "filter": {"attributes": {"id": "8"}}}, True),
    ],
)
def test_filters(spec, expected):
    assert passes(spec, EVENT) is expected


@pytest.mark.parametrize(
    "item",
    [
        {},
        {"exact": {"id": "7"}, "prefix": {"id": "7"}},
        {"exact": {}},
        {"exact": {"type": ""}},
        {"no": {}},
        {"cesql": "TRUE"},
        {"not": {"suffix": {}}},
        {"any": [{"exact": {"id": "7"}}, {"exact": {}}]},
    ],
)
def test_wrong_filters_have_a_problem(item):
    assert problem(item)
    assert not problem({"any": [{"exact": {"id": "7"}}, {"not": {"prefix": {"id": "8"}}}]})


def test_durations():
    assert delivery.seconds("PT0.2S") == 0.2
    assert delivery.seconds("P1DT2H3M4S") == 93784
    for wrong in ("", "P", "PT", "1s", "P1Y"):
        with pytest.raises(ValueError, match="ISO 8601"):
            delivery.seconds(wrong)
