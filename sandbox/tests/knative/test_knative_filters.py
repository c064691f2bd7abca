"""Trigger filters and durations, apart from any cluster."""

from __future__ import annotations

import pytest

from streamops_sandbox.knative import delivery
from streamops_sandbox.knative.filters import passes

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
        ({"filters": [{"exact": {"id": "7"}}], "filter": {"attributes": {"id": "8"}}}, True),
    ],
)
def test_filters(spec, expected):
    assert passes(spec, EVENT) is expected


def test_durations():
    assert delivery.seconds("PT0.2S") == 0.2
    assert delivery.seconds("P1DT2H3M4S") == 93784
    for wrong in ("", "P", "PT", "1s", "P1Y"):
        with pytest.raises(ValueError, match="ISO 8601"):
            delivery.seconds(wrong)
