"""Manifests and what lists them: tags, the catalog, referrers."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import quote

from aiohttp import web

from streamops_sandbox.registry.auth import TokenAuth
from streamops_sandbox.registry.errors import RegistryError
from streamops_sandbox.registry.storage import TAG, Storage, check_digest, check_name

INDEX = "application/vnd.oci.image.index.v1+json"
_INDEXES = {INDEX, "application/vnd.docker.distribution.manifest.list.v2+json"}
_IMAGES = {
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
}
_MAX_MANIFEST = 4 << 20  # bytes; the specification wants at least this much taken


class Manifests:
    """The handlers of `/v2/NAME/manifests/…`, `…/tags/list`, `…/referrers/…` and the catalog."""

    def __init__(self, storage: Storage, auth: TokenAuth) -> None:
        self.storage = storage
        self.auth = auth

    async def get(self, request: web.Request) -> web.Response:
        """Send a manifest by tag or digest (also HEAD)."""
        name, reference = check_name(request.match_info["name"]), request.match_info["reference"]
        self.auth.require(request, {f"repository:{name}": {"pull"}})
        content, digest, media_type = self.storage.manifest(name, reference)
        headers = {"Docker-Content-Digest": digest, "Content-Type": media_type}
        return web.Response(body=content, headers=headers)

    async def put(self, request: web.Request) -> web.Response:
        """Store a manifest if all it refers to is here; under a tag, that names it from then on."""
        name, reference = check_name(request.match_info["name"]), request.match_info["reference"]
        self.auth.require(request, {f"repository:{name}": {"pull", "push"}})
        content = await request.content.read(_MAX_MANIFEST + 1)
        while chunk := await request.content.read(_MAX_MANIFEST + 1 - len(content)):
            content += chunk
        if len(content) > _MAX_MANIFEST:
            raise RegistryError("MANIFEST_INVALID", message="manifest too large", status=413)
        manifest, media_type = _parse(content, request.content_type)
        self._check_references(name, manifest, media_type)
        if ":" in reference:
            algorithm = check_digest(reference).partition(":")[0]
            digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
            if digest != reference:
                raise RegistryError("DIGEST_INVALID", {"expected": reference, "actual": digest})
            tag = None
        else:
            if not TAG.fullmatch(reference):
                raise RegistryError("TAG_INVALID", {"tag": reference})
            digest, tag = f"sha256:{hashlib.sha256(content).hexdigest()}", reference
        self.storage.put_manifest(name, content, media_type, digest, tag)
        headers = {"Location": f"/v2/{name}/manifests/{digest}", "Docker-Content-Digest": digest}
        if "subject" in manifest:
            headers["OCI-Subject"] = manifest["subject"]["digest"]
        return web.Response(status=201, headers=headers)

    async def delete(self, request: web.Request) -> web.Response:
        """Remove a tag, or a manifest with all its tags."""
        name, reference = check_name(request.match_info["name"]), request.match_info["reference"]
        self.auth.require(request, {f"repository:{name}": {"delete"}})
        if ":" in reference:
            self.storage.delete_manifest(name, reference)
        else:
            self.storage.delete_tag(name, reference)
        return web.Response(status=202)

    async def tags(self, request: web.Request) -> web.Response:
        """List a repository's tags, `n` at a time after `last`."""
        name = check_name(request.match_info["name"])
        self.auth.require(request, {f"repository:{name}": {"pull"}})
        tags, headers = _page(request, self.storage.tags(name))
        return web.json_response({"name": name, "tags": tags}, headers=headers)

    async def catalog(self, request: web.Request) -> web.Response:
        """List the repositories, `n` at a time after `last`."""
        self.auth.require(request, {"registry:catalog": {"*"}})
        names, headers = _page(request, self.storage.repositories())
        return web.json_response({"repositories": names}, headers=headers)

    async def referrers(self, request: web.Request) -> web.Response:
        """List the manifests whose subject is a digest, of one artifact type where asked for."""
        name, digest = (
            check_name(request.match_info["name"]),
            check_digest(request.match_info["digest"]),
        )
        self.auth.require(request, {f"repository:{name}": {"pull"}})
        wanted = request.query.get("artifactType")
        found = []
        for content, own_digest, media_type in self.storage.manifests(name):
            manifest = json.loads(content)
            if manifest.get("subject", {}).get("digest") != digest:
                continue
            config = manifest.get("config", {})
            artifact_type = manifest.get("artifactType") or config.get("mediaType")
            descriptor = {"mediaType": media_type, "digest": own_digest, "size": len(content)}
            if artifact_type:
                descriptor["artifactType"] = artifact_type
            if "annotations" in manifest:
                descriptor["annotations"] = manifest["annotations"]
            if wanted in (None, artifact_type):
                found.append(descriptor)
        body = json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": found})
        headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
        return web.Response(text=body, content_type=INDEX, headers=headers)

    def _check_references(self, name: str, manifest: dict[str, Any], media_type: str) -> None:
        if media_type in _INDEXES:
            missing = [
                one["digest"]
                for one in manifest.get("manifests", [])
                if not self.storage.has_manifest(name, one["digest"])
            ]
        else:
            missing = [
                one["digest"]
                for one in [manifest["config"], *manifest.get("layers", [])]
                if not one.get("urls") and not self.storage.has_blob(name, one["digest"])
            ]
        if missing:
            raise RegistryError("MANIFEST_BLOB_UNKNOWN", {"digests": missing})


def _parse(content: bytes, content_type: str) -> tuple[dict[str, Any], str]:
    """Return a manifest and its media type, refusing what cannot be one."""
    try:
        manifest = json.loads(content)
        media_type = str(manifest.get("mediaType", content_type))
        descriptors = (
            manifest["manifests"]
            if media_type in _INDEXES
            else [manifest["config"], *manifest["layers"]]
        )
        if "subject" in manifest:
            descriptors = [*descriptors, manifest["subject"]]
        for descriptor in descriptors:
            check_digest(descriptor["digest"])
        if manifest["schemaVersion"] != 2:
            raise ValueError("schemaVersion is not 2")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError("MANIFEST_INVALID", {"reason": f"{error!r}"}) from None
    if content_type != media_type:
        reason = f"Content-Type is {content_type}, mediaType is {media_type}"
        raise RegistryError("MANIFEST_INVALID", {"reason": reason})
    if media_type not in _INDEXES | _IMAGES:
        raise RegistryError("MANIFEST_INVALID", {"reason": f"unknown media type {media_type}"})
    return manifest, media_type


def _page(request: web.Request, items: list[str]) -> tuple[list[str], dict[str, str]]:
    """Cut a sorted list by the query's `n` and `last`; returns it and the Link header."""
    if last := request.query.get("last"):
        items = [item for item in items if item > last]
    if not (n := request.query.get("n")):
        return items, {}
    if not n.isdecimal():
        raise RegistryError("UNSUPPORTED", message="n has to be a number", status=400)
    page = items[: int(n)]
    if len(page) == len(items) or not page:
        return page, {}
    link = f'<{request.path}?n={n}&last={quote(page[-1])}>; rel="next"'
    return page, {"Link": link}
