"""Defaulting of Eventing's kinds: what its mutating webhook fills in."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from streamops_sandbox.informer import Informer
from streamops_sandbox.knative import configmaps
from streamops_sandbox.knative.eventing.names import BROKER_CLASS
from streamops_sandbox.knative.fielderrors import Denied, json_type
from streamops_sandbox.objects import Object


def default(config: Informer, request: Object, obj: Object) -> None:
    """Fill in an object's defaults; `config` is the informer of Eventing's ConfigMaps."""
    by_kind: dict[str, Callable[[Object, str], None]] = {
        "Broker": partial(_broker, config),
        "Trigger": _trigger,
        "SinkBinding": _sink_binding,
        "ContainerSource": _source,
    }
    if fill := by_kind.get(request["kind"]["kind"]):
        obj.setdefault("spec", {})
        fill(obj, request.get("namespace") or "")
    annotate_user(obj, request, request["kind"]["group"])


def _broker(config: Informer, obj: Object, namespace: str) -> None:
    found = configmaps.defaults(config, "config-br-defaults", "default-br-config", namespace)
    annotations = obj["metadata"].setdefault("annotations", {})
    annotations.setdefault(BROKER_CLASS, found.get("brokerClass", "MTChannelBasedBroker"))
    spec = obj["spec"]
    reference = {k: found[k] for k in ("apiVersion", "kind", "name", "namespace") if k in found}
    if reference:
        spec.setdefault("config", reference)
        spec["config"].setdefault("namespace", namespace)
    if found.get("delivery"):
        spec.setdefault("delivery", found["delivery"])
    _delivery(spec, namespace)


def _trigger(obj: Object, namespace: str) -> None:
    spec = obj["spec"]
    if not spec.get("broker") and not spec.get("brokerRef"):
        spec["broker"] = "default"
    if spec.get("broker"):
        labels = obj["metadata"].setdefault("labels", {})
        labels["eventing.knative.dev/broker"] = spec["broker"]
    spec.setdefault("filter", {})
    _destination(spec.get("subscriber"), namespace)
    _delivery(spec, namespace)


def _sink_binding(obj: Object, namespace: str) -> None:
    subject = obj["spec"].get("subject")
    if isinstance(subject, dict) and not subject.get("namespace"):
        subject["namespace"] = namespace
    _source(obj, namespace)


def _source(obj: Object, namespace: str) -> None:
    overrides = obj["spec"].get("ceOverrides") or {}
    for value in (overrides.get("extensions") or {}).values():
        if not isinstance(value, str):
            raise Denied(
                "mutation failed: cannot decode incoming new object: json: cannot unmarshal "
                f"{json_type(value)} into Go struct field "
                f"{obj['kind']}Spec.spec.ceOverrides.extensions of type string"
            )
    _destination(obj["spec"].get("sink"), namespace)


def _delivery(spec: Object, namespace: str) -> None:
    delivery = spec.get("delivery")
    if isinstance(delivery, dict):
        _destination(delivery.get("deadLetterSink"), namespace)


def _destination(destination: Object | None, namespace: str) -> None:
    ref = (destination or {}).get("ref")
    if isinstance(ref, dict) and not ref.get("namespace"):
        ref["namespace"] = namespace


def annotate_user(obj: Object, request: Object, group: str) -> None:
    """Note who made and who last changed an object, as knative.dev/pkg does."""
    user = (request.get("userInfo") or {}).get("username", "")
    if not user:
        return
    annotations = obj["metadata"].setdefault("annotations", {})
    creator, modifier = f"{group}/creator", f"{group}/lastModifier"
    if request["operation"] == "CREATE":
        annotations[creator] = annotations[modifier] = user
    elif (request.get("oldObject") or {}).get("spec") != obj.get("spec"):
        annotations[modifier] = user
