"""Which admission webhooks a write concerns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from streamops_sandbox.kube import selectors
from streamops_sandbox.kube.api import Api
from streamops_sandbox.kube.resources import Resource

Json = dict[str, Any]

MUTATING = "mutatingwebhookconfigurations.admissionregistration.k8s.io"
VALIDATING = "validatingwebhookconfigurations.admissionregistration.k8s.io"
_NAMESPACES = "namespaces"


class Hook:
    """One webhook of a configuration, as it is stored, ready for matching."""

    def __init__(self, source: Json) -> None:
        self.name: str = source["name"]
        self.client: Json = source["clientConfig"]
        self.rules: list[Json] = source.get("rules") or []
        self.namespaces = selectors.from_object(source.get("namespaceSelector"))
        self.objects = selectors.from_object(source.get("objectSelector"))
        self.ignore_failure = source["failurePolicy"] == "Ignore"
        self.exact = source["matchPolicy"] == "Exact"
        self.timeout = float(source["timeoutSeconds"])
        self.reinvoke = source.get("reinvocationPolicy") == "IfNeeded"
        self.dry_run = source.get("sideEffects") in ("None", "NoneOnDryRun")
        self.review_versions: list[str] = source["admissionReviewVersions"]
        self.conditions = [item["expression"] for item in source.get("matchConditions") or []]


@dataclass(slots=True)
class Subject:
    """What is matched: a write to an object of a type."""

    resource: Resource
    operation: str
    subresource: str
    namespace: str
    name: str
    labels: list[Mapping[str, str]]  # of the new and the old object, as far as there are any


class Matcher:
    """Finds hooks; reads the configurations again only when they have changed."""

    def __init__(self, api: Api, collection: str) -> None:
        self._api = api
        self._collection = api.store.collection(collection)
        self._read_at = -1
        self._hooks: list[Hook] = []

    def matching(self, subject: Subject) -> Iterator[tuple[Hook, Resource]]:
        """The hooks to call, in order, each with the version of the type it wants to see."""
        for hook in self._current():
            if not self._selects(hook, subject):
                continue
            version = self._version(hook, subject)
            if version is not None:
                yield hook, version

    def _current(self) -> list[Hook]:
        if self._read_at != self._collection.latest:
            self._read_at = self._collection.latest
            self._hooks = [
                Hook(source)
                for item in self._collection.items()
                for source in item.load().get("webhooks") or []
            ]
        return self._hooks

    def _version(self, hook: Hook, subject: Subject) -> Resource | None:
        if _ruled(hook, subject, subject.resource):
            return subject.resource
        if hook.exact:
            return None
        resource = subject.resource
        for other in self._api.registry.versions_of(resource.group, resource.plural):
            if other is not resource and _ruled(hook, subject, other):
                return other
        return None

    def _selects(self, hook: Hook, subject: Subject) -> bool:
        if hook.objects and not any(hook.objects.matches(labels) for labels in subject.labels):
            return False
        if not hook.namespaces:
            return True
        if subject.resource.collection == _NAMESPACES:
            return any(hook.namespaces.matches(labels) for labels in subject.labels)
        if not subject.resource.namespaced:
            return True
        stored = self._api.get(_NAMESPACES, "", subject.namespace)
        return hook.namespaces.matches(stored.labels if stored else {})


def _ruled(hook: Hook, subject: Subject, resource: Resource) -> bool:
    return any(_rule_matches(rule, subject, resource) for rule in hook.rules)


def _rule_matches(rule: Json, subject: Subject, resource: Resource) -> bool:
    for key, value in (
        ("operations", subject.operation),
        ("apiGroups", resource.group),
        ("apiVersions", resource.version),
    ):
        if not {"*", value} & set(rule.get(key) or []):
            return False
    scope = "Namespaced" if resource.namespaced else "Cluster"
    return rule["scope"] in ("*", scope) and any(
        _resource_matches(pattern, resource.plural, subject.subresource)
        for pattern in rule.get("resources") or []
    )


def _resource_matches(pattern: str, plural: str, subresource: str) -> bool:
    name, _, sub = pattern.partition("/")
    return (
        name in ("*", plural)
        and sub in (("*", subresource) if sub else ("", subresource))
        and (bool(sub) == bool(subresource) or sub == "*")
    )
