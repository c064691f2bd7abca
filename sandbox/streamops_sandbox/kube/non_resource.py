"""Paths that are no resources: health, version, discovery, OpenAPI, the token issuer's keys."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from aiohttp import web

from streamops_sandbox.kube import builtin_schemas, discovery, errors, negotiation
from streamops_sandbox.kube.authn import User
from streamops_sandbox.kube.openapi import OpenApi
from streamops_sandbox.kube.requestinfo import RequestInfo
from streamops_sandbox.kube.resources import Registry
from streamops_sandbox.kube.tokens import TokenSigner
from streamops_sandbox.objects import Object

_HEALTH = ("healthz", "livez", "readyz")
_OPENID = "/.well-known/openid-configuration"
_JWKS = "/openid/v1/jwks"


@dataclass(slots=True)
class NonResource:
    """Answers everything outside of resources."""

    registry: Registry
    signer: TokenSigner
    openapi: OpenApi
    version_file: Path | None
    _cache: dict[str, tuple[int, bytes]] = field(default_factory=dict, init=False)

    async def serve(
        self, request: web.BaseRequest, info: RequestInfo, user: User
    ) -> web.StreamResponse:
        """Answer one GET; raises a 404 for a path nobody knows."""
        parts = info.path.strip("/").split("/")
        if parts[0] in _HEALTH:
            if parts[1:] in ([], ["ping"], ["log"], ["etcd"]):
                return web.Response(text="ok")
            raise errors.NoSuchRoute
        if request.method not in ("GET", "HEAD") and parts[0] != "apis":
            raise errors.method_not_allowed()
        if parts[0] == "version":
            return _json(self._version())
        if parts[0] in ("api", "apis"):
            return self._discovery(request, parts)
        if parts[:2] == ["openapi", "v3"]:
            return self.openapi.serve(request, parts[2:])
        if info.path == _OPENID:
            host = request.headers.get("Host", "")
            return _json(self.signer.openid_configuration(f"https://{host}{_JWKS}"))
        if info.path == _JWKS:
            accepted = request.headers.get("Accept", "*/*")
            if not any(word in accepted for word in ("*/*", "application/*", "jwk-set")):
                raise errors.not_acceptable(["application/jwk-set+json"])
            return _json(self.signer.jwks(), "application/jwk-set+json")
        if info.path in ("/", ""):
            return _json({"paths": ["/api", "/apis", *(f"/{name}" for name in _HEALTH)]})
        # kubectl asks for the second version of OpenAPI where the third does not help.
        raise errors.no_such_path() if parts[0] == "openapi" else errors.NoSuchRoute

    def _version(self) -> Object:
        """Return the version of a managed cluster, which the file has, or the sandbox's own."""
        full = f"{builtin_schemas.kubernetes_version()}-sandbox"
        if self.version_file and self.version_file.exists():
            full = self.version_file.read_text(encoding="utf-8")
        major, minor, _ = full.removeprefix("v").split(".", 2)
        return {
            "major": major,
            "minor": minor,
            "gitVersion": full,
            "gitCommit": "",
            "gitTreeState": "clean",
            "buildDate": "1970-01-01T00:00:00Z",
            "goVersion": "",
            "compiler": f"python{sys.version_info.major}.{sys.version_info.minor}",
            "platform": "linux/amd64",
        }

    def _discovery(self, request: web.BaseRequest, parts: list[str]) -> web.Response:
        root, *rest = parts
        accepted = request.headers.get("Accept", "")
        if not rest and negotiation.accepts_aggregated_discovery(accepted):
            return self._aggregated(request, root)
        if not rest and root == "api":
            return _json(discovery.core_versions(request.headers.get("Host", "")))
        if not rest:
            return _json(discovery.group_list(self.registry))
        group, version_name, *_ = ["", *rest] if root == "api" else [*rest, ""]
        if not version_name:
            versions = self.registry.group_versions().get(group)
            if not versions:
                raise errors.NoSuchRoute
            kind = {"kind": "APIGroup", "apiVersion": "v1"}
            return _json({**kind, **discovery.group(group, versions)})
        if not self.registry.has_version(group, version_name):
            raise errors.no_such_path() if group in self.registry else errors.NoSuchRoute
        return _json(discovery.resource_list(self.registry, group, version_name))

    def _aggregated(self, request: web.BaseRequest, key: str) -> web.Response:
        cached = self._cache.get(key)
        if cached is None or cached[0] != self.registry.generation:
            body = orjson.dumps(discovery.aggregated(self.registry, core=key == "api"))
            cached = self._cache[key] = (self.registry.generation, body)
        tag = f'"{key}-{cached[0]}"'
        headers = {"ETag": tag, "Vary": "Accept", "Content-Type": discovery.AGGREGATED}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        return web.Response(body=cached[1], headers=headers)


def _json(value: Object, media: str = "application/json") -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type=media)
