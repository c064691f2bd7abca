"""serviceaccounts/token and TokenReview."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import orjson
from aiohttp import web

from streamops_sandbox import timestamps
from streamops_sandbox.kube import errors
from streamops_sandbox.kube.authn import Authentication, authenticated
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.rest import Call
from streamops_sandbox.kube.subresources.access import answer
from streamops_sandbox.kube.tokens import Binding, TokenSigner
from streamops_sandbox.objects import Object

_MIN_SECONDS = 600
_MAX_SECONDS = 2**32
_DEFAULT_SECONDS = 3600
_BOUND = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}


class TokenRequests:
    """Issues tokens of service accounts."""

    def __init__(self, signer: TokenSigner) -> None:
        self._signer = signer

    async def __call__(self, call: Call) -> web.StreamResponse:
        """POST of a TokenRequest."""
        if call.info.verb != "create":
            raise errors.method_not_allowed()
        namespace, name = call.info.namespace, call.info.name
        account = call.server.api.require(call.resource, namespace, name)
        request = call.object("TokenRequest") if call.body.strip() else {}
        spec = request.get("spec") or {}
        seconds = spec.get("expirationSeconds") or _DEFAULT_SECONDS
        _check(seconds)
        bound = self._binding(call, spec.get("boundObjectRef"))
        token, end = self._signer.issue(
            namespace,
            name,
            account.uid,
            audiences=spec.get("audiences") or (),
            seconds=seconds,
            bound=bound,
        )
        request_answer = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {
                "name": name,
                "namespace": namespace,
                "uid": str(uuid.uuid4()),
                "creationTimestamp": timestamps.now(),
            },
            "spec": {
                "audiences": spec.get("audiences") or [self._signer.issuer],
                "expirationSeconds": seconds,
                "boundObjectRef": spec.get("boundObjectRef"),
            },
            "status": {
                "token": token,
                "expirationTimestamp": datetime.fromtimestamp(end, UTC).strftime(
                    "%Y-%m-%dT%H:%M:%SZ"
                ),
            },
        }
        return call.answer_bytes(201, orjson.dumps(request_answer))

    @staticmethod
    def _binding(call: Call, reference: Object | None) -> Binding | None:
        if not reference:
            return None
        kind, name = reference.get("kind", ""), reference.get("name", "")
        plural = _BOUND.get(kind)
        if plural is None:
            raise errors.bad_request(
                f"cannot bind token for serviceaccount {call.info.name!r} to {kind}".replace(
                    "'", '"'
                )
            )
        space = "" if kind == "Node" else call.info.namespace
        uid = call.server.api.uid_of(plural, space, name)
        if uid is None:
            raise errors.not_found("", plural, name)
        if reference.get("uid") and reference["uid"] != uid:
            raise errors.conflict(
                "",
                plural,
                name,
                f"the UID in the bound object reference ({reference['uid']}) does not match the "
                f"UID in record. The object might have been deleted and then recreated",
            )
        return Binding(kind, name, uid)


def _check(seconds: int) -> None:
    found, field = Causes(), "spec.expirationSeconds"
    if seconds < _MIN_SECONDS:
        found.invalid(field, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > _MAX_SECONDS:
        found.invalid(field, seconds, "may not specify a duration larger than 2^32 seconds")
    if found:
        raise errors.invalid("authentication.k8s.io", "TokenRequest", "", found)


class TokenReviews:
    """Says whose a token is."""

    def __init__(self, signer: TokenSigner, authentication: Authentication) -> None:
        self._signer = signer
        self._authentication = authentication

    async def __call__(self, call: Call) -> web.StreamResponse:
        """POST of a TokenReview."""
        review = call.object()
        spec = review.get("spec") or {}
        token, audiences = spec.get("token") or "", spec.get("audiences") or []
        if not token:
            raise errors.bad_request("token is required for TokenReview in authentication")
        status: Object = {"user": {}}
        found = self._signer.verify(token, audiences)
        if found is not None:
            status = {
                "authenticated": True,
                "user": authenticated(found[0]).info(),
                "audiences": found[1],
            }
        elif not audiences or self._signer.issuer in audiences:
            user = await self._authentication.by_token(token)
            if user is not None:
                status = {
                    "authenticated": True,
                    "user": user.info(),
                    "audiences": [self._signer.issuer],
                }
        if not status.get("authenticated"):
            status["error"] = "invalid bearer token"
        return answer(call, spec, status)
