"""What admission adds to new pods: a service account and its token, tolerations, priority."""

from __future__ import annotations

from streamops_sandbox.kube import errors, names
from streamops_sandbox.kube.api import Api, Review
from streamops_sandbox.objects import Object

_MOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_TOKEN_SECONDS = 3607
_EVICTION_SECONDS = 300
_TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_MIRROR = "kubernetes.io/config.mirror"


async def complete(api: Api, review: Review) -> Object | None:
    """Complete a pod as the plugins ServiceAccount, Priority and DefaultTolerationSeconds do."""
    pod = review.obj
    if pod is None or review.resource.collection != "pods" or review.subresource:
        return None
    if _MIRROR in (pod["metadata"].get("annotations") or {}):
        return None
    spec = dict(pod["spec"])
    if review.operation == "CREATE":
        _service_account(api, spec, review)
        _priority(api, spec, review)
    _tolerations(spec)
    return {**pod, "spec": spec} if spec != pod["spec"] else None


def _service_account(api: Api, spec: Object, review: Review) -> None:
    name = spec.get("serviceAccountName") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    stored = api.get("serviceaccounts", review.namespace, name)
    if stored is None:
        text = f"error looking up service account {review.namespace}/{name}"
        raise _refused(review, f'{text}: serviceaccount "{name}" not found')
    account = stored.load()
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    automount = spec.get("automountServiceAccountToken")
    if automount is None:
        automount = account.get("automountServiceAccountToken", True)
    if automount:
        _mount_token(spec)


def _priority(api: Api, spec: Object, review: Review) -> None:
    wanted, policy, number = spec.get("priorityClassName"), "PreemptLowerPriority", 0
    if wanted:
        stored = api.get("priorityclasses.scheduling.k8s.io", "", wanted)
        if stored is None:
            raise _refused(review, f"no PriorityClass with name {wanted} was found")
        found = stored.load()
        number, policy = found.get("value", 0), found.get("preemptionPolicy", policy)
    for key, shown, value in (
        ("priority", "integer value of priority", number),
        ("preemptionPolicy", "string value of PreemptionPolicy", policy),
    ):
        if spec.get(key) not in (None, value):
            why = (
                f"the {shown} ({spec[key]}) must not be provided in pod spec; priority admission "
                f"controller computed {value} from the given PriorityClass name"
            )
            raise _refused(review, why)
        spec[key] = value
    runtime, classes = spec.get("runtimeClassName"), "runtimeclasses.node.k8s.io"
    if runtime and api.get(classes, "", runtime) is None:
        raise _refused(review, f'pod rejected: RuntimeClass "{runtime}" not found')
    if spec.get("overhead") and not runtime:
        why = "Pod Overhead set without corresponding RuntimeClass defined Overhead"
        raise _refused(review, f"pod rejected: {why}")


def _refused(review: Review, why: str) -> errors.StatusError:
    return errors.forbidden("", "pods", review.name, why)


def _mount_token(spec: Object) -> None:
    """Mount the account's token in every container that mounts nothing there."""
    volume = names.generate("kube-api-access-")
    mount = {"name": volume, "mountPath": _MOUNT_PATH, "readOnly": True}
    mounted = False
    for key in ("initContainers", "containers"):
        completed = []
        for container in spec.get(key) or []:
            mounts = container.get("volumeMounts") or []
            if all(item.get("mountPath") != _MOUNT_PATH for item in mounts):
                container = {**container, "volumeMounts": [*mounts, mount]}  # noqa: PLW2901
                mounted = True
            completed.append(container)
        if completed:
            spec[key] = completed
    if mounted:
        spec["volumes"] = [*(spec.get("volumes") or []), _token_volume(volume)]


def _token_volume(name: str) -> Object:
    field = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}
    certificate = {"key": "ca.crt", "path": "ca.crt"}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": _TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [certificate]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 0o644}}


def _tolerations(spec: Object) -> None:
    present = list(spec.get("tolerations") or [])
    wanted = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _EVICTION_SECONDS}
    spec["tolerations"] = present + [
        {"key": taint, **wanted}
        for taint in _TAINTS
        if not any(
            item.get("key") in (None, "", taint) and item.get("effect") in (None, "", "NoExecute")
            for item in present
        )
    ]
