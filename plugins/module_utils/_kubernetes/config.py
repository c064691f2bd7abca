"""Which API server to talk to and as whom: kubeconfig files and dictionaries, or in-cluster.

Follows the kubeconfig format of client-go (https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/).
"""

from __future__ import annotations

import base64
import binascii
import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from .._yaml import InvalidYaml, decode, documents, type_name
from . import exec_plugin, google_tokens
from .errors import ConfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True)
class ClusterConfig:
    """One API server and one identity. Certificates and keys are PEM text, never paths."""

    host: str
    ca_cert: str = ""
    validate_certs: bool = True
    tls_server_name: str = ""
    api_key: str = field(default="", repr=False)
    client_cert: str = field(default="", repr=False)
    client_key: str = field(default="", repr=False)
    proxy: str = ""
    impersonate_user: str = ""
    impersonate_groups: tuple[str, ...] = ()
    impersonate_uid: str = ""
    impersonate_extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    #: When the credentials expire (UTC), where that is known.
    expires: datetime | None = None
    #: Gets new credentials: the fields api_key, client_cert, client_key and expires.
    renew: Callable[[], Mapping[str, Any]] | None = field(default=None, repr=False, compare=False)

    def renewed(self) -> ClusterConfig:
        """Return the configuration with new credentials, itself where there is nothing to renew."""
        return replace(self, **self.renew()) if self.renew else self


def load(options: Mapping[str, Any]) -> ClusterConfig:
    """Build the configuration from module options (names of the `kubernetes` doc fragment).

    Raises ConfigError naming the option and what to do.
    """
    kubeconfig = options.get("kubeconfig")
    context = options.get("context")
    if kubeconfig or context or not options.get("host"):
        config = _from_kubeconfig(kubeconfig, context, options.get("host"))
    else:
        config = ClusterConfig(host=options["host"])
    config = _override(config, options)
    if not config.host.startswith(("https://", "http://")):
        raise ConfigError(f"host '{config.host}' is not a URL: write it as https://address:port")
    if bool(config.client_cert) != bool(config.client_key):
        raise ConfigError("client_cert and client_key go together: give both or neither")
    return config


def _override(config: ClusterConfig, options: Mapping[str, Any]) -> ClusterConfig:
    given: dict[str, Any] = {}
    for name in ("host", "api_key", "proxy", "impersonate_user"):
        if options.get(name):
            given[name] = options[name]
    for name in ("ca_cert", "client_cert", "client_key"):
        if options.get(name):
            given[name] = _pem(options[name], name)
    if options.get("impersonate_groups"):
        given["impersonate_groups"] = tuple(options["impersonate_groups"])
    if given.keys() & {"api_key", "client_cert"}:
        given |= {"expires": None, "renew": None}
    if options.get("validate_certs") is not None:
        given["validate_certs"] = options["validate_certs"]
    return replace(config, **given)


def _pem(value: str, option: str) -> str:
    if "-----BEGIN" in value:
        return value
    try:
        return Path(value).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{option}: cannot read '{value}': {error}") from error


def _from_kubeconfig(
    source: str | Mapping[str, Any] | None, context: str | None, host: str | None
) -> ClusterConfig:
    if isinstance(source, Mapping):
        return _select(dict(source), Path.cwd(), context, "the kubeconfig given as a dictionary")
    paths = _paths(source)
    found = [path for path in paths if path.is_file()]
    if found:
        return _select(_merge(found), found[0].parent, context, ", ".join(map(str, found)))
    if source:
        raise ConfigError(f"kubeconfig: no such file: {', '.join(map(str, paths))}")
    if context:
        raise ConfigError(f"context '{context}' was asked for, but there is no kubeconfig file")
    if (SERVICE_ACCOUNT / "token").is_file() and os.environ.get("KUBERNETES_SERVICE_HOST"):
        return _in_cluster()
    raise ConfigError(
        "No cluster to talk to: set kubeconfig (or the environment variable KUBECONFIG),"
        " or host with api_key; there is no ~/.kube/config either."
    )


def _paths(source: str | None) -> list[Path]:
    text = source or os.environ.get("KUBECONFIG") or "~/.kube/config"
    return [Path(part).expanduser() for part in text.split(os.pathsep) if part]


def _in_cluster() -> ClusterConfig:
    address = os.environ["KUBERNETES_SERVICE_HOST"]
    port = os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"[{address}]" if ":" in address else address
    token = SERVICE_ACCOUNT / "token"
    return ClusterConfig(
        host=f"https://{address}:{port}",
        ca_cert=(SERVICE_ACCOUNT / "ca.crt").read_text(encoding="utf-8"),
        **_from_token_file(token),
        renew=functools.partial(_from_token_file, token),
    )


def _from_token_file(path: Path) -> dict[str, Any]:
    return {"api_key": _read(path, "tokenFile").strip()}


def _merge(paths: list[Path]) -> dict[str, Any]:
    """Several files as one: the first to set a value wins, as in client-go."""
    merged: dict[str, Any] = {"clusters": [], "users": [], "contexts": []}
    for path in paths:
        document = _parse(path)
        for section in ("clusters", "users", "contexts"):
            known = {entry["name"] for entry in merged[section]}
            merged[section] += [
                _absolute(entry, path.parent)
                for entry in _entries(document, section, str(path))
                if entry["name"] not in known
            ]
        if document.get("current-context"):
            merged.setdefault("current-context", document["current-context"])
    return merged


def _parse(path: Path) -> dict[str, Any]:
    try:
        text = decode(path.read_bytes())
        document: Any = next((document for _line, document in documents(text)), {})
    except OSError as error:
        raise ConfigError(f"kubeconfig: cannot read {path}: {error}") from error
    except InvalidYaml as error:
        raise ConfigError(f"kubeconfig: {path}{error}") from error
    if not isinstance(document, dict):
        raise ConfigError(f"kubeconfig: {path} is {type_name(document)}, not a kubeconfig")
    return document


def _entries(document: dict[str, Any], section: str, origin: str) -> list[dict[str, Any]]:
    """Return the named entries of a section; raises ConfigError for what is not one."""
    found = document.get(section) or []
    key = section.removesuffix("s")
    if not isinstance(found, list) or not all(
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get(key), dict | None)
        for entry in found
    ):
        raise ConfigError(f"kubeconfig: {origin}: {section} is not a list of name and {key}")
    return found


def _absolute(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Paths in a kubeconfig are relative to the file that names them."""
    body = entry.get("cluster") or entry.get("user")
    if isinstance(body, dict):
        for key in ("certificate-authority", "client-certificate", "client-key", "tokenFile"):
            if body.get(key):
                body[key] = str(folder / body[key])
        if "/" in (body.get("exec") or {}).get("command", ""):
            body["exec"]["command"] = str(folder / body["exec"]["command"])
    return entry


def _select(
    document: dict[str, Any], folder: Path, context: str | None, origin: str
) -> ClusterConfig:
    wanted = context or document.get("current-context")
    names = sorted(entry["name"] for entry in _entries(document, "contexts", origin))
    _entries(document, "clusters", origin)
    _entries(document, "users", origin)
    if not wanted:
        raise ConfigError(
            f"kubeconfig {origin} sets no current-context: set context to one of: {_join(names)}"
        )
    chosen = _entry(document, "contexts", wanted, "context")
    if chosen is None:
        raise ConfigError(f"context '{wanted}' is not in {origin}; it has: {_join(names)}")
    cluster = _entry(document, "clusters", chosen.get("cluster", ""), "cluster")
    if cluster is None or not cluster.get("server"):
        raise ConfigError(
            f"context '{wanted}' names cluster '{chosen.get('cluster')}', which {origin} does not"
            " describe: correct the kubeconfig"
        )
    user = _entry(document, "users", chosen.get("user", ""), "user")
    if user is None and chosen.get("user"):
        raise ConfigError(
            f"context '{wanted}' names user '{chosen['user']}', which {origin} does not describe: correct"
            " the kubeconfig"
        )
    return _build(cluster, user or {}, folder)


def _join(names: list[str]) -> str:
    return ", ".join(names) or "no context at all"


def _entry(document: dict[str, Any], section: str, name: str, key: str) -> dict[str, Any] | None:
    for entry in document.get(section) or []:
        if entry.get("name") == name:
            body: dict[str, Any] = entry.get(key) or {}
            return body
    return None


def _build(cluster: dict[str, Any], user: dict[str, Any], folder: Path) -> ClusterConfig:
    if user.get("auth-provider"):
        raise ConfigError(
            "The kubeconfig's user has an auth-provider, which Kubernetes removed in 1.26:"
            " renew it with an exec plugin (for GKE: gke-gcloud-auth-plugin)"
        )
    if user.get("username") or user.get("password"):
        raise ConfigError(
            "The kubeconfig's user has username and password, which Kubernetes removed in 1.19:"
            " use a token, a client certificate or an exec plugin"
        )
    ca_cert = _data_or_file(cluster, "certificate-authority", folder)
    credentials, renew = _credentials(user, {**cluster, **_as_data(ca_cert)}, folder)
    return ClusterConfig(
        host=_address(cluster, secure=bool(ca_cert or credentials.get("client_cert"))),
        ca_cert=ca_cert,
        validate_certs=not cluster.get("insecure-skip-tls-verify", False),
        tls_server_name=cluster.get("tls-server-name", ""),
        proxy=cluster.get("proxy-url", ""),
        impersonate_user=user.get("as", ""),
        impersonate_groups=tuple(user.get("as-groups") or ()),
        impersonate_uid=user.get("as-uid", ""),
        impersonate_extra=tuple(
            (name, tuple(values)) for name, values in (user.get("as-user-extra") or {}).items()
        ),
        **credentials,
        renew=renew,
    )


def _address(cluster: dict[str, Any], *, secure: bool) -> str:
    """Return the URL of a `server`; one without a scheme has client-go's."""
    server = str(cluster["server"]).rstrip("/")
    if "://" in server:
        return server
    secure = secure or bool(cluster.get("insecure-skip-tls-verify"))
    return f"{'https' if secure else 'http'}://{server}"


def _credentials(
    user: dict[str, Any], cluster: dict[str, Any], folder: Path
) -> tuple[dict[str, Any], Callable[[], dict[str, Any]] | None]:
    """Return a user's credentials, and the function that gets other ones, if there is one."""
    if user.get("exec"):
        run = functools.partial(exec_plugin.credentials, user["exec"], cluster)
        return run(), run
    certificate = {
        "client_cert": _data_or_file(user, "client-certificate", folder),
        "client_key": _data_or_file(user, "client-key", folder),
    }
    if user.get("tokenFile"):  # wins over token, and is replaced while we run
        read = functools.partial(_from_token_file, folder / user["tokenFile"])
        return {**certificate, **read()}, read
    given = {**certificate, "api_key": user.get("token") or ""}
    renew = google_tokens.source(user)
    return {**given, "expires": google_tokens.expires(user)} if renew else given, renew


def _as_data(pem: str) -> dict[str, str]:
    return {"certificate-authority-data": base64.b64encode(pem.encode()).decode()} if pem else {}


def _data_or_file(body: dict[str, Any], key: str, folder: Path) -> str:
    data = body.get(f"{key}-data")
    if data:
        try:
            # Some tools wrap it.
            return base64.b64decode("".join(data.split()), validate=True).decode()
        except (binascii.Error, ValueError, AttributeError) as error:
            raise ConfigError(f"kubeconfig: {key}-data is not base64 of PEM text") from error
    return _read(folder / body[key], key) if body.get(key) else ""


def _read(path: Path, key: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"kubeconfig: {key}: cannot read {path}: {error}") from error
