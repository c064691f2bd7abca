"""What a request's method and path ask for (k8s.io/apiserver/pkg/endpoints/request)."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import unquote

_METHODS = {"POST": "create", "PUT": "update", "PATCH": "patch"}
#: Subresources of a namespace itself; anything else below it is a namespaced resource.
_NAMESPACE_SUBRESOURCES = ("status", "finalize")


@dataclass(slots=True)
class RequestInfo:
    """A parsed path: a resource request, or just a path (`is_resource` is False)."""

    path: str
    verb: str
    is_resource: bool = False
    group: str = ""
    version: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    #: What follows a `proxy` subresource, with its leading slash.
    rest: str = ""


def flag(value: str | None) -> bool:
    """A boolean of a query string: anything but `false` and `0` is true, once it is there."""
    return value is not None and value.lower() not in ("false", "0")


def parse(method: str, raw_path: str, *, watch: bool) -> RequestInfo:
    """Take a path apart; `raw_path` is still percent-encoded."""
    path = unquote(raw_path)
    info = RequestInfo(path, method.lower())
    parts = [unquote(part) for part in raw_path.strip("/").split("/")]
    if parts[0] == "api" and len(parts) > 2:
        info.version, parts = parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        info.group, info.version, parts = parts[1], parts[2], parts[3:]
    else:
        return info
    info.is_resource = True
    legacy = parts[0] == "watch" and len(parts) > 1  # the way to watch of the API's first years
    parts = parts[legacy:]
    if parts[0] == "namespaces" and len(parts) > 1:
        info.namespace = parts[1]
        if len(parts) > 2 and parts[2] not in _NAMESPACE_SUBRESOURCES:
            parts = parts[2:]
    info.plural, info.name, info.subresource = [*parts, "", ""][:3]
    if method in ("GET", "HEAD"):
        listed = "watch" if watch or legacy else "list"
        info.verb = "get" if info.name and not legacy else listed
    elif method == "DELETE":
        info.verb = "delete" if info.name else "deletecollection"
    else:
        info.verb = _METHODS.get(method, method.lower())
    if info.subresource == "proxy":
        info.rest = raw_path.partition("/proxy")[2] or "/"
    return info
