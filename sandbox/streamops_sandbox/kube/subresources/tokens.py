"""serviceaccounts/token and TokenReview."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

import orjson
from aiohttp import web

from streamops_sandbox import timestamps
from streamops_sandbox.kube import errors
from streamops_sandbox.kube.authn import authenticated
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.rest import Call
from streamops_sandbox.kube.subresources.access import answer
from streamops_sandbox.kube.tokens import BOUND_KINDS, Binding
from streamops_sandbox.objects import Object

_MIN_SECONDS = 600
_MAX_SECONDS = 2**32
_DEFAULT_SECONDS = 3600


async def request_token(call: Call) -> web.StreamResponse:
    """Issue a service account's token, which a TokenRequest describes."""
    namespace, name = call.info.namespace, call.info.name
    account = call.server.api.require(call.resource, namespace, name)
    request = call.object("TokenRequest") if call.body.strip() else {}
    spec, signer = request.get("spec") or {}, call.server.signer
    seconds = spec.get("expirationSeconds") or _DEFAULT_SECONDS
    _check(seconds)
    reference, audiences = spec.get("boundObjectRef"), spec.get("audiences") or [signer.issuer]
    bound = _binding(call, reference) if reference else None
    token, end = signer.issue(
        namespace, name, account.uid, audiences=audiences, seconds=seconds, bound=bound
    )
    metadata = {
        "name": name, "namespace": namespace, "uid": str(uuid.uuid4()),
        "creationTimestamp": timestamps.now(),
    }  # fmt: skip
    expiry = timestamps.rfc3339(datetime.fromtimestamp(end, UTC))
    request_answer = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": metadata,
        "spec": {
            "audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": reference,
        },
        "status": {"token": token, "expirationTimestamp": expiry},
    }  # fmt: skip
    return call.answer_bytes(201, orjson.dumps(request_answer))


def _binding(call: Call, reference: Object) -> Binding:
    kind, name = reference.get("kind", ""), reference.get("name", "")
    plural = BOUND_KINDS.get(kind.lower())
    if plural is None:
        what = f'token for serviceaccount "{call.info.name}"'
        raise errors.bad_request(f"cannot bind {what} to {kind}")
    uid = call.server.api.uid_of(plural, "" if kind == "Node" else call.info.namespace, name)
    if uid is None:
        raise errors.not_found("", plural, name)
    if reference.get("uid") and reference["uid"] != uid:
        why = (
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in "
            "record. The object might have been deleted and then recreated"
        )
        raise errors.conflict("", plural, name, why)
    return Binding(kind, name, uid)


def _check(seconds: int) -> None:
    found, field = Causes(), "spec.expirationSeconds"
    if seconds < _MIN_SECONDS:
        found.invalid(field, seconds, "may not specify a duration less than 10 minutes")
    elif seconds > _MAX_SECONDS:
        found.invalid(field, seconds, "may not specify a duration larger than 2^32 seconds")
    if found:
        raise errors.invalid("authentication.k8s.io", "TokenRequest", "", found)


async def review_token(call: Call) -> web.StreamResponse:
    """Answer a POST of a TokenReview: whose a token is."""
    spec, signer = call.object().get("spec") or {}, call.server.signer
    token, audiences = spec.get("token") or "", spec.get("audiences") or []
    if not token:
        raise errors.bad_request("token is required for TokenReview in authentication")
    found = signer.verify(token, audiences)
    if found is None and (not audiences or signer.issuer in audiences):
        user = await call.server.authentication.by_token(token)
        found = (user, [signer.issuer]) if user else None
    if found is None:
        return answer(call, spec, {"user": {}, "error": "invalid bearer token"})
    info = authenticated(found[0]).info()
    return answer(call, spec, {"authenticated": True, "user": info, "audiences": found[1]})
