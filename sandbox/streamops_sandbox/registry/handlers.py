"""The registry's handlers: blobs, their uploads, manifests and lists of tags."""

from __future__ import annotations

import json
import re
from typing import Any

from aiohttp import web

from streamops_sandbox.oci import INDEXES, MANIFESTS, MAX_MANIFEST
from streamops_sandbox.registry.auth import TokenAuth
from streamops_sandbox.registry.content import Content, check_digest, check_name
from streamops_sandbox.registry.errors import RegistryError

_CHUNK = 1 << 20


class Handlers:
    """The handlers of `/v2/…`."""

    def __init__(self, content: Content, auth: TokenAuth) -> None:
        self._content = content
        self._auth = auth

    def routes(self) -> list[web.RouteDef]:
        """Return them with their paths."""
        return [
            web.get("/token", self._auth.token),
            web.get("/v2/", self._version),
            web.get("/v2/{name:.+}/tags/list", self._tags),
            web.get("/v2/{name:.+}/manifests/{reference}", self._get_manifest),
            web.put("/v2/{name:.+}/manifests/{reference}", self._put_manifest),
            web.delete("/v2/{name:.+}/manifests/{reference}", self._delete_manifest),
            web.get("/v2/{name:.+}/referrers/{digest}", self._referrers),
            web.post("/v2/{name:.+}/blobs/uploads/", self._start_upload),
            web.patch("/v2/{name:.+}/blobs/uploads/{upload}", self._append_to_upload),
            web.put("/v2/{name:.+}/blobs/uploads/{upload}", self._end_upload),
            web.get("/v2/{name:.+}/blobs/{digest}", self._get_blob),
        ]

    def _allow(self, request: web.Request, *actions: str) -> str:
        """Return the repository's name, if the request's token allows the actions on it."""
        name = check_name(request.match_info["name"])
        self._auth.require(request, {f"repository:{name}": set(actions)})
        return name

    async def _version(self, request: web.Request) -> web.Response:
        """Say that this is a registry, to those who have a token."""
        self._auth.require(request, {})
        return web.json_response({})

    # -- blobs ---------------------------------------------------------------------------------

    async def _get_blob(self, request: web.Request) -> web.StreamResponse:
        """Send a blob, or the range of it that was asked for (also HEAD)."""
        name, digest = self._allow(request, "pull"), request.match_info["digest"]
        headers = {
            "Docker-Content-Digest": digest,
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
        }
        path = self._content.blob(name, digest)
        return web.FileResponse(path, chunk_size=_CHUNK, headers=headers)

    async def _start_upload(self, request: web.Request) -> web.Response:
        """Begin an upload; or mount the blob from another repository; or take it all at once."""
        name = check_name(request.match_info["name"])
        mount, source = request.query.get("mount"), request.query.get("from")
        needed = {f"repository:{name}": {"pull", "push"}}
        if mount and source:
            needed.setdefault(f"repository:{check_name(source)}", {"pull"})
        self._auth.require(request, needed)
        if mount and source and check_digest(mount) in self._content.repository(source).blobs:
            self._content.link_blob(name, mount)
            return _created(name, "blobs", mount)
        upload = self._content.new_upload()
        if "digest" in request.query:
            return await self._finish(request, name, upload)
        return self._progress(name, upload)

    async def _append_to_upload(self, request: web.Request) -> web.Response:
        name, upload = self._allow(request, "pull", "push"), request.match_info["upload"]
        await self._append(request, upload)
        return self._progress(name, upload)

    async def _end_upload(self, request: web.Request) -> web.Response:
        """Append what is left and make the upload a blob, once its digest is verified."""
        name = self._allow(request, "pull", "push")
        return await self._finish(request, name, request.match_info["upload"])

    async def _append(self, request: web.Request, upload: str) -> None:
        path = self._content.upload(upload)
        size = path.stat().st_size
        given = request.headers.get("Content-Range")
        if given is not None and not re.match(rf"(bytes )?{size}-\d+", given):
            raise RegistryError("RANGE_INVALID", {"have": size, "given": given})
        with path.open("ab") as file:
            async for chunk in request.content.iter_chunked(_CHUNK):
                file.write(chunk)

    async def _finish(self, request: web.Request, name: str, upload: str) -> web.Response:
        digest = check_digest(request.query.get("digest", ""))
        await self._append(request, upload)
        self._content.finish_upload(name, upload, digest)
        return _created(name, "blobs", digest)

    def _progress(self, name: str, upload: str) -> web.Response:
        size = self._content.upload(upload).stat().st_size
        headers = {
            "Location": f"/v2/{name}/blobs/uploads/{upload}",
            "Range": f"0-{max(size - 1, 0)}",
            "Docker-Upload-UUID": upload,
        }
        return web.Response(status=202, headers=headers)

    # -- manifests and tags --------------------------------------------------------------------

    async def _get_manifest(self, request: web.Request) -> web.Response:
        """Send a manifest by tag or digest (also HEAD)."""
        name = self._allow(request, "pull")
        content, digest, kind = self._content.manifest(name, request.match_info["reference"])
        headers = {"Docker-Content-Digest": digest, "Content-Type": kind}
        return web.Response(body=content, headers=headers)

    async def _put_manifest(self, request: web.Request) -> web.Response:
        """Store a manifest if all it refers to is here; under a tag, that names it from then on."""
        name = self._allow(request, "pull", "push")
        content = b""
        while chunk := await request.content.read(MAX_MANIFEST + 1 - len(content)):
            content += chunk
        if len(content) > MAX_MANIFEST:
            raise RegistryError("MANIFEST_INVALID", message="manifest too large", status=413)
        media_type = request.content_type
        repository = self._content.repository(name)
        known = repository.manifests if media_type in INDEXES else repository.blobs
        missing = [one for one in _references(content, media_type) if one not in known]
        if missing:
            raise RegistryError("MANIFEST_BLOB_UNKNOWN", {"digests": missing})
        reference = request.match_info["reference"]
        subject = _subject(content)
        digest = self._content.put_manifest(name, reference, content, media_type, subject)
        answer = _created(name, "manifests", digest)
        if subject:
            answer.headers["OCI-Subject"] = subject
        return answer

    async def _referrers(self, request: web.Request) -> web.Response:
        """List what refers to a manifest, which need not be here, of one type where one is asked for."""
        name = self._allow(request, "pull")
        subject = check_digest(request.match_info["digest"])
        kind = request.query.get("artifactType")
        repository = self._content.repository(name)
        entries = [
            _described(digest, *repository.manifests[digest])
            for digest in repository.referrers.get(subject, ())
            if digest in repository.manifests
        ]
        headers = {"OCI-Filters-Applied": "artifactType"} if kind else {}
        index = {
            "schemaVersion": 2,
            "mediaType": INDEXES[0],
            "manifests": [one for one in entries if kind in (None, one["artifactType"])],
        }
        content = json.dumps(index).encode()
        return web.Response(body=content, headers=headers, content_type=INDEXES[0])

    async def _delete_manifest(self, request: web.Request) -> web.Response:
        """Remove a tag, or a manifest with all its tags."""
        name, reference = self._allow(request, "delete"), request.match_info["reference"]
        _, digest, _ = self._content.manifest(name, reference)
        repository = self._content.repository(name)
        if reference == digest:
            del repository.manifests[digest]
        kept = {t: named for t, named in repository.tags.items() if reference not in (t, named)}
        repository.tags = kept
        return web.Response(status=202)

    async def _tags(self, request: web.Request) -> web.Response:
        """List a repository's tags, all at once."""
        name = self._allow(request, "pull")
        repository = self._content.repository(name)
        if not repository.manifests:
            raise RegistryError("NAME_UNKNOWN", {"name": name})
        return web.json_response({"name": name, "tags": sorted(repository.tags)})


def _created(name: str, kind: str, digest: str) -> web.Response:
    headers = {"Location": f"/v2/{name}/{kind}/{digest}", "Docker-Content-Digest": digest}
    return web.Response(status=201, headers=headers)


def _subject(content: bytes) -> str:
    """Return the digest of what a manifest refers to, empty for nothing."""
    subject = json.loads(content).get("subject")
    if subject is None:
        return ""
    if not isinstance(subject, dict):
        raise RegistryError("MANIFEST_INVALID", {"reason": "subject is not a descriptor"})
    return check_digest(str(subject.get("digest")))


def _described(digest: str, content: bytes, media_type: str) -> dict[str, Any]:
    """Return a manifest's entry in the list of referrers."""
    manifest = json.loads(content)
    config = manifest.get("config") or {}
    found = {
        "mediaType": media_type,
        "digest": digest,
        "size": len(content),
        "artifactType": manifest.get("artifactType") or config.get("mediaType", ""),
    }
    return found | ({"annotations": notes} if (notes := manifest.get("annotations")) else {})


def _references(content: bytes, media_type: str) -> list[str]:
    """Return the digests that a manifest refers to, refusing what cannot be one."""
    try:
        manifest: dict[str, Any] = json.loads(content)
        if (stated := manifest.get("mediaType", media_type)) != media_type:
            raise ValueError(f"Content-Type is {media_type}, mediaType is {stated}")
        if media_type not in INDEXES + MANIFESTS:
            raise ValueError(f"unknown media type {media_type}")
        if manifest["schemaVersion"] != 2:
            raise ValueError("schemaVersion is not 2")
        if media_type in INDEXES:
            return [check_digest(one["digest"]) for one in manifest["manifests"]]
        parts = [manifest["config"], *manifest["layers"]]
        return [check_digest(one["digest"]) for one in parts if not one.get("urls")]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise RegistryError("MANIFEST_INVALID", {"reason": f"{error!r}"}) from None
