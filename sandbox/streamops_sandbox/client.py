"""A small asynchronous client of the Kubernetes API.

Every part of the sandbox speaks to the others through this client and a kubeconfig only, so each
works against any other API server too. Contract:
https://kubernetes.io/docs/reference/using-api/api-concepts/
"""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import ssl
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, Self

import aiohttp

from streamops_sandbox.informer import Informer
from streamops_sandbox.objects import Object

Objects = list[Object]
_PAGE_SIZE = 500
_TOKEN_FILE_REREAD_SECONDS = 60.0  # as client-go


class ApiError(Exception):
    """An answer of the API server other than 2xx.

    `status` is the HTTP code, `reason` the Status object's reason ("NotFound", "Conflict", …; ""
    where the body was no Status).
    """

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def not_found(self) -> bool:
        """Whether the object (or its kind) is not there."""
        return self.status == 404

    @property
    def already_exists(self) -> bool:
        """Whether an object of this name is there already."""
        return self.status == 409 and self.reason == "AlreadyExists"


class Client:
    """A connection to one API server, as a kubeconfig of the sandbox's says: with one cluster and one user.

    The user has a certificate, a token or a file with one, or is anonymous. Objects are plain
    dicts, as in the API's JSON. What an informer returns is shared: copy it before changing it.
    """

    def __init__(
        self, kubeconfig: Object, *, user_agent: str = "sandbox", timeout: float = 30.0
    ) -> None:
        cluster, user = kubeconfig["clusters"][0]["cluster"], kubeconfig["users"][0]["user"]
        self.server: str = cluster["server"].rstrip("/")
        self._timeout = timeout
        self._token_file = Path(user["tokenFile"]) if "tokenFile" in user else None
        self._token: str = user.get("token", "")
        self._token_read = -_TOKEN_FILE_REREAD_SECONDS
        # No limit on connections: each informer holds one for its watch.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_ssl_context(cluster, user), limit=0),
            headers={"User-Agent": user_agent, "Accept": "application/json"},
        )
        self._resources: dict[str, dict[str, tuple[str, bool]]] = {}
        self._informers: dict[tuple[str, str, str | None], Informer] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop the informers and close all connections."""
        await asyncio.gather(*(informer.stop() for informer in self._informers.values()))
        await self._session.close()

    # -- objects -----------------------------------------------------------------------------

    async def get(
        self, api_version: str, kind: str, name: str, namespace: str | None = None
    ) -> Object:
        """Return one object."""
        return await self.request("GET", await self.path(api_version, kind, namespace, name))

    async def list(self, api_version: str, kind: str, namespace: str | None = None) -> Objects:
        """Return all objects of a kind, of one namespace or of all."""
        return (await self._list(api_version, kind, namespace))[0]

    async def _list(
        self, api_version: str, kind: str, namespace: str | None
    ) -> tuple[Objects, str]:
        """Return objects with the resourceVersion from which a watch continues."""
        path = await self.path(api_version, kind, namespace)
        params = {"limit": str(_PAGE_SIZE)}
        items: Objects = []
        while True:
            page = await self.request("GET", path, params=params)
            for item in page.get("items") or []:
                # Items of a list of a built-in kind come without these.
                items.append({"apiVersion": api_version, "kind": kind, **item})
            metadata = page.get("metadata", {})
            if not metadata.get("continue"):
                return items, metadata.get("resourceVersion", "")
            params["continue"] = metadata["continue"]

    async def create(self, obj: Object) -> Object:
        """Create an object; its metadata says where."""
        metadata = obj["metadata"]
        path = await self.path(obj["apiVersion"], obj["kind"], metadata.get("namespace"))
        return self._seen(await self.request("POST", path, body=obj))

    async def update(self, obj: Object) -> Object:
        """Replace an object; with a resourceVersion only if nobody changed it meanwhile."""
        return self._seen(await self.request("PUT", await self._path_of(obj), body=obj))

    async def update_status(self, obj: Object) -> Object:
        """Replace an object's status only."""
        path = await self._path_of(obj, "status")
        return self._seen(await self.request("PUT", path, body=obj))

    async def patch(
        self,
        obj: Object,
        change: object,
        *,
        patch_type: Literal["merge", "json"] = "merge",
        subresource: str | None = None,
    ) -> Object:
        """Change parts of an object, of which only kind and name are needed; return what is stored."""
        path = await self._path_of(obj, subresource)
        content_type = f"application/{patch_type}-patch+json"
        return self._seen(await self.request("PATCH", path, body=change, content_type=content_type))

    async def apply(self, obj: Object, *, field_manager: str) -> Object:
        """Server-side apply: own exactly the fields of `obj` as `field_manager`."""
        path = await self._path_of(obj)
        params = {"fieldManager": field_manager, "force": "true"}
        content_type = "application/apply-patch+yaml"
        return self._seen(
            await self.request("PATCH", path, body=obj, content_type=content_type, params=params)
        )

    async def delete(
        self,
        obj: Object,
        propagation: Literal["Background", "Foreground", "Orphan"] | None = None,
        *,
        grace_period: int | None = None,
    ) -> None:
        """Delete an object; one that is gone, or another of its name by now, counts as deleted.

        The server may only mark it for deletion (finalizers, grace period in seconds).
        """
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
        options["preconditions"] = {"uid": obj["metadata"]["uid"]}
        if propagation:
            options["propagationPolicy"] = propagation
        if grace_period is not None:
            options["gracePeriodSeconds"] = grace_period
        try:
            answer = await self.request("DELETE", await self._path_of(obj), body=options)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            return
        if answer.get("metadata", {}).get("deletionTimestamp") and grace_period != 0:
            self._seen(answer)

    async def create_subresource(self, obj: Object, subresource: str, body: Object) -> Object:
        """POST to a subresource: `binding`, `eviction`, `token`, …; of `obj` kind and name are needed."""
        return await self.request("POST", await self._path_of(obj, subresource), body=body)

    def informer(self, api_version: str, kind: str, namespace: str | None = None) -> Informer:
        """Return the informer of these objects; one is shared by all who ask for the same."""
        key = (api_version, kind, namespace)
        if key not in self._informers:
            self._informers[key] = Informer(
                api_version,
                kind,
                functools.partial(self._list, *key),
                functools.partial(self._watch, *key),
            )
        return self._informers[key]

    async def drop_informer(self, informer: Informer) -> None:
        """Stop an informer nobody needs any more; its kind is gone."""
        self._informers = {
            key: known for key, known in self._informers.items() if known is not informer
        }
        self.forget_resource(informer.api_version)
        await informer.stop()

    # -- the protocol ------------------------------------------------------------------------

    async def path(
        self,
        api_version: str,
        kind: str,
        namespace: str | None = None,
        name: str | None = None,
        subresource: str | None = None,
    ) -> str:
        """Return the URL path of a collection or an object.

        Asks discovery for the kind's plural; ApiError 404 where the server does not know it.
        """
        plural, namespaced = await self._resource(api_version, kind)
        root = "/api" if "/" not in api_version else "/apis"
        parts = [root, api_version]
        if namespaced and namespace:
            parts += ["namespaces", namespace]
        elif namespaced and name:
            raise ValueError(f"{kind} {name!r}: a namespace is needed")
        parts += [part for part in (plural, name, subresource) if part]
        return "/".join(parts)

    async def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        content_type: str = "application/json",
    ) -> Object:
        """Send a request and return the object it is answered with.

        Raises ApiError for any other answer, aiohttp.ClientError or TimeoutError where there was
        none.
        """
        headers = self._authorization()
        data = None
        if body is not None:
            headers["Content-Type"] = content_type
            data = json.dumps(body, separators=(",", ":")).encode()
        async with self._session.request(
            method,
            self.server + path,
            params=params,
            data=data,
            headers=headers,
            timeout=aiohttp.ClientTimeout(total=self._timeout),
        ) as response:
            return await _object(response)

    async def _watch(
        self,
        api_version: str,
        kind: str,
        namespace: str | None,
        version: str,
        seconds: int,
    ) -> aiohttp.ClientResponse:
        """Open a watch; the answer's lines are watch events. The caller closes it."""
        response = await self._session.get(
            self.server + await self.path(api_version, kind, namespace),
            params={
                "watch": "true",
                "resourceVersion": version,
                "allowWatchBookmarks": "true",
                "timeoutSeconds": str(seconds),
            },
            headers=self._authorization(),
            # A line holds a whole object; the server ends the watch by timeoutSeconds.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeout),
            read_bufsize=1 << 22,
        )
        if not response.ok:
            async with response:
                await _object(response)
        return response

    async def _path_of(self, obj: Object, subresource: str | None = None) -> str:
        metadata = obj["metadata"]
        return await self.path(
            obj["apiVersion"], obj["kind"], metadata.get("namespace"), metadata["name"], subresource
        )

    async def _resource(self, api_version: str, kind: str) -> tuple[str, bool]:
        known = self._resources.get(api_version, {})
        if kind not in known:
            root = "/api" if "/" not in api_version else "/apis"
            answer = await self.request("GET", f"{root}/{api_version}")
            known = {
                resource["kind"]: (resource["name"], resource["namespaced"])
                for resource in answer.get("resources", [])
                if "/" not in resource["name"]
            }
            self._resources[api_version] = known
        if kind not in known:
            raise ApiError(404, "NotFound", f"the server has no kind {kind} in {api_version}")
        return known[kind]

    def forget_resource(self, api_version: str) -> None:
        """Ask discovery again for this group and version: its kinds have changed."""
        self._resources.pop(api_version, None)

    def _authorization(self) -> dict[str, str]:
        since = time.monotonic() - self._token_read
        if self._token_file is not None and since >= _TOKEN_FILE_REREAD_SECONDS:
            self._token = self._token_file.read_text(encoding="ascii").strip()
            self._token_read = time.monotonic()
        return {"Authorization": f"Bearer {self._token}"} if self._token else {}

    def _seen(self, obj: Object) -> Object:
        """Let informers know at once what this client wrote, so nobody acts on an older state."""
        api_version, kind = obj.get("apiVersion", ""), obj.get("kind", "")
        namespace = obj.get("metadata", {}).get("namespace")
        for scope in {None, namespace}:
            if informer := self._informers.get((api_version, kind, scope)):
                informer.observe(obj)
        return obj


def _ssl_context(cluster: Object, user: Object) -> ssl.SSLContext:
    ca = base64.b64decode(cluster["certificate-authority-data"]).decode()
    context = ssl.create_default_context(cadata=ca)
    if "client-certificate-data" in user:
        # The ssl module loads certificates from files only.
        with tempfile.NamedTemporaryFile() as file:
            file.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
            file.write(base64.b64decode(user["client-key-data"]))
            file.flush()
            context.load_cert_chain(file.name)
    return context


async def _object(response: aiohttp.ClientResponse) -> Object:
    """Return the object of a response; raises ApiError where it has none or failed."""
    content = await response.read()
    try:
        body: object = json.loads(content)
    except ValueError:
        body = content.decode(errors="replace")
    if response.ok and isinstance(body, dict):
        return body
    if isinstance(body, dict) and body.get("kind") == "Status":
        raise ApiError(response.status, body.get("reason", ""), body.get("message", ""))
    raise ApiError(response.status, "", str(body)[:500])
