"""The marker `needs`: tests that need a program are skipped where it is missing."""

from __future__ import annotations

import shutil

import pytest

#: Program -> the Debian package that holds it.
PACKAGES = {
    "buildah": "buildah",
    "chromium": "chromium",
    "docker-registry": "docker-registry",
    "java": "openjdk-17-jre-headless",
    "kubectl": "kubernetes-client",
    "npm": "npm",
    "redis-server": "redis-server",
    "skopeo": "skopeo",
    "wrk": "wrk",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what `needs` a program that is not here, naming the command that gets it."""
    for item in items:
        for marker in item.iter_markers("needs"):
            missing = [tool for tool in marker.args if shutil.which(tool) is None]
            if missing:
                packages = " ".join(sorted({PACKAGES[tool] for tool in missing}))
                reason = f"needs {', '.join(missing)}: apt-get install {packages}"
                item.add_marker(pytest.mark.skip(reason=reason))
