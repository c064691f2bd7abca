"""What a SinkBinding changes in a subject's pod template (upstream's `SinkBinding.Do`/`Undo`)."""

from __future__ import annotations

import json
from typing import Any

from streamops_sandbox.knative.resolver import Address

_VARIABLES = ("K_SINK", "K_CE_OVERRIDES", "K_CA_CERTS")
_OIDC_VOLUME = "oidc-token"


def bind(subject: dict[str, Any], binding: dict[str, Any], address: Address | None) -> None:
    """Inject the sink into every container of a subject; without an address only remove it."""
    unbind(subject)
    if address is None:
        return
    variables = [{"name": "K_SINK", "value": address.url}]
    if address.ca_certs:
        variables.append({"name": "K_CA_CERTS", "value": address.ca_certs})
    encoded = _encoded(binding["spec"].get("ceOverrides"))
    variables.append({"name": "K_CE_OVERRIDES", "value": encoded})
    secret = (binding.get("status") or {}).get("oidcTokenSecretName")
    pod = _pod_spec(subject)
    if secret:
        source = {"projected": {"sources": [{"secret": {"name": secret}}]}}
        pod["volumes"] = [*(pod.get("volumes") or []), {"name": _OIDC_VOLUME, **source}]
    for container in _containers(pod):
        container["env"] = [*(container.get("env") or []), *variables]
        if secret:
            mount = {"name": _OIDC_VOLUME, "mountPath": "/oidc"}
            container["volumeMounts"] = [*(container.get("volumeMounts") or []), mount]


def unbind(subject: dict[str, Any]) -> None:
    """Remove what `bind` adds."""
    pod = _pod_spec(subject)
    for container in _containers(pod):
        _drop(container, "env", _VARIABLES)
        _drop(container, "volumeMounts", (_OIDC_VOLUME,))
    _drop(pod, "volumes", (_OIDC_VOLUME,))


def _encoded(overrides: dict[str, Any] | None) -> str:
    """Write overrides as Go's encoder does: empty maps left out, `<`, `>` and `&` escaped."""
    if overrides is None:
        return ""
    kept = {name: value for name, value in overrides.items() if value}
    text = json.dumps(kept, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _drop(holder: dict[str, Any], field: str, names: tuple[str, ...]) -> None:
    if any(item.get("name") in names for item in holder.get(field) or []):
        holder[field] = [item for item in holder[field] if item.get("name") not in names]


def _pod_spec(subject: dict[str, Any]) -> dict[str, Any]:
    spec = subject.get("spec") or {}
    pod: dict[str, Any] = (spec.get("template") or {}).get("spec") or {}
    return pod


def _containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(pod.get("initContainers") or []), *(pod.get("containers") or [])]
