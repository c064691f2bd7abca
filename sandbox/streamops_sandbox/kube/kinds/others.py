"""Defaults of RBAC, webhook configurations, autoscaling, policy, networking."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streamops_sandbox.kube import errors, names
from streamops_sandbox.kube.kinds import rules
from streamops_sandbox.kube.kinds.strategy import Strategy

if TYPE_CHECKING:
    from streamops_sandbox.kube.api import Api

Json = dict[str, Any]
_RBAC = "rbac.authorization.k8s.io"


class Counted(Strategy):
    """A kind of which only the generation is special."""

    tracks_generation = True


class RoleBindings(Strategy):
    """Role and ClusterRole bindings: the role they give cannot change."""

    def default(self, obj: Json) -> None:
        """Groups of the role and the subjects."""
        if obj.get("roleRef"):
            obj["roleRef"].setdefault("apiGroup", _RBAC)
        for subject in obj.get("subjects") or []:
            if subject.get("kind") in ("User", "Group"):
                subject.setdefault("apiGroup", _RBAC)

    def validate(self, obj: Json) -> list[Json]:
        """Kinds are those there are; service accounts need a namespace where the binding has none."""
        namespaced = bool(obj["metadata"].get("namespace"))
        roles = ("ClusterRole", "Role") if namespaced else ("ClusterRole",)
        kinds = ("Group", "ServiceAccount", "User")
        found = rules.one_of(obj, {"roleRef.kind": roles, "subjects[].kind": kinds})
        return found + [
            rules.required(f"subjects[{index}].namespace")
            for index, subject in enumerate(obj.get("subjects") or [])
            if subject.get("kind") == "ServiceAccount"
            and not subject.get("namespace")
            and not namespaced
        ]

    def validate_update(self, obj: Json, old: Json) -> list[Json]:
        """`roleRef` is fixed."""
        if obj.get("roleRef") == old.get("roleRef"):
            return []
        reference = obj.get("roleRef") or {}
        shown = (
            f'{{"apiGroup":"{reference.get("apiGroup", "")}","kind":"{reference.get("kind", "")}",'
            f'"name":"{reference.get("name", "")}"}}'
        )
        return [
            errors.cause(
                "FieldValueInvalid", "roleRef", f"Invalid value: {shown}: cannot change roleRef"
            )
        ]


class WebhookConfigurations(Strategy):
    """Validating and mutating webhook configurations."""

    tracks_generation = True

    def __init__(self, *, mutating: bool) -> None:
        self._mutating = mutating

    def default(self, obj: Json) -> None:
        """As pkg/apis/admissionregistration/v1/defaults.go."""
        for webhook in obj.get("webhooks") or []:
            webhook.setdefault("failurePolicy", "Fail")
            webhook.setdefault("matchPolicy", "Equivalent")
            webhook.setdefault("namespaceSelector", {})
            webhook.setdefault("objectSelector", {})
            webhook.setdefault("timeoutSeconds", 10)
            if self._mutating:
                webhook.setdefault("reinvocationPolicy", "Never")
            service = (webhook.get("clientConfig") or {}).get("service")
            if service is not None:
                service.setdefault("port", 443)
            for rule in webhook.get("rules") or []:
                rule.setdefault("scope", "*")

    def validate(self, obj: Json) -> list[Json]:
        """What the schema cannot say; CEL conditions are not modelled and refused (501)."""
        found = []
        for index, webhook in enumerate(obj.get("webhooks") or []):
            field = f"webhooks[{index}]"
            if webhook.get("matchConditions"):
                raise errors.not_implemented("matchConditions of webhooks")
            if not 1 <= webhook["timeoutSeconds"] <= 30:
                found.append(
                    errors.cause(
                        "FieldValueInvalid",
                        f"{field}.timeoutSeconds",
                        f"Invalid value: {webhook['timeoutSeconds']}: the timeout value must be "
                        "between 1 and 30 seconds",
                    )
                )
            if webhook.get("sideEffects") not in ("None", "NoneOnDryRun"):
                found.append(
                    rules.unsupported(
                        f"{field}.sideEffects",
                        webhook.get("sideEffects", ""),
                        ("None", "NoneOnDryRun"),
                    )
                )
            client = webhook.get("clientConfig") or {}
            if ("url" in client) == ("service" in client):
                found.append(
                    errors.cause(
                        "FieldValueRequired",
                        f"{field}.clientConfig",
                        "Required value: exactly one of url or service is required",
                    )
                )
        return found


class HorizontalPodAutoscalers(Strategy):
    """autoscaling/v2."""

    def default(self, obj: Json) -> None:
        """At least one replica; 80 % of the CPU."""
        spec = obj.setdefault("spec", {})
        spec.setdefault("minReplicas", 1)
        if not spec.get("metrics"):
            spec["metrics"] = [
                {
                    "type": "Resource",
                    "resource": {
                        "name": "cpu",
                        "target": {"type": "Utilization", "averageUtilization": 80},
                    },
                }
            ]
        for direction, period in (("scaleUp", 0), ("scaleDown", 300)):
            rules = (spec.get("behavior") or {}).get(direction)
            if rules is not None:
                rules.setdefault("selectPolicy", "Max")
                if direction == "scaleUp":
                    rules.setdefault("stabilizationWindowSeconds", period)

    def prepare_create(self, obj: Json, api: Api) -> None:
        """Nothing was observed yet."""
        obj["status"] = {"desiredReplicas": 0}

    def validate(self, obj: Json) -> list[Json]:
        """The bounds fit."""
        spec = obj["spec"]
        if spec.get("maxReplicas", 0) >= spec["minReplicas"]:
            return []
        return [
            errors.cause(
                "FieldValueInvalid",
                "spec.maxReplicas",
                f"Invalid value: {spec.get('maxReplicas', 0)}: must be greater than or equal to "
                "`minReplicas`",
            )
        ]


class EndpointSlices(Strategy):
    """Addresses behind a Service."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """Ports have a name and a protocol."""
        for port in obj.get("ports") or []:
            port.setdefault("name", "")
            port.setdefault("protocol", "TCP")

    def validate_update(self, obj: Json, old: Json) -> list[Json]:
        """The address type is fixed."""
        if obj.get("addressType") == old.get("addressType"):
            return []
        return [
            errors.cause("FieldValueInvalid", "addressType", "Invalid value: field is immutable")
        ]


class Endpoints(Strategy):
    """Addresses behind a Service, the old way."""

    def default(self, obj: Json) -> None:
        """Ports have a protocol."""
        for subset in obj.get("subsets") or []:
            for port in subset.get("ports") or []:
                port.setdefault("protocol", "TCP")


class DisruptionBudgets(Counted):
    """policy/v1."""

    def validate(self, obj: Json) -> list[Json]:
        """One bound, not two."""
        spec = obj.get("spec") or {}
        if "minAvailable" in spec and "maxUnavailable" in spec:
            shown = f'{{"minAvailable":"{spec["minAvailable"]}","maxUnavailable":"{spec["maxUnavailable"]}"}}'
            problem = "minAvailable and maxUnavailable cannot be both set"
            return [rules.invalid("spec", shown, problem)]
        return rules.not_negative(obj, "spec.minAvailable", "spec.maxUnavailable")


class Ingresses(Counted):
    """networking.k8s.io/v1."""

    def validate(self, obj: Json) -> list[Json]:
        """Rules or a default backend; paths with a type, and each with one backend."""
        spec = obj.get("spec") or {}
        found = []
        if not spec.get("rules") and not spec.get("defaultBackend"):
            why = "either `defaultBackend` or `rules` must be specified"
            found.append(rules.invalid("spec", "null", why))
        for field, host in rules.values(obj, "spec.rules[].host"):
            for problem in names.problems(str(host).removeprefix("*."), group="", kind=""):
                found.append(rules.invalid(field, f'"{host}"', problem))
        paths = list(rules.values(obj, "spec.rules[].http.paths[]"))
        for field, path in paths:
            if "pathType" not in path:
                found.append(rules.required(f"{field}.pathType", "pathType must be specified"))
            elif path["pathType"] in ("Exact", "Prefix") and not path.get("path", "").startswith(
                "/"
            ):
                shown = f'"{path.get("path", "")}"'
                found.append(rules.invalid(f"{field}.path", shown, "must be an absolute path"))
        allowed = ("Exact", "ImplementationSpecific", "Prefix")
        found += rules.one_of(obj, {"spec.rules[].http.paths[].pathType": allowed})
        backends = [(f"{field}.backend", path.get("backend") or {}) for field, path in paths]
        for field, backend in [*rules.values(obj, "spec.defaultBackend"), *backends]:
            found += _backend_causes(field, backend)
        return found


def _backend_causes(field: str, backend: Json) -> list[Json]:
    service, resource = backend.get("service"), backend.get("resource")
    if bool(service) == bool(resource):
        problem = "exactly one of `service` and `resource` is required"
        return [rules.invalid(field, '""', problem)]
    if not service:
        return []
    found = []
    if not service.get("name"):
        found.append(rules.required(f"{field}.service.name"))
    port = service.get("port") or {}
    if not port.get("name") and not port.get("number"):
        why = "port name or number is required"
        found.append(rules.required(f"{field}.service.port", why))
    return found


class NetworkPolicies(Strategy):
    """Kept, though nothing here enforces them."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """Which directions a policy is about follows from its rules."""
        spec = obj.setdefault("spec", {})
        if not spec.get("policyTypes"):
            spec["policyTypes"] = ["Ingress", "Egress"] if "egress" in spec else ["Ingress"]
        for rule in [*(spec.get("ingress") or []), *(spec.get("egress") or [])]:
            for port in rule.get("ports") or []:
                port.setdefault("protocol", "TCP")

    def validate(self, obj: Json) -> list[Json]:
        """Directions and protocols are those there are."""
        protocols = ("SCTP", "TCP", "UDP")
        return rules.one_of(
            obj,
            {
                "spec.policyTypes[]": ("Egress", "Ingress"),
                "spec.ingress[].ports[].protocol": protocols,
                "spec.egress[].ports[].protocol": protocols,
            },
        )


class PriorityClasses(Strategy):
    """How important pods are."""

    tracks_generation = True

    def default(self, obj: Json) -> None:
        """Lower priorities make room."""
        obj.setdefault("preemptionPolicy", "PreemptLowerPriority")


class Leases(Strategy):
    """Who leads."""

    def validate(self, obj: Json) -> list[Json]:
        """Durations are positive."""
        duration = (obj.get("spec") or {}).get("leaseDurationSeconds")
        if duration is None or duration > 0:
            return []
        return [
            errors.cause(
                "FieldValueInvalid",
                "spec.leaseDurationSeconds",
                f"Invalid value: {duration}: must be greater than 0",
            )
        ]
