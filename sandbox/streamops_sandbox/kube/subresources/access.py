"""Reviews of access: who may do what, and who am I."""

from __future__ import annotations

import orjson
from aiohttp import web

from streamops_sandbox import timestamps
from streamops_sandbox.kube import errors, managed
from streamops_sandbox.kube.authn import User
from streamops_sandbox.kube.authz import Attributes
from streamops_sandbox.kube.kinds.causes import Causes
from streamops_sandbox.kube.rest import Call
from streamops_sandbox.objects import Object

_ATTRIBUTES = ("verb", "group", "resource", "subresource", "namespace", "name", "path")
_RULE_FIELDS = ("verbs", "apiGroups", "resources", "resourceNames")


async def review_access(call: Call) -> web.StreamResponse:
    """Answer a POST of a (Local|Self)SubjectAccessReview."""
    review, kind = call.object(), call.resource.kind
    given = review.get("kind", kind)
    if given != kind:
        why = errors.unregistered(given, call.resource.api_version)
        text = f'{given} in version "{call.info.version}" cannot be handled as a {kind}: {why}'
        raise errors.bad_request(text)
    spec, user = review.get("spec") or {}, call.user
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    _check(spec, kind, call.info.namespace)
    if kind != "SelfSubjectAccessReview":
        groups = tuple(spec.get("groups") or ())
        user = User(spec.get("user", ""), groups, spec.get("uid", ""), spec.get("extra") or {})
    wanted = resource or other or {}
    attributes = Attributes(*(wanted.get(key) or "" for key in _ATTRIBUTES))
    source = call.server.authorizer.decide(user, attributes)
    reason = {"reason": source} if source else {}
    return answer(call, spec, {"allowed": source is not None, **reason})


def _check(spec: Object, kind: str, namespace: str) -> None:
    """Check what a review asks; raises a 422."""
    resource, other = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    found = Causes()
    if resource and other:
        shown = {"Path": other.get("path", ""), "Verb": other.get("verb", "")}
        why = "cannot be specified in combination with resourceAttributes"
        found.invalid("spec.nonResourceAttributes", shown, why)
    elif (resource is None) == (other is None):
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        found.invalid("spec.resourceAttributes", None, why)
    place = (resource or {}).get("namespace", "")
    if kind != "SelfSubjectAccessReview" and not (spec.get("user") or spec.get("groups")):
        found.invalid("spec.user", "", "at least one of user or group must be specified")
    elif kind == "LocalSubjectAccessReview" and place != namespace:
        why = "must match metadata.namespace"
        found.invalid("spec.resourceAttributes.namespace", place, why)
    if found:
        raise errors.invalid("authorization.k8s.io", "", "", found)


async def review_rules(call: Call) -> web.StreamResponse:
    """Answer a POST of a SelfSubjectRulesReview: what the asking user may do in a namespace."""
    spec = call.object().get("spec") or {}
    if not spec.get("namespace"):
        raise errors.bad_request("no namespace on request")
    resources: list[Object] = []
    paths: list[Object] = []
    for rule, _ in call.server.authorizer.rules(call.user, spec["namespace"]):
        if rule.get("nonResourceURLs"):
            paths.append({"verbs": rule["verbs"], "nonResourceURLs": rule["nonResourceURLs"]})
        else:
            resources.append({key: rule[key] for key in _RULE_FIELDS if rule.get(key)})
    status = {"resourceRules": resources, "nonResourceRules": paths, "incomplete": False}
    return answer(call, {}, status)


async def who_am_i(call: Call) -> web.StreamResponse:
    """Answer a SelfSubjectReview."""
    return answer(call, None, {"userInfo": call.user.info()})


def answer(call: Call, spec: Object | None, status: Object) -> web.Response:
    """Return a review with its status: an object that is never stored."""
    resource, metadata = call.resource, dict[str, str]()
    if call.info.namespace:
        metadata["namespace"] = call.info.namespace
    if resource.kind == "SelfSubjectReview":
        metadata["creationTimestamp"] = timestamps.now()
    review: Object = {
        "kind": resource.kind, "apiVersion": resource.api_version, "metadata": metadata,
    }  # fmt: skip
    if spec is not None:
        review["spec"] = spec
        if spec and not call.info.namespace:
            owner = managed.Manager(call.write.manager, managed.UPDATE, resource.api_version)
            review = managed.track_update(None, review, owner, resource.schema)
    return call.answer_bytes(201, orjson.dumps({**review, "status": status}))
