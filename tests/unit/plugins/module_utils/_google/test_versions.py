"""Versions of Kubernetes that GKE offers."""

from __future__ import annotations

import re
from typing import Any

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._google.errors import ConfigError
from ansible_collections.streamops.knative.plugins.module_utils._google.gke.versions import (
    channels,
    check,
    check_offered,
    number,
)

CONFIG: dict[str, Any] = {
    "validMasterVersions": ["1.36.1-gke.1200", "1.35.4-gke.1400", "1.34.6-gke.1300"],
    "channels": [
        {
            "channel": "REGULAR",
            "defaultVersion": "1.34.6-gke.1300",
            "validVersions": ["1.34.6-gke.1300", "1.35.4-gke.1400", "1.36.1-gke.1200"],
        },
        {
            "channel": "STABLE",
            "defaultVersion": "1.34.6-gke.1300",
            "validVersions": ["1.34.6-gke.1300"],
        },
    ],
}


def test_a_channel_s_default_comes_first_then_the_newest() -> None:
    offered = channels(CONFIG)
    assert offered["REGULAR"] == ["1.34.6-gke.1300", "1.36.1-gke.1200", "1.35.4-gke.1400"]
    assert channels({}) == {}
    assert number("1.9.10") < number("1.10.2") < number("1.10.2-gke.9") < number("1.10.2-gke.10")


@pytest.mark.parametrize("version", ["1.4", "latest", "1.35.x", "v1.35", "-"])
def test_what_is_no_version_is_refused(version: str) -> None:
    (problem,) = check(version)
    assert f"kubernetes_version: '{version}' is not a version of GKE" in problem
    assert "in quotes" in problem, "1.40 is the number 1.4 in YAML"


@pytest.mark.parametrize("version", ["", "1.35", "1.35.4", "1.35.4-gke.1400"])
def test_versions_and_their_beginnings_are_taken(version: str) -> None:
    assert check(version) == []


@pytest.mark.parametrize(
    ("wanted", "current", "channel"),
    [
        ("1.35", "1.34.6-gke.1300", "REGULAR"),
        ("1.35.4-gke.1400", "1.34.6-gke.1300", "REGULAR"),
        ("1.36", "", "REGULAR"),
        ("1.35", "1.34.6-gke.1300", "UNSPECIFIED"),
    ],
)
def test_what_the_channel_has_may_be_next(wanted: str, current: str, channel: str) -> None:
    check_offered(wanted, current, channel, CONFIG)


@pytest.mark.parametrize(
    ("wanted", "current", "channel", "problem"),
    [
        (
            "1.35",
            "1.34.6-gke.1300",
            "STABLE",
            "the release channel STABLE has no 1.35, but 1.34.6-gke.1300: set one of these, or"
            " release_channel to REGULAR, which has 1.35",
        ),
        (
            "1.37",
            "1.36.1-gke.1200",
            "REGULAR",
            "the release channel REGULAR has no 1.37, but 1.34.6",
        ),
        ("1.3", "", "STABLE", "the release channel STABLE has no 1.3,"),
        ("1.37", "1.36.1-gke.1200", "", "GKE has no 1.37, but 1.36.1-gke.1200, 1.35.4-gke.1400"),
        (
            "1.36",
            "1.34.6-gke.1300",
            "REGULAR",
            "at a time: set 1.35 first, run, then go on to 1.36",
        ),
    ],
)
def test_what_cannot_be_next_is_refused(
    wanted: str, current: str, channel: str, problem: str
) -> None:
    with pytest.raises(ConfigError, match=f"kubernetes_version: .*{re.escape(problem)}"):
        check_offered(wanted, current, channel, CONFIG)
