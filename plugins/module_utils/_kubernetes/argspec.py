"""The options every Kubernetes module has, and how a module gets its client from them.

Documented once, in the doc fragment `streamops.knative.kubernetes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ansible.module_utils.common.parameters import env_fallback

from .._module.task import Run
from .client import Client
from .config import load
from .transport import Transport


def _option(variable: str, **spec: Any) -> dict[str, Any]:
    return {"fallback": (env_fallback, [variable]), **spec}


CONNECTION: dict[str, dict[str, Any]] = {
    "kubeconfig": _option("K8S_AUTH_KUBECONFIG", type="raw"),
    "kubeconfig_content": {"type": "str", "no_log": True},
    "context": _option("K8S_AUTH_CONTEXT", type="str"),
    "host": _option("K8S_AUTH_HOST", type="str"),
    "api_key": _option("K8S_AUTH_API_KEY", type="str", no_log=True),
    "ca_cert": _option("K8S_AUTH_SSL_CA_CERT", type="str", aliases=["ssl_ca_cert"]),
    "client_cert": _option("K8S_AUTH_CERT_FILE", type="str", aliases=["cert_file"]),
    "client_key": _option("K8S_AUTH_KEY_FILE", type="str", aliases=["key_file"], no_log=True),
    "proxy": _option("K8S_AUTH_PROXY", type="str"),
    "validate_certs": _option("K8S_AUTH_VERIFY_SSL", type="bool", aliases=["verify_ssl"]),
    "impersonate_user": _option("K8S_AUTH_IMPERSONATE_USER", type="str"),
    "impersonate_groups": _option("K8S_AUTH_IMPERSONATE_GROUPS", type="list", elements="str"),
    "request_timeout": {"type": "float", "default": 30.0},
}


def client_for(params: Mapping[str, Any]) -> Client:
    """Return the client for the cluster that options name; raise ConfigError."""
    if content := params.get("kubeconfig_content"):
        params = {**params, "kubeconfig": json.loads(content)}
    return Client(Transport(load(params), timeout=params["request_timeout"]))


def connect(run: Run) -> Client:
    """Return a client of the cluster that the options of a run name; raises ConfigError."""
    return client_for(run.params)
