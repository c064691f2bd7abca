"""SinkBinding: the reconciler and the webhook that both put the sink into its subjects.

As upstream's `psbinding`: the webhook catches subjects that come or change, the reconciler
patches those that are there. Both run in the eventing-webhook Deployment.
"""

from __future__ import annotations

import contextlib
import copy
import json
from typing import Any

import jsonpatch

from streamops_sandbox.client import ApiError, Client
from streamops_sandbox.controller import Controller, key_of
from streamops_sandbox.informer import Informer
from streamops_sandbox.knative.conditions import Conditions
from streamops_sandbox.knative.configmaps import feature
from streamops_sandbox.knative.reconciler import Reconciler, Tracker, not_found, plural
from streamops_sandbox.knative.resolver import Address, Unresolved, resolve
from streamops_sandbox.label_selectors import matches
from streamops_sandbox.objects import Object

_API = "sources.knative.dev/v1"
_INCLUDE, _EXCLUDE = "bindings.knative.dev/include", "bindings.knative.dev/exclude"
_BUILT_IN = {
    ("apps", "Deployment"): {"v1"},
    ("apps", "StatefulSet"): {"v1"},
    ("apps", "DaemonSet"): {"v1"},
    ("batch", "Job"): {"v1"},
}
_TRUST_BUNDLES = "networking.knative.dev/trust-bundle"


class SinkBindingReconciler(Reconciler):
    """Keeps the subjects of SinkBindings bound and undoes that when a binding goes."""

    api_version = _API
    kind = "SinkBinding"
    finalizer = "sinkbindings.sources.knative.dev"
    dependents = (
        "SinkBindingAvailable",
        "SinkProvided",
        "OIDCIdentityCreated",
        "OIDCTokenSecretCreated",
        "TrustBundlePropagated",
    )

    def __init__(self, client: Client, config: Informer) -> None:
        super().__init__(client)
        self._config = config
        config.subscribe(self.enqueue_all)
        self._namespaces = self.watch(client.informer("v1", "Namespace"), lambda _: ())

    async def reconcile_kind(self, obj: Object, conditions: Conditions) -> None:
        """Bind the subjects, then note the sink: with a subject missing nothing is known of it."""
        subjects = await self._subjects(obj, conditions)
        self._mark_trust_bundles(conditions)
        address, problem = None, ""
        try:
            address = await resolve(self.tracker, obj["spec"]["sink"], key=key_of(obj))
        except Unresolved as error:
            problem = f"Addressable could not be extracted from destination: {error}"
        await self._include_namespace(obj["metadata"]["namespace"])
        await self._bind(subjects, obj, address, conditions)
        if address is None:
            conditions.false("SinkProvided", "NoAddressable", problem)
            raise ApiError(404, "NotFound", problem)
        found = {"Uri": address.url, "CACerts": address.ca_certs, "Audience": address.audience}
        for name, value in found.items():
            obj["status"].pop(f"sink{name}", None)
            if value:
                obj["status"][f"sink{name}"] = value
        conditions.true("SinkProvided")
        self._mark_identity(conditions)

    async def finalize_kind(self, obj: Object) -> None:
        """Take the sink out of the subjects again."""
        try:
            unused = Conditions({}, ())
            await self._bind(await self._subjects(obj, unused), obj, None, unused)
        except ApiError as error:
            if error.status not in (403, 404):  # nothing there to undo, or no right to
                raise

    async def _bind(
        self, subjects: list[Object], obj: Object, address: Address | None, conditions: Conditions
    ) -> None:
        for found in subjects:
            if found["kind"] == "Job":
                continue  # its template cannot be changed: only the webhook binds Jobs
            wanted = copy.deepcopy(found)
            bind(wanted, obj, address)
            try:
                if changes := jsonpatch.make_patch(found, wanted).patch:
                    await self.client.patch(found, changes, patch_type="json")
            except ApiError as error:
                message = f"failed binding subject {found['metadata']['name']}: {error.message}"
                conditions.false("SinkBindingAvailable", "BindingFailed", message)
                raise
        conditions.true("SinkBindingAvailable")

    async def _subjects(self, obj: Object, conditions: Conditions) -> list[Object]:
        """Return the subjects, or note why there is none. Raises ApiError."""
        subject, key = obj["spec"]["subject"], key_of(obj)
        api_version, kind, name = subject["apiVersion"], subject["kind"], subject.get("name")
        namespace = subject.get("namespace") or obj["metadata"]["namespace"]
        try:
            if not name:
                return await self.tracker.select(
                    api_version, kind, namespace, subject.get("selector"), key=key
                )
            found = await self.tracker.get(api_version, kind, namespace, name, key=key)
        except ApiError as error:
            conditions.false("SinkBindingAvailable", "SubjectUnavailable", error.message)
            raise
        if found is None:
            message = not_found(api_version, kind, name)
            conditions.false("SinkBindingAvailable", "SubjectMissing", message)
            raise ApiError(404, "NotFound", message)
        return [found]

    async def _include_namespace(self, name: str) -> None:
        namespace = self._namespaces.get(name)
        labels = (namespace or {"metadata": {}})["metadata"].get("labels") or {}
        if not labels.get(_INCLUDE) and not labels.get(_EXCLUDE):
            included = {"metadata": {"labels": {_INCLUDE: "true"}}}
            wanted = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            await self.client.patch(wanted, included)

    def _mark_identity(self, conditions: Conditions) -> None:
        for kind in ("OIDCIdentityCreated", "OIDCTokenSecretCreated"):
            if feature(self._config, "authentication-oidc"):
                conditions.false(kind, "NotModelled", "OIDC token secrets are not modelled")
            else:
                conditions.true(kind, "authentication-oidc feature disabled")

    def _mark_trust_bundles(self, conditions: Conditions) -> None:
        found = (item["metadata"].get("labels") or {} for item in self._config.list())
        if any(_TRUST_BUNDLES in labels for labels in found):
            conditions.false(
                "TrustBundlePropagated", "NotModelled", "trust bundles are not modelled"
            )
        else:
            conditions.true("TrustBundlePropagated")


class SinkBindingWebhook(Controller):
    """Answers admission of possible subjects and says which kinds the webhook has to see."""

    def __init__(self, client: Client, bindings: Informer, *, inclusion: bool) -> None:
        super().__init__(client, "SinkBinding webhook")
        self._bindings = bindings
        self._inclusion = inclusion
        self._tracker = Tracker(client, self)

    async def handle(self, request: dict[str, Any]) -> Object:
        """Return the subject with the sink of the binding that applies to it, if any."""
        subject: Object = request.get("object") or {}
        binding = self._applicable(request, subject)
        if binding is None:
            return subject
        changed, address = copy.deepcopy(subject), None
        if not binding["metadata"].get("deletionTimestamp"):
            with contextlib.suppress(Unresolved):
                address = await resolve(self._tracker, binding["spec"]["sink"], key=key_of(binding))
        bind(changed, binding, address)
        return changed

    def settings(self) -> Object:
        """Return rules for all kinds that are bound, and the selectors of the selection mode."""
        kinds = {kind: set(versions) for kind, versions in _BUILT_IN.items()}
        for binding in self._bindings.list():
            subject = binding["spec"]["subject"]
            group, _, version = subject["apiVersion"].rpartition("/")
            kinds.setdefault((group, subject["kind"]), set()).add(version)
        label, operator = (_INCLUDE, "In") if self._inclusion else (_EXCLUDE, "NotIn")
        term = {"key": label, "operator": operator, "values": ["true"]}
        return {
            "matchPolicy": "Equivalent",
            "namespaceSelector": {"matchExpressions": [term]},
            "objectSelector": {"matchExpressions": [term]},
            "rules": [
                {
                    "apiGroups": [group],
                    "apiVersions": sorted(versions),
                    "operations": ["CREATE", "UPDATE"],
                    "resources": [f"{plural(kind)}/*"],
                    "scope": "*",
                }
                for (group, kind), versions in sorted(kinds.items())
            ],
        }

    def _applicable(self, request: dict[str, Any], subject: Object) -> Object | None:
        """Return the binding of a subject: one by name before one by selector, the latest of several."""
        kind, namespace = request["kind"], request.get("namespace")
        metadata = subject.get("metadata") or {}
        by_name = by_selector = None
        for binding in self._bindings.list(namespace):
            wanted = binding["spec"]["subject"]
            group = wanted["apiVersion"].rpartition("/")[0]
            if (group, wanted["kind"]) != (kind["group"], kind["kind"]):
                continue
            if wanted.get("name"):
                if wanted["name"] == metadata.get("name"):
                    by_name = binding
            elif matches(wanted.get("selector"), metadata.get("labels")):
                by_selector = binding
        return by_name or by_selector


_VARIABLES = ("K_SINK", "K_CE_OVERRIDES", "K_CA_CERTS")


def bind(subject: dict[str, Any], binding: dict[str, Any], address: Address | None) -> None:
    """Inject the sink into every container of a subject; without an address only remove it."""
    for container in _containers(subject):
        env = container.get("env") or []
        if any(item.get("name") in _VARIABLES for item in env):
            container["env"] = [item for item in env if item.get("name") not in _VARIABLES]
    if address is None:
        return
    variables = [{"name": "K_SINK", "value": address.url}]
    if address.ca_certs:
        variables.append({"name": "K_CA_CERTS", "value": address.ca_certs})
    encoded = _encoded(binding["spec"].get("ceOverrides"))
    variables.append({"name": "K_CE_OVERRIDES", "value": encoded})
    for container in _containers(subject):
        container["env"] = [*(container.get("env") or []), *variables]


def _encoded(overrides: dict[str, Any] | None) -> str:
    """Write overrides as Go's encoder does: empty maps left out, `<`, `>` and `&` escaped."""
    if overrides is None:
        return ""
    kept = {name: value for name, value in overrides.items() if value}
    text = json.dumps(kept, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _containers(subject: dict[str, Any]) -> list[dict[str, Any]]:
    pod = ((subject.get("spec") or {}).get("template") or {}).get("spec") or {}
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]
