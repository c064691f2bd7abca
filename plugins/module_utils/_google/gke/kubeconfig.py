"""Kubeconfig entries for GKE clusters, merged into files that may hold others.

https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/
"""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

try:
    import yaml
except ImportError:
    yaml = None  # type: ignore[assignment]  # stands for the missing module

from ..errors import ConfigError, GcpError
from ..timestamps import is_time, moment

Json = dict[str, Any]

MODE = 0o600
#: Name of the extension that remembers when a token expires and where it came from, for
#: _kubernetes.google_tokens.
EXTENSION = "streamops.knative"
#: What `gcloud container clusters get-credentials` writes.
EXEC: Json = {
    "apiVersion": "client.authentication.k8s.io/v1beta1",
    "command": "gke-gcloud-auth-plugin",
    "installHint": "Install gke-gcloud-auth-plugin for use with kubectl by following"
    " https://cloud.google.com/kubernetes-engine/docs/how-to/cluster-access-for-kubectl",
    "provideClusterInfo": True,
}


def cluster_entry(cluster: Json, endpoint: str) -> Json:
    """Return the `cluster` of a kubeconfig for one of the API's. `endpoint` is ip, private or dns."""
    endpoints = cluster.get("controlPlaneEndpointsConfig", {})
    name = cluster["name"]
    if endpoint == "dns":
        dns = endpoints.get("dnsEndpointConfig", {})
        if not dns.get("endpoint") or not dns.get("allowExternalTraffic"):
            raise ConfigError(
                f"cluster {name} has no DNS endpoint that can be used: set dns_endpoint: true of"
                " streamops.knative.gke_cluster, or endpoint_type: ip here"
            )
        return {"server": f"https://{dns['endpoint']}"}  # with a certificate everybody trusts
    address = cluster.get("endpoint")
    if endpoint == "private":
        address = endpoints.get("ipEndpointsConfig", {}).get("privateEndpoint") or cluster.get(
            "privateClusterConfig", {}
        ).get("privateEndpoint")
    ca = cluster.get("masterAuth", {}).get("clusterCaCertificate")
    if not address or not ca:
        raise GcpError(
            f"cluster {name} is {cluster.get('status')} and has no {endpoint} endpoint yet; wait until"
            " it is RUNNING, or choose another endpoint_type"
        )
    return {"server": f"https://{address}", "certificate-authority-data": ca}


def token_user(token: str, expires: datetime | None, source: Json) -> Json:
    """Return a `user` with a token, when it expires, and the options of Google's modules it came from."""
    extension: Json = {"google": source}
    if expires:
        extension["expires"] = expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"token": token, "extensions": [{"name": EXTENSION, "extension": extension}]}


def is_fresh(user: Json | None, seconds: float) -> bool:
    """Return whether a `user` has a token that is good for at least that long."""
    for extension in (user or {}).get("extensions", []):
        if extension.get("name") == EXTENSION and (user or {}).get("token"):
            expires = extension.get("extension", {}).get("expires")
            return is_time(expires) and moment(expires) - datetime.now(UTC) > timedelta(
                seconds=seconds
            )
    return False


def find(config: Json, kind: str, name: str) -> Json | None:
    """Return one entry (`cluster`, `user` or `context`) by its name."""
    for entry in config.get(f"{kind}s") or []:
        if entry.get("name") == name:
            found: Json = entry.get(kind) or {}
            return found
    return None


def merged(config: Json, name: str, cluster: Json, user: Json, *, make_current: bool) -> Json:
    """Return a copy of the kubeconfig with the three entries called `name` set."""
    result = copy.deepcopy(config)
    result.setdefault("apiVersion", "v1")
    result.setdefault("kind", "Config")
    context = {**(find(config, "context", name) or {}), "cluster": name, "user": name}
    for kind, entry in (("cluster", cluster), ("user", user), ("context", context)):
        rest = [e for e in result.get(f"{kind}s") or [] if e.get("name") != name]
        result[f"{kind}s"] = [*rest, {"name": name, kind: entry}]
    if make_current or not result.get("current-context"):
        result["current-context"] = name
    return result


def without(config: Json, name: str) -> Json:
    """Return a copy of the kubeconfig without the entries called `name`."""
    result = copy.deepcopy(config)
    for kind in ("clusters", "users", "contexts"):
        if kind in result:
            result[kind] = [e for e in result[kind] or [] if e.get("name") != name]
    if result.get("current-context") == name:
        result["current-context"] = ""
    return result


def masked(config: Json, name: str) -> Json:
    """Return the entries called `name` as a diff shows them, without credentials."""
    shown: Json = {}
    for kind in ("cluster", "context"):
        entry = find(config, kind, name)
        if entry is not None:
            shown[kind] = entry
    user = find(config, "user", name)
    if user is not None:
        shown["auth"] = "exec" if "exec" in user else "token" if "token" in user else "other"
    if shown:
        shown["current"] = config.get("current-context") == name
    return shown


def load(path: str) -> Json:
    """Return the kubeconfig in a file; {} where there is none."""
    if yaml is None:
        raise ConfigError("PyYAML is missing on this host: pip install PyYAML")
    try:
        with open(path, encoding="utf-8") as file:
            config = yaml.safe_load(file)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"path: {path} cannot be read: {error}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"path: {path} is not valid YAML and was not changed: {error}") from error
    if config is None:
        return {}
    if not isinstance(config, dict) or config.get("kind", "Config") != "Config":
        raise ConfigError(f"path: {path} is not a kubeconfig and was not changed")
    return config


@contextlib.contextmanager
def locked(path: str) -> Iterator[None]:
    """Keep others of this collection from writing the file; its folder is made."""
    folder = os.path.dirname(os.path.realpath(path))
    try:
        os.makedirs(folder, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"path: {folder} cannot be used: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def save(path: str, config: Json) -> None:
    """Write the file in one step, readable by its owner only."""
    target = os.path.realpath(path)  # a link stays one
    folder = os.path.dirname(target)
    try:
        descriptor, partial = tempfile.mkstemp(prefix=".kubeconfig-", dir=folder)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                yaml.safe_dump(config, file, sort_keys=False)
            os.chmod(partial, MODE)
            os.replace(partial, target)
        except BaseException:
            os.unlink(partial)
            raise
    except OSError as error:
        raise ConfigError(f"path: {path} cannot be written: {error}") from error


def mode(path: str) -> int | None:
    """Return the file's permissions; None where there is none."""
    try:
        return os.stat(path).st_mode & 0o777
    except FileNotFoundError:
        return None
