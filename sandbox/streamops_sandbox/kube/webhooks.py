"""Admission webhooks: which a write concerns, asking them, taking their patches, passing on their refusals.

https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import uuid
from functools import partial

import aiohttp
import orjson

from streamops_sandbox.kube import cel, errors, patches
from streamops_sandbox.kube.api import Api, Review
from streamops_sandbox.kube.resources import Resource
from streamops_sandbox.kube.webhook_client import WebhookError, post
from streamops_sandbox.label_selectors import matches
from streamops_sandbox.objects import Object

_LOG = logging.getLogger(__name__)
#: Configurations of webhooks are never sent to webhooks: that could lock everybody out.
_EXEMPT_GROUP = "admissionregistration.k8s.io"


class Webhooks:
    """Calls the configured webhooks of one server."""

    def __init__(self, api: Api, session: aiohttp.ClientSession) -> None:
        self._post = partial(post, api, session)
        self._mutating = Matcher(api, MUTATING)
        self._validating = Matcher(api, VALIDATING)

    async def mutate(self, review: Review) -> Object | None:
        """Send the object through all mutating webhooks; None where none changes it."""
        hooks = self._mutating.matching(review)
        original = review.obj
        await self._round(review, hooks)
        if review.obj is original:
            return None
        await self._round(review, [(hook, version) for hook, version in hooks if hook.reinvoke])
        return review.obj

    async def _round(self, review: Review, hooks: list[tuple[Hook, Resource]]) -> None:
        for hook, version in hooks:
            response = await self._ask(hook, version, review)
            if response.get("patch") and review.obj is not None:
                review.obj = _patched(hook, version, review, response)

    async def validate(self, review: Review) -> None:
        """Ask all validating webhooks at once; raises the first refusal."""
        hooks = self._validating.matching(review)
        results = await asyncio.gather(
            *(self._ask(hook, version, review) for hook, version in hooks),
            return_exceptions=True,
        )
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _ask(self, hook: Hook, version: Resource, review: Review) -> Object:
        """One hook's response; empty where its failure is to be ignored. Raises StatusError."""
        if review.write.dry_run and not hook.dry_run:
            raise errors.bad_request(f'admission webhook "{hook.name}" does not support dry run')
        request = _request(version, review)
        try:
            response = await self._response(hook, request)
        except WebhookError as error:
            if hook.ignore_failure:
                _LOG.warning("failing open: %s", error)
                return {}
            raise errors.internal(str(error)) from error
        review.write.warnings.extend(response.get("warnings") or [])
        if not response.get("allowed", not response):
            raise _denial(hook.name, response.get("status") or {})
        return response

    async def _response(self, hook: Hook, request: Object) -> Object:
        """Return what a hook answers; empty where its conditions do not hold. Raises WebhookError."""
        name, data = f'webhook "{hook.name}"', {"request": request}
        data |= {key: request[key] for key in ("object", "oldObject")}
        try:
            if any(cel.evaluate(one, cel.ADMISSION, data) is not True for one in hook.conditions):
                return {}
        except cel.CelError as error:
            raise WebhookError(f"failed evaluating match conditions of {name}: {error}") from error
        review_version = next((v for v in hook.review_versions if v in ("v1", "v1beta1")), "v1")
        body = {
            "kind": "AdmissionReview", "apiVersion": f"admission.k8s.io/{review_version}",
            "request": request,
        }  # fmt: skip
        try:
            answer = await self._post(hook.client, body, hook.timeout)
        except WebhookError as error:
            text = f"failed calling {name}: failed to call webhook: {error}"
            raise WebhookError(text) from error
        response = answer.get("response")
        why = "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview"
        if isinstance(response, dict) and response.get("uid") != request["uid"]:
            why = f'expected response.uid="{request["uid"]}", got "{response.get("uid", "")}"'
        elif isinstance(response, dict):
            return {"allowed": False, **response}
        raise WebhookError(f"failed calling {name}: received invalid webhook response: {why}")


def _patched(hook: Hook, version: Resource, review: Review, response: Object) -> Object:
    name = f'admission webhook "{hook.name}"'
    if response.get("patchType") != "JSONPatch":
        text = f"{name} returned response.patch but not response.patchType"
        raise errors.internal(text)
    try:
        operations = orjson.loads(base64.b64decode(response["patch"], validate=True))
    except (binascii.Error, orjson.JSONDecodeError) as error:
        raise errors.internal(f"{name}: {error}") from error
    assert review.obj is not None
    seen = {**review.obj, "apiVersion": version.api_version}
    changed = patches.json_patch(seen, operations or [])
    changed["apiVersion"] = review.resource.api_version
    return changed if changed != review.obj else review.obj


def _request(version: Resource, review: Review) -> Object:
    request: Object = {
        "uid": str(uuid.uuid4()),
        **_types(version, "kind", "resource"),
        **_types(review.resource, "requestKind", "requestResource"),
        "name": review.name,
        "operation": review.operation,
        "userInfo": review.write.user.info(),
        "object": _seen(review.obj, version),
        "oldObject": _seen(review.old, version),
        "dryRun": review.write.dry_run,
        "options": {
            "kind": f"{review.operation.capitalize()}Options",
            "apiVersion": "meta.k8s.io/v1",
            **review.options,
        },
    }
    if review.namespace:
        request["namespace"] = review.namespace
    elif review.resource.collection == "namespaces":
        request["namespace"] = review.name
    if review.subresource:
        request["subResource"] = request["requestSubResource"] = review.subresource
    return request


def _types(resource: Resource, kind: str, plural: str) -> Object:
    place = {"group": resource.group, "version": resource.version}
    return {kind: {**place, "kind": resource.kind}, plural: {**place, "resource": resource.plural}}


def _seen(obj: Object | None, version: Resource) -> Object | None:
    return None if obj is None else {**obj, "apiVersion": version.api_version}


def _denial(name: str, result: Object) -> errors.StatusError:
    """A webhook's refusal (k8s.io/apiserver/pkg/admission/plugin/webhook/errors)."""
    denied = f'admission webhook "{name}" denied the request'
    explanation = result.get("message") or result.get("reason")
    message = f"{denied}: {explanation}" if explanation else f"{denied} without explanation"
    code = max(int(result.get("code") or 0), 400)
    return errors.StatusError(
        code, result.get("reason", ""), message, details=result.get("details")
    )


MUTATING = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VALIDATING = "validatingwebhookconfigurations.admissionregistration.k8s.io"
_NAMESPACES = "namespaces"


class Hook:
    """One webhook of a configuration, as it is stored, ready for matching."""

    def __init__(self, source: Object) -> None:
        self.name: str = source["name"]
        self.client: Object = source["clientConfig"]
        self.rules: list[Object] = source.get("rules") or []
        self.groups = {group for rule in self.rules for group in rule.get("apiGroups") or []}
        self.namespaces: Object = source["namespaceSelector"]
        self.objects: Object = source["objectSelector"]
        self.ignore_failure = source["failurePolicy"] == "Ignore"
        self.exact = source["matchPolicy"] == "Exact"
        self.timeout = float(source["timeoutSeconds"])
        self.reinvoke = source.get("reinvocationPolicy") == "IfNeeded"
        self.dry_run = source.get("sideEffects") in ("None", "NoneOnDryRun")
        self.review_versions: list[str] = source["admissionReviewVersions"]
        self.conditions = [item["expression"] for item in source.get("matchConditions") or []]


class Matcher:
    """Finds hooks; reads the configurations again only when they have changed."""

    def __init__(self, api: Api, collection: str) -> None:
        self._api = api
        self._collection = api.store.collection(collection)
        self._read_at = -1
        self._hooks: list[Hook] = []

    def matching(self, review: Review) -> list[tuple[Hook, Resource]]:
        """Return the hooks to call, in order, each with the version of the type it wants to see."""
        found = []
        for hook in self._current() if review.resource.group != _EXEMPT_GROUP else ():
            of_group = bool({review.resource.group, "*"} & hook.groups)
            if of_group and self._selects(hook, review):
                version = self._version(hook, review)
                found += [(hook, version)] if version is not None else []
        return found

    def _current(self) -> list[Hook]:
        if self._read_at != self._collection.latest:
            self._read_at = self._collection.latest
            self._hooks = [
                Hook(source)
                for item in self._collection.items()
                for source in item.load().get("webhooks") or []
            ]
        return self._hooks

    def _version(self, hook: Hook, review: Review) -> Resource | None:
        resource = review.resource
        versions = [resource]
        if not hook.exact:
            versions += self._api.registry.versions_of(resource.group, resource.plural)
        for version in versions:
            if any(_rule_matches(rule, review, version) for rule in hook.rules):
                return version
        return None

    def _selects(self, hook: Hook, review: Review) -> bool:
        labels = [
            (obj.get("metadata") or {}).get("labels") or {}
            for obj in (review.obj, review.old)
            if obj is not None
        ]
        if not any(matches(hook.objects, one) for one in labels):
            return False
        if review.resource.collection == _NAMESPACES:
            return any(matches(hook.namespaces, one) for one in labels)
        if not review.resource.namespaced:
            return True
        stored = self._api.get(_NAMESPACES, "", review.namespace)
        return matches(hook.namespaces, stored.labels if stored else {})


def _rule_matches(rule: Object, review: Review, resource: Resource) -> bool:
    for key, value in (
        ("operations", review.operation),
        ("apiGroups", resource.group),
        ("apiVersions", resource.version),
    ):
        if not {"*", value} & set(rule.get(key) or []):
            return False
    scope = "Namespaced" if resource.namespaced else "Cluster"
    return rule["scope"] in ("*", scope) and any(
        _resource_matches(pattern, resource.plural, review.subresource)
        for pattern in rule.get("resources") or []
    )


def _resource_matches(pattern: str, plural: str, subresource: str) -> bool:
    name, _, sub = pattern.partition("/")
    return (
        name in ("*", plural)
        and sub in (("*", subresource) if sub else ("", subresource))
        and (bool(sub) == bool(subresource) or sub == "*")
    )
