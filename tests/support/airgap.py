"""Bundles of a release of Knative: how tests make and push them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from support.registries import Registry
from support.upstream import Upstream

from ansible_collections.streamops.knative.plugins.module_utils._module.task import Run, Task
from ansible_collections.streamops.knative.plugins.modules import (
    knative_bundle,
    knative_bundle_push,
)

ENVOY = "docker.io/envoyproxy/envoy:v1.37-latest"
QUEUE = "gcr.io/knative-releases/knative.dev/serving/cmd/queue:v1.23.0"
FILES = {
    "knative/serving": ("serving-crds", "serving-core", "serving-post-install-jobs"),
    "knative-extensions/net-kourier": ("kourier",),
}
BOTH = ("linux/amd64", "linux/arm64")


@dataclass
class Ran:
    """What a task returned, and what it told the person who waits."""

    result: dict[str, Any]
    progress: list[str]

    def __getitem__(self, key: str) -> Any:
        return self.result[key]


def run(task: Task, *, check: bool = False, **options: Any) -> Ran:
    """Run a task as Ansible does; raises what it raises."""
    validated = ArgumentSpecValidator(task.options, **task.constraints).validate(options)
    assert not validated.error_messages, validated.error_messages
    told: list[str] = []
    params = validated.validated_parameters
    return Ran(task.work(Run(params, check, progress=told.append)), told)


@dataclass
class Release:
    """Serving with Kourier, and a registry that stands for gcr.io and docker.io."""

    folder: Path
    upstream: Upstream
    references: set[str]
    cache: Path
    #: What was asked of the registry, as "GET /v2/…".
    asked: list[str] = field(default_factory=list)

    def options(self, path: Path, registry: Registry | None = None) -> dict[str, Any]:
        return {
            "path": str(path),
            "components": ["serving", "kourier"],
            "serving_version": "1.23.0",
            "kourier_version": "1.23.0",
            "folder": str(self.folder),
            "registry_mirrors": self.upstream.mirrors(registry),
            "cache_dir": str(self.cache),
            "request_timeout": 60.0,
            "request_retries": 2,
        }

    def collect(
        self, path: Path, registry: Registry | None = None, *, check: bool = False, **options: Any
    ) -> Ran:
        """Make a bundle, through what stands in front of the registry."""
        given = {**self.options(path, registry), **options}
        return run(knative_bundle.TASK, check=check, **given)

    def blobs_fetched(self) -> list[str]:
        return [
            one.rpartition("/")[2]
            for one in self.asked
            if one.startswith("GET") and "/blobs/" in one
        ]


def push(bundle: Path, into: Registry, *, check: bool = False, **options: Any) -> Ran:
    """Push a bundle with the registry's own credentials."""
    user, password = into.credentials if into.docker_config.exists() else ("", "")
    given = {
        "path": str(bundle),
        "registry": f"{into.host}/mirror",
        "username": user or None,
        "password": password or None,
        "cache_dir": str(into.home / "cache"),
        "request_timeout": 60.0,
        "request_retries": 1,
    }
    return run(knative_bundle_push.TASK, check=check, **{**given, **options})
