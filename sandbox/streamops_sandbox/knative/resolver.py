"""Where a Destination (knative.dev/pkg duck/v1) leads: its URL, CA certificates and audience."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from streamops_sandbox.client import ApiError
from streamops_sandbox.controller import Key
from streamops_sandbox.knative.reconciler import Tracker, not_found, plural


class Unresolved(Exception):
    """A destination that leads nowhere (yet); the message says why."""


@dataclass(frozen=True)
class Address:
    """An address to send events to."""

    url: str
    ca_certs: str | None = None
    audience: str | None = None


async def resolve(tracker: Tracker, destination: dict[str, Any], *, key: Key) -> Address:
    """Resolve a destination of the object `key`, in whose namespace a ref without one points.

    Raises:
        Unresolved: with the reason, in upstream's words where people search for them.
    """
    ref, uri = destination.get("ref"), destination.get("uri")
    ca_certs, audience = destination.get("CACerts"), destination.get("audience")
    if not ref:
        return Address(_absolute(uri), ca_certs, audience)
    address = await _addressable(tracker, ref, key)
    if uri and urlsplit(uri).scheme:
        raise Unresolved("absolute URI is not allowed when Ref exists")
    return Address(
        urljoin(address.url, uri) if uri else address.url,
        ca_certs or address.ca_certs,
        audience or address.audience,
    )


def _absolute(uri: str | None) -> str:
    if not uri:
        raise Unresolved("destination missing Ref and URI, expected at least one")
    parts = urlsplit(uri)
    if not parts.scheme or not parts.netloc:
        raise Unresolved(f'URI is not absolute(both scheme and host should be non-empty): "{uri}"')
    return uri


async def _addressable(tracker: Tracker, ref: dict[str, Any], key: Key) -> Address:
    api_version, kind, name = ref.get("apiVersion", ""), ref.get("kind", ""), ref.get("name", "")
    where = ref.get("namespace") or key[0] or ""
    try:
        obj = await tracker.get(api_version, kind, where, name, key=key)
    except ApiError as error:
        group, _, version = api_version.rpartition("/")
        resource = f"{group}/{version}, Resource={plural(kind)}"
        raise Unresolved(f"failed to get lister for {resource}: {error.message}") from None
    if obj is None:
        missing = not_found(api_version, kind, name)
        raise Unresolved(f"failed to get object {where}/{name}: {missing}")
    if (api_version, kind) == ("v1", "Service"):
        return Address(f"http://{name}.{where}.svc.cluster.local")
    described = (
        f"Kind = {kind}, Namespace = {where}, Name = {name}, APIVersion = {api_version}, "
        f"Group = {ref.get('group', '')}, Address = {ref.get('address', '')}"
    )
    address = (obj.get("status") or {}).get("address")
    if not address:
        raise Unresolved(f"address not set for {described}")
    if not address.get("url"):
        raise Unresolved(f"URL missing in address of {described}")
    return Address(address["url"], address.get("CACerts"), address.get("audience"))
