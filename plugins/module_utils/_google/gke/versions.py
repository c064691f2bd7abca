"""Versions of Kubernetes: what the channels of GKE offer, and what an upgrade may be.

https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations/getServerConfig
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import ConfigError

Json = dict[str, Any]
DEFAULT_CHANNEL = "REGULAR"
#: Two digits at least: 1.40 without quotes is the number 1.4 in YAML.
_VERSION = re.compile(r"\d+\.\d{2,}(\.\d+(-gke\.\d+)?)?")


def number(version: str) -> tuple[int, ...]:
    """Return a version, such as 1.35.4-gke.1400 or v1.35, for comparing; empty for none."""
    return tuple(map(int, re.findall(r"\d+", version)))


def channels(config: Json) -> dict[str, list[str]]:
    """Return what each channel offers, its default first, from the answer of getServerConfig."""
    offered = {}
    for entry in config.get("channels") or []:
        valid = sorted(entry.get("validVersions") or [], key=number, reverse=True)
        default = entry.get("defaultVersion")
        first = [default] if default else []
        offered[entry["channel"]] = [*first, *(text for text in valid if text not in first)]
    return offered


def fitting(offered: Mapping[str, list[str]], fits: Callable[[str], bool]) -> dict[str, list[str]]:
    """Return the versions that fit, by the channels that offer some."""
    found = {channel: list(filter(fits, listed)) for channel, listed in offered.items()}
    return {channel: listed for channel, listed in found.items() if listed}


def check(wanted: str) -> list[str]:
    """Return what is wrong with a version that an option names; nothing where it names none."""
    if not wanted or _VERSION.fullmatch(wanted):
        return []
    return [
        f"kubernetes_version: '{wanted}' is not a version of GKE: write it as '1.35', in quotes, or as"
        " 1.35.4-gke.1400"
    ]


def check_offered(wanted: str, current: str, channel: str, config: Json) -> None:
    """Raise ConfigError where a control plane cannot be created with, or upgraded to, a version.

    Args:
        wanted: A version, or the beginning of one, such as 1.35.
        current: The control plane's; empty for one that is yet to be created.
        channel: Its release channel; empty or UNSPECIFIED for none.
        config: The answer of getServerConfig.
    """
    offered = channels(config)
    here = offered.get(channel) or config.get("validMasterVersions") or []
    place = f"the release channel {channel}" if channel in offered else "GKE"
    if not any(_is(version, wanted) for version in here):
        others = fitting(offered, lambda version: _is(version, wanted))
        instead = (
            f", or release_channel to {' or '.join(others)}, which has {wanted}" if others else ""
        )
        raise ConfigError(
            f"kubernetes_version: {place} has no {wanted}, but {', '.join(here)}: set one of these{instead}"
        )
    now, then = number(current)[:2], number(wanted)[:2]
    if now and then > (now[0], now[1] + 1):
        raise ConfigError(
            f"kubernetes_version: the control plane has {current}, and GKE upgrades one minor release at a"
            f" time: set {now[0]}.{now[1] + 1} first, run, then go on to {wanted}"
        )


def _is(version: str, wanted: str) -> bool:
    """Return whether a version is the one wanted, or begins with it."""
    parts = number(wanted)
    return number(version)[: len(parts)] == parts
