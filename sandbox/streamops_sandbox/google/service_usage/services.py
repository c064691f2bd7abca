"""Service Usage v1 (https://cloud.google.com/service-usage/docs/reference/rest/v1/services)."""

from __future__ import annotations

from pathlib import Path

import yaml

from streamops_sandbox.google.errors import GoogleError, error_info, invalid_argument, not_modelled
from streamops_sandbox.google.operations import Operations, Work
from streamops_sandbox.google.projects import ALWAYS_ENABLED, Project
from streamops_sandbox.google.service import Call, serves
from streamops_sandbox.objects import Object

_SERVICES = yaml.safe_load((Path(__file__).parent / "services.yaml").read_text(encoding="utf-8"))
#: Services that can be enabled -> their titles.
TITLES: dict[str, str] = _SERVICES["titles"]
#: What a service brings with it, and what therefore cannot be disabled while it is enabled.
DEPENDENCIES: dict[str, list[str]] = _SERVICES["dependencies"]
MAX_ENABLED_AT_ONCE = 20
MAX_READ_AT_ONCE = 30


class ServiceUsage:
    """Which services the projects use."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    @serves("serviceusage.services.get")
    async def _get(self, call: Call) -> Object:
        project = call.admit("serviceusage.services.get")
        return _shown(project, _known(call.parts[3]))

    @serves("serviceusage.services.batchGet")
    async def _batch_get(self, call: Call) -> Object:
        project = call.admit("serviceusage.services.get")
        names = call.query.get("names", [])
        if not names or len(names) > MAX_READ_AT_ONCE:
            raise invalid_argument(f"names: 1 to {MAX_READ_AT_ONCE} are allowed.")
        shown = []
        for name in names:
            parts = name.split("/")
            if len(parts) != 4 or call.state.find_project(parts[1]) is not project:
                raise invalid_argument(f"Invalid service name: {name}")
            shown.append(_shown(project, _known(parts[3])))
        return {"services": shown}

    @serves("serviceusage.services.list")
    async def _list_all(self, call: Call) -> Object:
        project = call.admit("serviceusage.services.list")
        wanted = call.query.get("filter", "")
        if wanted not in ("", "state:ENABLED", "state:DISABLED"):
            raise not_modelled(f"the filter {wanted!r}, only state:…")
        services = [_shown(project, name) for name in sorted(TITLES)]
        found = [s for s in services if not wanted or s["state"] == wanted[6:]]
        return call.page("services", found, 50)

    @serves("serviceusage.services.batchEnable")
    async def _batch_enable(self, call: Call) -> Object:
        """Enable up to 20 services, all or none."""
        project = call.admit("serviceusage.services.enable")
        names = call.body.get("serviceIds", [])
        if not names or len(names) > MAX_ENABLED_AT_ONCE:
            raise invalid_argument(
                f"Request must specify 1 to {MAX_ENABLED_AT_ONCE} services to enable."
            )
        wanted = {_known(name) for name in names}
        for name in list(wanted):
            wanted.update(DEPENDENCIES.get(name, ()))

        async def work() -> Object:
            project.services |= wanted
            return {"services": [_shown(project, name) for name in names]}

        return self._start(call, work)

    @serves("serviceusage.services.disable")
    async def _disable(self, call: Call) -> Object:
        """Disable one service, with those that need it only where asked to."""
        project = call.admit("serviceusage.services.disable")
        name = _known(call.parts[3])
        dependent = {d for d in project.services if name in DEPENDENCIES.get(d, ())}
        if dependent and not call.body.get("disableDependentServices"):
            raise GoogleError(
                "FAILED_PRECONDITION",
                f"The service {name} is depended on by the following active service(s):"
                f" {', '.join(sorted(dependent))}. Please specify disable_dependent_services=true if"
                " you want to proceed with disabling all services.",
            )

        async def work() -> Object:
            project.services -= {name, *dependent}
            return {"service": _shown(project, name)}

        return self._start(call, work)

    def _start(self, call: Call, work: Work) -> Object:
        return self._operations.start("operations", call.method, call.resource, work).standard()


def _known(name: str) -> str:
    if name not in TITLES:
        raise GoogleError(
            "NOT_FOUND",
            f"Not found or permission denied for service(s): {name}.",
            [error_info("SERVICE_CONFIG_NOT_FOUND_OR_PERMISSION_DENIED", services=name)],
        )
    return name


def _shown(project: Project, name: str) -> Object:
    enabled = name in project.services or name in ALWAYS_ENABLED
    return {
        "name": f"projects/{project.number}/services/{name}",
        "parent": f"projects/{project.number}",
        "config": {"name": name, "title": TITLES[name]},
        "state": "ENABLED" if enabled else "DISABLED",
    }
