"""All kinds an API server serves: custom ones in their stored version, others in the preferred one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.objects import Object


@dataclass(frozen=True)
class Kind:
    """A kind of objects; `verbs` is what can be done with them."""

    api_version: str
    kind: str
    namespaced: bool
    verbs: frozenset[str]


async def kinds(client: Client) -> list[Kind]:
    """Return all kinds, without subresources.

    Custom objects are read in the version they are stored in, which takes no conversion.
    """
    definitions = await client.list("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    stored = {
        (spec["group"], spec["names"]["kind"]): f"{spec['group']}/{version['name']}"
        for spec in (definition["spec"] for definition in definitions)
        for version in spec["versions"]
        if version["storage"] and version["served"]
    }
    found = list(_kinds("v1", await client.request("GET", "/api/v1")))
    for group in (await client.request("GET", "/apis")).get("groups") or []:
        preferred = group["preferredVersion"]["groupVersion"]
        others = [entry["groupVersion"] for entry in group["versions"]]
        seen: set[str] = set()
        for version in [preferred, *(other for other in others if other != preferred)]:
            try:
                answer = await client.request("GET", f"/apis/{version}")
            except ApiError as error:
                if error.status in (404, 503):  # a CRD or an aggregated API that is going away
                    continue
                raise
            for kind in _kinds(version, answer):
                if kind.kind not in seen:
                    seen.add(kind.kind)
                    kept = stored.get((group["name"], kind.kind), kind.api_version)
                    found.append(replace(kind, api_version=kept))
    return found


def _kinds(version: str, answer: Object) -> Iterator[Kind]:
    for resource in answer.get("resources") or []:
        if "/" not in resource["name"]:
            yield Kind(
                version,
                resource["kind"],
                bool(resource["namespaced"]),
                frozenset(resource.get("verbs") or []),
            )
