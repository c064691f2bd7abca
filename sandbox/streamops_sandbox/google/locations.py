"""Where Google Cloud is (https://cloud.google.com/about/locations)."""

from __future__ import annotations

import re

from .errors import GoogleError

REGIONS = frozenset(
    {
        "africa-south1",
        "asia-east1",
        "asia-east2",
        "asia-northeast1",
        "asia-northeast2",
        "asia-northeast3",
        "asia-south1",
        "asia-south2",
        "asia-southeast1",
        "asia-southeast2",
        "australia-southeast1",
        "australia-southeast2",
        "europe-central2",
        "europe-north1",
        "europe-north2",
        "europe-southwest1",
        "europe-west1",
        "europe-west10",
        "europe-west12",
        "europe-west2",
        "europe-west3",
        "europe-west4",
        "europe-west6",
        "europe-west8",
        "europe-west9",
        "me-central1",
        "me-central2",
        "me-west1",
        "northamerica-northeast1",
        "northamerica-northeast2",
        "northamerica-south1",
        "southamerica-east1",
        "southamerica-west1",
        "us-central1",
        "us-east1",
        "us-east4",
        "us-east5",
        "us-south1",
        "us-west1",
        "us-west2",
        "us-west3",
        "us-west4",
    }
)
_ZONE = re.compile(r"(?P<region>[a-z]+-[a-z]+\d+)-[a-f]")


def is_region(location: str) -> bool:
    """Whether this is a region, rather than a zone."""
    return location in REGIONS


def require_location(location: str) -> str:
    """The location, which has to be a region or a zone of one."""
    found = _ZONE.fullmatch(location)
    if location not in REGIONS and not (found and found["region"] in REGIONS):
        raise GoogleError(
            "PERMISSION_DENIED",
            f"Permission denied on 'locations/{location}' (or it may not exist).",
        )
    return location
