"""Reviews of access: who may do what, and who am I."""

from __future__ import annotations

import orjson
from aiohttp import web

from streamops_sandbox import timestamps
from streamops_sandbox.kube import errors, managed
from streamops_sandbox.kube.authn import User
from streamops_sandbox.kube.authz import Attributes, Authorizer
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.rest import Call
from streamops_sandbox.objects import Object


class AccessReviews:
    """Answers SubjectAccessReview and its relatives."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def __call__(self, call: Call) -> web.StreamResponse:
        """POST of a (Local|Self)SubjectAccessReview."""
        review = call.object()
        spec = review.get("spec") or {}
        kind = call.resource.kind
        resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        found = Causes()
        wrong = review.get("kind", kind)
        if wrong != kind:
            scheme = 'in scheme "pkg/runtime/scheme.go:111"'
            version = call.resource.api_version
            why = f'no kind "{wrong}" is registered for version "{version}" {scheme}'
            text = f'{wrong} in version "{call.info.version}" cannot be handled as a {kind}: {why}'
            raise errors.bad_request(text)
        if resource and other:
            shown = {"Path": other.get("path", ""), "Verb": other.get("verb", "")}
            why = "cannot be specified in combination with resourceAttributes"
            found.invalid("spec.nonResourceAttributes", shown, why)
        elif (resource is None) == (other is None):
            why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            found.invalid("spec.resourceAttributes", None, why)
        local = kind == "LocalSubjectAccessReview"
        place = (resource or {}).get("namespace")
        if kind != "SelfSubjectAccessReview" and not (spec.get("user") or spec.get("groups")):
            found.invalid("spec.user", "", "at least one of user or group must be specified")
        elif local and place != call.info.namespace:
            why = "must match metadata.namespace"
            found.invalid("spec.resourceAttributes.namespace", place or "", why)
        if found:
            raise errors.invalid("authorization.k8s.io", "", "", found)
        user = call.user
        if kind != "SelfSubjectAccessReview":
            user = User(
                spec.get("user", ""),
                tuple(spec.get("groups") or ()),
                spec.get("uid", ""),
                spec.get("extra") or {},
            )
        decision = self._authorizer.decide(user, _attributes(resource, other))
        status: Object = {"allowed": decision.allowed}
        if decision.reason:
            status["reason"] = decision.reason
        return answer(call, spec, status)


def _attributes(resource: Object | None, other: Object | None) -> Attributes:
    if resource is None:
        wanted = other or {}
        return Attributes(wanted.get("verb", ""), path=wanted.get("path", ""))
    return Attributes(
        resource.get("verb", ""),
        resource.get("group", ""),
        resource.get("resource", ""),
        resource.get("subresource", ""),
        resource.get("namespace", ""),
        resource.get("name", ""),
    )


class RulesReviews:
    """Lists what the asking user may do in a namespace."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    async def __call__(self, call: Call) -> web.StreamResponse:
        """POST of a SelfSubjectRulesReview."""
        spec = call.object().get("spec") or {}
        if not spec.get("namespace"):
            raise errors.bad_request("no namespace on request")
        resources: list[Object] = []
        paths: list[Object] = []
        for rule, _ in self._authorizer.rules(call.user, spec["namespace"]):
            if rule.get("nonResourceURLs"):
                paths.append({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
            else:
                resources.append(
                    {
                        key: rule[key]
                        for key in ("verbs", "apiGroups", "resources", "resourceNames")
                        if rule.get(key)
                    }
                )
        status = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
        return answer(call, {}, status)


async def who_am_i(call: Call) -> web.StreamResponse:
    """Answer a SelfSubjectReview."""
    return answer(call, None, {"userInfo": call.user.info()})


def answer(call: Call, spec: Object | None, status: Object) -> web.Response:
    """Return a review with its status: an object that is never stored."""
    review: Object = {
        "kind": call.resource.kind,
        "apiVersion": call.resource.api_version,
        "metadata": {},
    }
    if call.info.namespace:
        review["metadata"]["namespace"] = call.info.namespace
    if call.resource.kind == "SelfSubjectReview":
        review["metadata"]["creationTimestamp"] = timestamps.now()
    if spec is not None:
        review["spec"] = spec
        if spec and not call.info.namespace:
            owner = managed.Manager(call.write.manager, managed.UPDATE, call.resource.api_version)
            review = managed.track_update(
                None, review, owner, call.resource.schema, has_status=True
            )
    review["status"] = status
    return call.answer_bytes(201, orjson.dumps(review))
