"""The sandbox's own release of Knative: files of the shape, names and addresses of upstream's.

They install the sandbox's programs (see `streamops_sandbox.knative.programs`) and nothing else: custom kinds
without detailed schemas, roles with what the programs need, no waiting before the first probe.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from streamops_sandbox.request_guard import guard

_FOLDER = Path(__file__).parent
#: Repository -> the versions it has and the files of each.
REPOSITORIES: dict[str, tuple[list[str], list[str]]] = yaml.safe_load(
    (_FOLDER / "repositories.yaml").read_text(encoding="utf-8")
)
_VERSION = re.compile(r"^\s+app\.kubernetes\.io/version:\s*[\"']?(\d+\.\d+\.\d+)[\"']?\s*$", re.M)
#: The folder with upstream's release files, where clusters run upstream's programs.
_UPSTREAM = web.AppKey("upstream", Path)


def create_app(*, home: Path, base_url: str, upstream: Path | None = None) -> web.Application:
    """Return the web application that serves the releases as github.com does.

    `home` and `base_url` are what every part of the sandbox gets; this one needs neither. `upstream`
    holds files of the newest releases that are served in place of the sandbox's own.
    """
    app = web.Application(middlewares=[guard()])
    if upstream is not None:
        app[_UPSTREAM] = upstream
    path = "/{owner}/{repository}/releases/download/knative-v{version}/{name}.yaml"
    app.router.add_get(path, _download)
    app.router.add_get("/healthz", _health)
    return app


def render(repository: str, version: str, name: str) -> str | None:
    """Return a release file (`name` without `.yaml`), or None where there is none."""
    versions, files = REPOSITORIES.get(repository, ([], []))
    if version not in versions or name not in files:
        return None
    if name.endswith("-crds"):
        return _crds(name.removesuffix("-crds"), version)
    return (_FOLDER / f"{name}.yaml").read_text(encoding="utf-8").replace("${version}", version)


def newest(upstream: Path | None = None) -> dict[str, str]:
    """Return the newest release of each project that is served, by its name (`serving`, `eventing`).

    `upstream` is the folder with upstream's files, whose labels say which release they are.
    """
    found = {}
    for project in ("serving", "eventing"):
        found[project] = REPOSITORIES[f"knative/{project}"][0][-1]
        core = upstream / f"{project}-core.yaml" if upstream else None
        if core and core.is_file():
            label = _VERSION.search(core.read_text(encoding="utf-8"))
            found[project] = label[1] if label else found[project]
    return found


async def _health(_request: web.Request) -> web.Response:
    return web.Response(text="ok\n")


async def _download(request: web.Request) -> web.Response:
    info = request.match_info
    repository, version = f"{info['owner']}/{info['repository']}", info["version"]
    text = render(repository, version, info["name"])
    upstream = request.app.get(_UPSTREAM)
    if text is not None and upstream is not None:
        text = _upstream(upstream, repository, version, info["name"], text)
    if text is None:
        found = ", ".join(REPOSITORIES.get(repository, ([], []))[0]) or "none"
        reason = f"no {info['name']}.yaml of {repository} {version}; versions here: {found}\n"
        return web.Response(status=404, text=reason)
    return web.Response(text=text, content_type="application/yaml")


def _upstream(folder: Path, repository: str, version: str, name: str, own: str) -> str | None:
    """Return upstream's file, ours where it has none (`own`: migrations), or None for old versions."""
    project = repository.rpartition("/")[2]
    if version != newest(folder).get(project, REPOSITORIES[repository][0][-1]):
        return None
    file = folder / f"{name}.yaml"
    return file.read_text(encoding="utf-8") if file.is_file() else own


def kinds(product: str) -> list[dict[str, Any]]:
    """Return the custom kinds of a product, as crds.yaml describes them."""
    described = yaml.safe_load((_FOLDER / "crds.yaml").read_text(encoding="utf-8"))
    found: list[dict[str, Any]] = described[product]
    return found


def _crds(product: str, version: str) -> str:
    documents = [_crd(f"knative-{product}", version, kind) for kind in kinds(product)]
    return "---\n".join(yaml.safe_dump(document, sort_keys=False) for document in documents)


def _crd(product: str, version: str, kind: dict[str, Any]) -> dict[str, Any]:
    """Return the CustomResourceDefinition of an entry of crds.yaml."""
    open_object = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": open_object, "status": open_object}}
    columns = [{"type": "string", "priority": 0, **column} for column in kind.get("columns", [])]
    ready = '.status.conditions[?(@.type=="Ready")]'
    columns += [
        {"name": "Ready", "type": "string", "jsonPath": f"{ready}.status"},
        {"name": "Reason", "type": "string", "jsonPath": f"{ready}.reason"},
    ]
    served = [
        {
            "name": name,
            "served": True,
            "storage": name == kind["versions"][0],
            "subresources": {"status": {}},
            "schema": {"openAPIV3Schema": schema},
            "additionalPrinterColumns": columns,
        }
        for name in kind["versions"]
    ]
    names = {"kind": kind["kind"], "plural": kind["plural"], "singular": kind["kind"].lower()}
    labels = {
        "app.kubernetes.io/name": product,
        "app.kubernetes.io/version": version,
        **kind.get("labels", {}),
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind['plural']}.{kind['group']}", "labels": labels},
        "spec": {
            "group": kind["group"],
            "names": {**names, **kind.get("names", {})},
            "scope": kind.get("scope", "Namespaced"),
            "versions": served,
        },
    }
