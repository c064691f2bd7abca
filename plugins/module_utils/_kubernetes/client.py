"""A thin Kubernetes client: discovery once a run, then one request per call.

Works on plain dictionaries as the API server sends them. Paths and parameters follow
https://kubernetes.io/docs/reference/using-api/api-concepts/.
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import ApiError, KubeError
from .transport import Transport

APPLY_PATCH = "application/apply-patch+yaml"  # JSON is YAML
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
DISCOVERY = (
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,"
    "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
)
PAGE = 500
FORBIDDEN, GONE = 403, 410
RESTARTS = 3  # of a list whose pages expired

Object = dict[str, Any]
Found = TypeVar("Found")
Objects = list[Object]  # in Client, `list` is a method


@dataclass(frozen=True)
class Resource:
    """One kind as the API server serves it."""

    api_version: str
    kind: str
    plural: str
    namespaced: bool
    verbs: frozenset[str] = frozenset()

    @property
    def group(self) -> str:
        """API group; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    def path(self, namespace: str | None = None, name: str | None = None) -> str:
        """Return the path below the server's root."""
        root = "/apis/" if self.group else "/api/"
        scope = f"/namespaces/{namespace}" if self.namespaced and namespace else ""
        return f"{root}{self.api_version}{scope}/{self.plural}" + (f"/{name}" if name else "")


class UnknownKind(KubeError):
    """The API server serves no such kind."""

    def __init__(self, api_version: str, kind: str, close: list[str]) -> None:
        self.api_version = api_version
        self.kind = kind
        advice = (
            f"Did you mean {' or '.join(close)}?"
            if close
            else "If a CustomResourceDefinition brings it, apply that first or in the same bundle."
        )
        super().__init__(
            f"the API server knows no kind '{kind}' in apiVersion '{api_version}'. {advice}"
        )


def permitted(look: Callable[[], Found], otherwise: Found) -> Found:
    """Return what `look` finds, or `otherwise` where the caller may not look (HTTP 403)."""
    try:
        return look()
    except ApiError as error:
        if error.status == FORBIDDEN:
            return otherwise
        raise


def look_up(
    client: Client, api_version: str, kind: str, name: str, namespace: str | None = None
) -> Object | None:
    """Return an object, None where there is none, or an empty one where the caller may not look."""
    unknown: Object | None = {}
    return permitted(
        lambda: client.get(client.resource(api_version, kind), name, namespace), unknown
    )


def may(client: Client, group: str, resource: str, verb: str, namespace: str = "") -> bool:
    """Return whether the caller may do something; a `resource` is for example "pods" or "pods/log"."""
    resource, _slash, part = resource.partition("/")
    asked = {"group": group, "resource": resource, "subresource": part, "verb": verb}
    kind = client.resource("authorization.k8s.io/v1", "SelfSubjectAccessReview")
    review = {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "spec": {"resourceAttributes": {**asked, "namespace": namespace}},
    }
    return bool((client.create(kind, review).get("status") or {}).get("allowed"))


class Client:
    """Reads and writes objects of one cluster; safe to use from several threads."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._resources: dict[tuple[str, str], Resource] | None = None
        self._lock = threading.Lock()

    # -- discovery -------------------------------------------------------------------------

    def resource(self, api_version: str, kind: str) -> Resource:
        """Look a kind up; raise UnknownKind, with close names, when it is not served."""
        found = self.resources().get((api_version, kind))
        if found is None:
            raise UnknownKind(api_version, kind, close_kinds(self.resources(), api_version, kind))
        return found

    def resources(self) -> dict[tuple[str, str], Resource]:
        """Return everything served, by (apiVersion, kind); asked for once until `forget()`."""
        with self._lock:
            if self._resources is None:
                self._resources = {}
                for root in ("/api", "/apis"):
                    self._discover(root, self._resources)
            return self._resources

    def forget(self) -> None:
        """Ask again next time: a CustomResourceDefinition was added or removed."""
        with self._lock:
            self._resources = None

    def _discover(self, root: str, into: dict[tuple[str, str], Resource]) -> None:
        answer = self.transport.request("GET", root, accept=DISCOVERY)
        if answer.get("kind") == "APIGroupDiscoveryList":
            for group in answer.get("items") or []:
                for version in group.get("versions") or []:
                    _aggregated(group["metadata"].get("name", ""), version, into)
            return
        # Servers before 1.27 list the groups only.
        if root == "/api":
            paths = [f"/api/{version}" for version in answer["versions"]]
        else:
            paths = [
                f"/apis/{version['groupVersion']}"
                for group in answer["groups"]
                for version in group["versions"]
            ]
        for path in paths:
            listing = self.transport.request("GET", path)
            for item in listing.get("resources") or []:
                if "/" not in item["name"]:
                    api_version = listing["groupVersion"]
                    into[api_version, item["kind"]] = Resource(
                        api_version,
                        item["kind"],
                        item["name"],
                        item["namespaced"],
                        frozenset(item["verbs"]),
                    )

    # -- reading ---------------------------------------------------------------------------

    def version(self) -> dict[str, str]:
        """Return the answer of /version; `gitVersion` is like "v1.34.1-gke.100"."""
        answer: dict[str, str] = self.transport.request("GET", "/version")
        return answer

    def get(self, resource: Resource, name: str, namespace: str | None = None) -> Object | None:
        """Return one object, or None when it (or its kind) is not there."""
        try:
            found: Object = self.transport.request("GET", resource.path(namespace, name))
        except ApiError as error:
            if error.not_found:
                return None
            raise
        return found

    def list(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> list[Object]:
        """Return all objects of a kind (in a namespace), in as many pages as the server makes of it."""
        return self.snapshot(
            resource, namespace, label_selector=label_selector, field_selector=field_selector
        )[0]

    def snapshot(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
    ) -> tuple[Objects, str]:
        """Return what `list` returns, with the resourceVersion from which a watch goes on."""
        query: dict[str, Any] = {"limit": PAGE, **_selectors(label_selector, field_selector)}
        items: Objects = []
        restarts = RESTARTS
        while True:
            try:
                page = self.transport.request("GET", resource.path(namespace), query=query)
            except ApiError as error:
                if error.status != GONE or "continue" not in query or not restarts:
                    raise
                # The pages are a snapshot, which etcd has compacted meanwhile: begin again.
                restarts -= 1
                del query["continue"]
                items.clear()
                continue
            for item in page.get("items") or []:
                # Items of a list carry neither; callers want what a GET would give.
                item.setdefault("apiVersion", resource.api_version)
                item.setdefault("kind", resource.kind)
                items.append(item)
            token = (page.get("metadata") or {}).get("continue")
            if not token:
                return items, page["metadata"]["resourceVersion"]
            query["continue"] = token

    def watch(
        self,
        resource: Resource,
        resource_version: str,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        seconds: int = 60,
    ) -> Iterator[Object]:
        """Yield `{"type", "object"}` of what changes after a resourceVersion, bookmarks among it.

        Ends after so many seconds; the transport's timeout has to be longer. Raises ApiError, with
        status 410 where the version is too old to go on from.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": resource_version,
            "timeoutSeconds": seconds,
            **_selectors(label_selector, field_selector),
        }
        path = resource.path(namespace)
        for event in self.transport.lines(path, query=query):
            if event["type"] == "ERROR":
                status = event["object"]
                raise ApiError(status.get("code") or 500, status, f"GET {path}?watch=true")
            yield event

    # -- writing ---------------------------------------------------------------------------

    def apply(
        self,
        resource: Resource,
        definition: Object,
        *,
        field_manager: str,
        force: bool = False,
        dry_run: bool = False,
        field_validation: str = "Strict",
    ) -> Object:
        """Apply on the server; return the object as it is (or, on a dry run, would be) stored."""
        meta = definition["metadata"]
        query = {"fieldManager": field_manager, "fieldValidation": field_validation}
        if force:
            query["force"] = "true"
        if dry_run:
            query["dryRun"] = "All"
        applied: Object = self.transport.request(
            "PATCH",
            resource.path(meta.get("namespace"), meta["name"]),
            query=query,
            body=definition,
            content_type=APPLY_PATCH,
        )
        return applied

    def create(self, resource: Resource, definition: Object, *, dry_run: bool = False) -> Object:
        """Create one object."""
        created: Object = self.transport.request(
            "POST",
            resource.path(definition.get("metadata", {}).get("namespace")),
            query={"dryRun": "All"} if dry_run else None,
            body=definition,
            repeatable=dry_run or definition["kind"].endswith("Review"),  # reviews store nothing
        )
        return created

    def patch(
        self, resource: Resource, name: str, namespace: str | None, body: Mapping[str, Any]
    ) -> Object:
        """Change some fields by a JSON merge patch (RFC 7386)."""
        patched: Object = self.transport.request(
            "PATCH", resource.path(namespace, name), body=dict(body), content_type=MERGE_PATCH
        )
        return patched

    def set_managed_fields(self, resource: Resource, live: Object, entries: Objects) -> None:
        """Replace the managedFields of an object, unless it was modified since `live` was read."""
        metadata = live["metadata"]
        self.transport.request(
            "PATCH",
            resource.path(metadata.get("namespace"), metadata["name"]),
            body=[
                {"op": "replace", "path": "/metadata/managedFields", "value": entries},
                {
                    "op": "replace",
                    "path": "/metadata/resourceVersion",
                    "value": metadata["resourceVersion"],
                },
            ],
            content_type=JSON_PATCH,
        )

    def delete(
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str = "",
        propagation: str = "Background",
        dry_run: bool = False,
    ) -> bool:
        """Ask for the deletion of an object; False when it was not there."""
        body: Object = {"kind": "DeleteOptions", "apiVersion": "v1"}
        body["propagationPolicy"] = propagation
        if uid:
            body["preconditions"] = {"uid": uid}
        if dry_run:
            body["dryRun"] = ["All"]
        try:
            self.transport.request("DELETE", resource.path(namespace, name), body=body)
        except ApiError as error:
            if error.not_found:
                return error.repeated  # deleted by the request whose answer was lost
            raise
        return True


def _selectors(label_selector: str, field_selector: str) -> dict[str, str]:
    given = {"labelSelector": label_selector, "fieldSelector": field_selector}
    return {name: selector for name, selector in given.items() if selector}


def close_kinds(
    known: Iterable[tuple[str, str]], api_version: str, kind: str, limit: int = 3
) -> list[str]:
    """Return kinds a person may have meant, as "apiVersion Kind", likeliest first."""
    other_versions = [f"{version} {name}" for version, name in known if name == kind]
    names = {name for _version, name in known}
    spelled = {name.lower(): name for name in names}
    alike = difflib.get_close_matches(kind.lower(), spelled, n=limit, cutoff=0.7)
    wanted = {spelled[name] for name in alike}
    similar = [f"{version} {name}" for version, name in known if name in wanted]
    similar.sort(
        key=lambda text: -difflib.SequenceMatcher(None, text, f"{api_version} {kind}").ratio()
    )
    return (other_versions or similar)[:limit]


def _aggregated(group: str, version: dict[str, Any], into: dict[tuple[str, str], Resource]) -> None:
    """Take in one version of an APIGroupDiscovery (apidiscovery.k8s.io/v2)."""
    for item in version.get("resources") or []:
        served = item.get("responseKind") or {}
        kind = served.get("kind")
        if not kind:
            continue
        api_version = f"{group}/{version['version']}" if group else version["version"]
        into[api_version, kind] = Resource(
            api_version,
            kind,
            item["resource"],
            item.get("scope") == "Namespaced",
            frozenset(item.get("verbs") or ()),
        )
