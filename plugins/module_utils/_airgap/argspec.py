"""The releases that a bundle is for, as options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._airgap.errors import BundleError
from ansible_collections.streamops.knative.plugins.module_utils._knative.releases import (
    COMPONENTS,
    PROJECTS,
    Version,
    projects_of,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.argspec import option

RELEASES: dict[str, dict[str, Any]] = {f"{name}_version": option() for name in PROJECTS}


def versions(params: Mapping[str, Any]) -> dict[str, Version]:
    """Return the versions of all projects that components belong to; raises TaskError."""
    chosen = projects_of(name for name in params["components"] if name in COMPONENTS)
    missing = [f"{name}_version" for name in chosen if not params[f"{name}_version"]]
    if missing:
        raise BundleError(f"{', '.join(missing)}: required with the components that were chosen")
    return {
        name: Version.parse(params[f"{name}_version"], f"{name}_version")
        for name in PROJECTS
        if params[f"{name}_version"]
    }
