"""Blobs: read (whole or in part), upload at once or in chunks, mount, delete."""

from __future__ import annotations

import re

from aiohttp import web

from streamops_sandbox.registry.auth import TokenAuth
from streamops_sandbox.registry.errors import RegistryError
from streamops_sandbox.registry.storage import Storage, check_digest, check_name

_CHUNK = 1 << 20


class Blobs:
    """The handlers of `/v2/NAME/blobs/…`."""

    def __init__(self, storage: Storage, auth: TokenAuth) -> None:
        self.storage = storage
        self.auth = auth

    async def get(self, request: web.Request) -> web.StreamResponse:
        """Send a blob, or the range of it that was asked for (also HEAD)."""
        name, digest = check_name(request.match_info["name"]), request.match_info["digest"]
        self.auth.require(request, {f"repository:{name}": {"pull"}})
        path = self.storage.blob(name, digest)
        headers = {
            "Docker-Content-Digest": digest,
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
        }
        return web.FileResponse(path, chunk_size=_CHUNK, headers=headers)

    async def delete(self, request: web.Request) -> web.Response:
        """Take a blob out of a repository."""
        name, digest = check_name(request.match_info["name"]), request.match_info["digest"]
        self.auth.require(request, {f"repository:{name}": {"delete"}})
        self.storage.delete_blob(name, digest)
        return web.Response(status=202)

    async def start(self, request: web.Request) -> web.Response:
        """Begin an upload; or mount the blob from another repository; or take it all at once."""
        name = check_name(request.match_info["name"])
        needed = {f"repository:{name}": {"pull", "push"}}
        mount, source = request.query.get("mount"), request.query.get("from")
        if mount and source:
            needed.setdefault(f"repository:{check_name(source)}", {"pull"})
        self.auth.require(request, needed)
        if mount and source:
            if self.storage.has_blob(source, check_digest(mount)):
                self.storage.link_blob(name, mount)
                return self._created(name, mount)
        elif "digest" in request.query:
            upload = self.storage.new_upload()
            await self._append(request, upload)
            return self._finish(name, upload, request.query["digest"])
        return self._progress(name, self.storage.new_upload(), status=202)

    async def patch(self, request: web.Request) -> web.Response:
        """Append a chunk to an upload."""
        name, upload = self._upload(request)
        await self._append(request, upload)
        return self._progress(name, upload, status=202)

    async def put(self, request: web.Request) -> web.Response:
        """Append what is left and make the upload a blob, once its digest is verified."""
        name, upload = self._upload(request)
        if "digest" not in request.query:
            raise RegistryError("DIGEST_INVALID", message="the digest parameter is missing")
        check_digest(request.query["digest"])
        await self._append(request, upload)
        return self._finish(name, upload, request.query["digest"])

    async def status(self, request: web.Request) -> web.Response:
        """Say how much of an upload has arrived."""
        name, upload = self._upload(request)
        return self._progress(name, upload, status=204)

    async def cancel(self, request: web.Request) -> web.Response:
        """Drop an upload."""
        _, upload = self._upload(request)
        self.storage.upload(upload).unlink()
        return web.Response(status=204)

    def _upload(self, request: web.Request) -> tuple[str, str]:
        name, upload = check_name(request.match_info["name"]), request.match_info["upload"]
        self.auth.require(request, {f"repository:{name}": {"pull", "push"}})
        self.storage.upload(upload)
        return name, upload

    async def _append(self, request: web.Request, upload: str) -> None:
        path = self.storage.upload(upload)
        size = path.stat().st_size
        if content_range := request.headers.get("Content-Range"):
            match = re.fullmatch(r"(?:bytes )?(\d+)-(\d+)(?:/.*)?", content_range)
            if not match or int(match[1]) != size:
                raise RegistryError("RANGE_INVALID", {"have": size, "given": content_range})
            length = int(match[2]) - int(match[1]) + 1
            if request.content_length not in (None, length):
                raise RegistryError("SIZE_INVALID", {"range": content_range})
        self.storage.check_room(size + (request.content_length or 0))
        with path.open("ab") as file:
            async for chunk in request.content.iter_chunked(_CHUNK):
                size += len(chunk)
                self.storage.check_room(size)
                file.write(chunk)

    def _finish(self, name: str, upload: str, digest: str) -> web.Response:
        self.storage.finish_upload(name, upload, digest)
        return self._created(name, digest)

    def _created(self, name: str, digest: str) -> web.Response:
        headers = {"Location": f"/v2/{name}/blobs/{digest}", "Docker-Content-Digest": digest}
        return web.Response(status=201, headers=headers)

    def _progress(self, name: str, upload: str, *, status: int) -> web.Response:
        size = self.storage.upload(upload).stat().st_size
        headers = {
            "Location": f"/v2/{name}/blobs/uploads/{upload}",
            "Range": f"0-{max(size - 1, 0)}",
            "Docker-Upload-UUID": upload,
        }
        return web.Response(status=status, headers=headers)
