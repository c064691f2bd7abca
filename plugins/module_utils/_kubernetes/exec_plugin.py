"""Credentials from an exec plugin of a kubeconfig.

The protocol: https://kubernetes.io/docs/reference/access-authn-authz/authentication/#client-go-credential-plugins
(client.authentication.k8s.io/v1 and v1beta1). Nothing is cached on disk.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from .errors import ConfigError

TIMEOUT = 60.0  # seconds
EXTENSION = "client.authentication.k8s.io/exec"
_CLUSTER_KEYS = (
    "server",
    "tls-server-name",
    "insecure-skip-tls-verify",
    "certificate-authority-data",
    "proxy-url",
    "disable-compression",
)


def credentials(plugin: Mapping[str, Any], cluster: Mapping[str, Any]) -> dict[str, Any]:
    """Run the plugin; return `api_key`, `client_cert`, `client_key` and `expires` (UTC or None)."""
    command = plugin.get("command") or ""
    if plugin.get("interactiveMode") == "Always":
        raise ConfigError(
            f"kubeconfig: the exec plugin '{command}' needs a terminal (interactiveMode: Always), and"
            " tasks have none: use another context, or give api_key"
        )
    try:
        done = subprocess.run(  # noqa: S603 - the command is the user's own kubeconfig's
            [command, *map(str, plugin.get("args") or [])],
            env=_environment(plugin, cluster),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=TIMEOUT,
        )
        return _parsed(json.loads(done.stdout)["status"])
    except subprocess.CalledProcessError as error:
        message = error.stderr.decode(errors="replace").strip()[-500:]
        raise ConfigError(f"kubeconfig: the exec plugin '{command}' failed: {message}") from error
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"kubeconfig: the exec plugin '{command}' did not answer in {TIMEOUT:.0f} s;"
            " it may be waiting for input: run it once by hand"
        ) from error
    except OSError as error:
        hint = plugin.get("installHint") or "install it, or use another context"
        raise ConfigError(f"kubeconfig: the exec plugin '{command}' is missing: {hint}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"kubeconfig: the exec plugin '{command}' printed no ExecCredential with a status"
        ) from error


def _environment(plugin: Mapping[str, Any], cluster: Mapping[str, Any]) -> dict[str, str]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo"):
        spec["cluster"] = {key: cluster[key] for key in _CLUSTER_KEYS if cluster.get(key)}
        for entry in cluster.get("extensions") or []:
            if entry.get("name") == EXTENSION:
                spec["cluster"]["config"] = entry.get("extension")
    info = {
        "apiVersion": plugin.get("apiVersion") or "client.authentication.k8s.io/v1",
        "kind": "ExecCredential",
        "spec": spec,
    }
    added = {item["name"]: str(item["value"]) for item in plugin.get("env") or []}
    return {**os.environ, **added, "KUBERNETES_EXEC_INFO": json.dumps(info)}


def _parsed(status: Mapping[str, Any]) -> dict[str, Any]:
    expires = status.get("expirationTimestamp")
    return {
        "api_key": status.get("token") or "",
        "client_cert": status.get("clientCertificateData") or "",
        "client_key": status.get("clientKeyData") or "",
        "expires": datetime.fromisoformat(expires).astimezone(UTC) if expires else None,
    }
