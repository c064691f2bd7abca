"""Knative's releases: which files make up which component, where they are, what they ask for.

Names and layout are those of https://github.com/knative/serving/releases and its sisters; the
minimum versions of Kubernetes are those of
https://github.com/knative/community/blob/main/mechanics/RELEASE-SCHEDULE.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._kubernetes.download import Download
from .._kubernetes.errors import KubeError
from .._module.options import Spec

UPSTREAM = "https://github.com"
_VERSION = re.compile(r"^(?:knative-)?v?(\d+)\.(\d+)\.(\d+)$")
_LABEL = re.compile(r"^\s+app\.kubernetes\.io/version:\s*[\"']?(\d+\.\d+\.\d+)[\"']?\s*$", re.M)


@dataclass(frozen=True, order=True)
class Version:
    """A release, as 1.23.0."""

    major: int
    minor: int
    patch: int

    @classmethod
    def parse(cls, text: str, option: str) -> Version:
        """Read "1.23.0", "v1.23.0" or "knative-v1.23.0"; KubeError names the option."""
        match = _VERSION.match(text.strip())
        if not match:
            raise KubeError(f"{option}: '{text}' is not a version of Knative: write it as 1.23.0")
        return cls(*map(int, match.groups()))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}.{self.patch}"

    @property
    def line(self) -> str:
        """The minor release it belongs to, as 1.23."""
        return f"{self.major}.{self.minor}"


@dataclass(frozen=True)
class Component:
    """A component of Knative, with the version of its `project`."""

    name: str
    project: str
    files: tuple[str, ...]
    needs: tuple[str, ...] = ()
    #: Of an ingress, the class that services have to have for it.
    ingress_class: str = ""


@dataclass(frozen=True)
class Project:
    """What is released together.

    Its Deployments are those whose names begin with `deployments`; without that, those that are left in its
    namespace.
    """

    name: str
    repository: str
    namespace: str
    post_install: str = ""
    deployments: tuple[str, ...] = ()

    @property
    def is_core(self) -> bool:
        """Whether it is Serving or Eventing, which the others extend."""
        return not self.deployments


PROJECTS = {
    project.name: project
    for project in (
        Project("serving", "knative/serving", "knative-serving", "serving-post-install-jobs.yaml"),
        Project(
            "kourier",
            "knative-extensions/net-kourier",
            "kourier-system",
            deployments=("net-kourier-", "3scale-kourier-"),
        ),
        Project(
            "net_gateway_api",
            "knative-extensions/net-gateway-api",
            "knative-serving",
            deployments=("net-gateway-api-",),
        ),
        Project(
            "net_istio",
            "knative-extensions/net-istio",
            "knative-serving",
            deployments=("net-istio-",),
        ),
        Project("eventing", "knative/eventing", "knative-eventing", "eventing-post-install.yaml"),
        Project(
            "kafka_broker",
            "knative-extensions/eventing-kafka-broker",
            "knative-eventing",
            "eventing-kafka-post-install.yaml",
            deployments=("kafka-",),
        ),
        Project(
            "rabbitmq_broker",
            "knative-extensions/eventing-rabbitmq",
            "knative-eventing",
            deployments=("rabbitmq-",),
        ),
    )
}
COMPONENTS = {
    component.name: component
    for component in (
        Component("serving", "serving", ("serving-crds.yaml", "serving-core.yaml")),
        Component(
            "kourier",
            "kourier",
            ("kourier.yaml",),
            needs=("serving",),
            ingress_class="kourier.ingress.networking.knative.dev",
        ),
        Component(
            "net-gateway-api",
            "net_gateway_api",
            ("net-gateway-api.yaml",),
            needs=("serving",),
            ingress_class="gateway-api.ingress.networking.knative.dev",
        ),
        Component(
            "net-istio",
            "net_istio",
            ("net-istio.yaml",),
            needs=("serving",),
            ingress_class="istio.ingress.networking.knative.dev",
        ),
        Component("hpa", "serving", ("serving-hpa.yaml",), needs=("serving",)),
        Component("eventing", "eventing", ("eventing-crds.yaml", "eventing-core.yaml")),
        Component(
            "in-memory-channel", "eventing", ("in-memory-channel.yaml",), needs=("eventing",)
        ),
        Component(
            "mt-channel-broker", "eventing", ("mt-channel-broker.yaml",), needs=("eventing",)
        ),
        Component(
            "kafka-controller",
            "kafka_broker",
            ("eventing-kafka-controller.yaml",),
            needs=("eventing",),
        ),
        *(
            Component(
                f"kafka-{part}",
                "kafka_broker",
                (f"eventing-kafka-{part}.yaml",),
                needs=("kafka-controller",),
            )
            for part in ("broker", "channel", "sink", "source")
        ),
        Component(
            "rabbitmq-broker", "rabbitmq_broker", ("rabbitmq-broker.yaml",), needs=("eventing",)
        ),
    )
}
#: Options of the modules that read releases, as the doc fragment `streamops.knative.releases` describes them.
VERSIONS: Spec = {f"{name}_version": {"type": "str"} for name in PROJECTS}
SOURCE: Spec = {
    "mirror": {"type": "str", "default": UPSTREAM},
    "folder": {"type": "path"},
    "checksums": {"type": "dict", "default": {}},
}
#: Components of which an installation has at most one, by the class that services have to have for it.
INGRESSES = {
    component.ingress_class: component.name
    for component in COMPONENTS.values()
    if component.ingress_class
}
#: Minor release of Kubernetes 1.x that each minor release of Knative 1.x needs at least.
_KUBERNETES = {
    **{15: 28, 16: 29, 17: 30, 18: 31, 19: 32, 20: 32},
    **{21: 33, 22: 34, 23: 34, 24: 35},
}


def minimum_kubernetes(version: Version) -> tuple[int, int] | None:
    """Return the oldest Kubernetes (major, minor) that a release runs on, or None where it is unknown."""
    minor = _KUBERNETES.get(version.minor) if version.major == 1 else None
    return None if minor is None else (1, minor)


@dataclass(frozen=True)
class Files:
    """Where a set of release files is: some paths, or some downloads."""

    paths: list[str]
    urls: list[Download]


def check_components(names: Iterable[str]) -> list[str]:
    """Return what is wrong with a choice of components."""
    chosen = list(names)
    problems = [
        f"components: '{name}' is unknown; there are {', '.join(COMPONENTS)}"
        for name in chosen
        if name not in COMPONENTS
    ]
    for name in chosen:
        for need in COMPONENTS[name].needs if name in COMPONENTS else ():
            if need not in chosen:
                problems.append(f"components: '{name}' needs '{need}': add it, or leave both out")
    ingresses = [name for name in chosen if name in INGRESSES.values()]
    if len(ingresses) > 1:
        problems.append(
            f"components: {' and '.join(ingresses)} are ingresses, and Knative routes services by one:"
            " keep one of them"
        )
    return problems


def is_upstream(mirror: str) -> bool:
    """Return whether a mirror is where upstream publishes its releases."""
    return mirror.rstrip("/") == UPSTREAM


def ingress_of(components: Iterable[str]) -> str:
    """Return the component by which services are reached; empty where there is none."""
    return next((name for name in components if name in INGRESSES.values()), "")


def project_of_deployment(namespace: str, name: str) -> str:
    """Return the project that a Deployment in one of Knative's namespaces belongs to."""
    named = [project for project in PROJECTS.values() if name.startswith(project.deployments)]
    there = [project for project in PROJECTS.values() if project.namespace == namespace]
    return [*named, *there][0].name


def versions(params: Mapping[str, Any]) -> dict[str, Version]:
    """Return the versions that a module's options give by project; KubeError where one is missing or malformed."""
    chosen = projects_of(name for name in params["components"] if name in COMPONENTS)
    missing = [f"{name}_version" for name in chosen if not params[f"{name}_version"]]
    if missing:
        raise KubeError(f"{', '.join(missing)}: required with the components that were chosen")
    return {
        name: Version.parse(params[f"{name}_version"], f"{name}_version")
        for name in PROJECTS
        if params[f"{name}_version"]
    }


def projects_of(components: Iterable[str]) -> list[str]:
    """Return the projects that components belong to."""
    chosen = {COMPONENTS[name].project for name in components}
    return [name for name in PROJECTS if name in chosen]


def _files(components: Iterable[str]) -> list[tuple[str, str]]:
    chosen = set(components)
    return [
        (COMPONENTS[name].project, file)
        for name in COMPONENTS
        if name in chosen
        for file in COMPONENTS[name].files
    ]


class Source:
    """Upstream, a mirror of it, or a folder."""

    def __init__(
        self, mirror: str = UPSTREAM, folder: str = "", checksums: dict[str, str] | None = None
    ) -> None:
        self._mirror = mirror.rstrip("/")
        self._folder = Path(folder).expanduser() if folder else None
        self._checksums = checksums or {}

    def files(self, components: Iterable[str], versions: dict[str, Version]) -> Files:
        """Release files of components; raises KubeError for what a folder does not have."""
        return self.locate(_files(components), versions)

    def post_install(self, projects: Iterable[str], versions: dict[str, Version]) -> Files:
        """Return files with the Jobs to run after an upgrade of these projects."""
        return self.locate(self._post_install(projects), versions)

    def release_files(self, components: Iterable[str]) -> list[tuple[str, str]]:
        """Return project and name of every file that installing and upgrading the components takes."""
        chosen = list(components)
        return [*_files(chosen), *self._post_install(projects_of(chosen))]

    def _post_install(self, projects: Iterable[str]) -> list[tuple[str, str]]:
        wanted = [
            (name, PROJECTS[name].post_install) for name in projects if PROJECTS[name].post_install
        ]
        if self._folder:
            # A folder made for installing may well do without them.
            wanted = [entry for entry in wanted if (self._folder / entry[1]).is_file()]
        return wanted

    def locate(self, wanted: Iterable[tuple[str, str]], versions: Mapping[str, Version]) -> Files:
        """Return where files (project and name) are; raise KubeError for what a folder does not have."""
        if self._folder:
            paths = [self._folder / file for _project, file in wanted]
            missing = [path.name for path in paths if not path.is_file()]
            if missing:
                raise KubeError(
                    f"folder: {self._folder} has no {', '.join(missing)}: put the release files"
                    " there under upstream's names, or choose fewer components"
                )
            return Files([str(path) for path in paths], [])
        return Files([], [self._url(project, file, versions) for project, file in wanted])

    def _url(self, project: str, file: str, versions: Mapping[str, Version]) -> Download:
        path = f"{PROJECTS[project].repository}/releases/download/knative-v{versions[project]}"
        checksum = self._checksums.get(f"{project}-{versions[project]}/{file}", "")
        return Download(f"{self._mirror}/{path}/{file}", checksum)

    def contradiction(self, project: str, version: Version) -> str:
        """Return why a folder cannot give this version; empty when it can, or when it does not tell."""
        file = {"serving": "serving-core.yaml", "eventing": "eventing-core.yaml"}.get(project)
        if not self._folder or not file or not (self._folder / file).is_file():
            return ""
        found = set(_LABEL.findall((self._folder / file).read_text(encoding="utf-8")))
        if not found or str(version) in found:
            return ""
        return (
            f"{project}_version: {self._folder / file} is release {', '.join(sorted(found))}, not"
            f" {version}: set the version to what the folder holds"
        )
