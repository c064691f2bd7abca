"""The two applications' images built both ways: by the module, and by buildah from the Containerfile."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path
from typing import Any

from support.buildah import Buildah
from support.registries import Registry

from ansible_collections.streamops.knative.plugins.module_utils._oci.image_run import run
from ansible_collections.streamops.knative.plugins.module_utils._oci.platform import Platform
from ansible_collections.streamops.knative.plugins.module_utils._oci.requirements import (
    read_requirements,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.wheels import (
    Target,
    fetch_wheels,
)
from ansible_collections.streamops.knative.plugins.modules.oci_image import TASK
from streamops_sandbox.oci import architecture

ROOT = Path(__file__).resolve().parents[2]
MODULES = {"event-viewer": "event_viewer", "twitter-producer": "twitter_producer"}


class Workshop:
    """A registry, buildah with a base image that both ways start from, and copies of the apps."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.folder = folder
        self.registry = registry
        self.apps = folder / "apps"
        self._fetched: set[str] = set()
        for app in MODULES:
            skip = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / "apps" / app, self.apps / app, ignore=skip)
        self.buildah = Buildah(folder / "buildah", docker_config=registry.docker_config)
        self.base = f"{registry.host}/library/python:local"
        self.buildah.python_base(self.base)

    def task(self, app: str) -> dict[str, Any]:
        """Return the module's options for an application."""
        return {
            "name": f"{self.registry.host}/module/{app}",
            "path": str(self.apps / app),
            "base": self.base,
            "entrypoint": ["python3", "-m", MODULES[app]],
            "ports": ["8080"],
            "docker_config": str(self.registry.docker_config),
            "cache": str(self.folder / "cache"),
        }

    def by_module(self, app: str) -> dict[str, Any]:
        """Build and push as the module does; returns what it returns."""
        defaults = {name: spec.get("default") for name, spec in TASK.options.items()}
        return run({**defaults, **self.task(app)}, check=False, diff=False)

    def by_containerfile(self, app: str) -> str:
        """Build and push with buildah; returns the image by tag."""
        tag = f"{self.registry.host}/containerfile/{app}:latest"
        self.buildah.build(self.apps / app, tag, self.base, self.wheels(app))
        self.buildah.push(tag)
        return tag

    def wheels(self, app: str) -> Path:
        """Download an application's wheels once, with the settings of pip that a RUN does not have."""
        folder = self.folder / "wheels"
        if app not in self._fetched:
            self._fetched.add(app)
            folder.mkdir(exist_ok=True)
            version = platform.python_version()
            chosen = Platform("linux", architecture())
            markers = chosen.markers(version)
            files = self.apps / app
            lines = read_requirements([files / "requirements.txt"], "requirements", markers)
            limits = read_requirements([files / "constraints.txt"], "constraints", markers)
            target = Target(version, tuple(chosen.wheel_tags()), markers)
            fetch_wheels(lines, limits, target, folder, 120)
        return folder
