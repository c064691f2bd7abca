"""Contradictions among the variables of one role, a sentence each.

`values` are a role's variables by their full names, in the types of their specification; those that are not
set are missing.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from .._airgap import contents, signed
from .._airgap.archive import Archive
from .._airgap.errors import BundleError
from .._knative.releases import (
    COMPONENTS,
    PROJECTS,
    check_components,
    ingress_of,
    projects_of,
)
from .._module.suggestion import meant
from .cluster_checks import DATA_PLANES, VARIABLES
from .model import is_system

Values = Mapping[str, Any]

ACCOUNT = ".iam.gserviceaccount.com"
#: The credentials of an app that acts for a user, and the one of an app that acts for itself.
KEYS = ("api_key", "api_secret", "access_key", "access_secret")
BEARER = "bearer_token"
CREDENTIALS = (*KEYS, BEARER)
#: ConfigMaps of the releases up to 1.23, by project. Those of later ones are not known here.
CONFIG_MAPS = {
    "serving": (
        "config-autoscaler", "config-certmanager", "config-defaults", "config-deployment", "config-domain",
        "config-features", "config-gc", "config-leader-election", "config-logging", "config-network",
        "config-observability", "config-tracing", "config-kourier", "config-gateway", "config-istio",
    ),
    "kourier": ("kourier-bootstrap",),
    "eventing": (
        "config-br-default-channel", "config-br-defaults", "config-features", "config-imc-event-dispatcher",
        "config-kreference-mapping", "config-leader-election", "config-logging", "config-observability",
        "config-ping-defaults", "config-sugar", "config-tracing", "default-ch-webhook",
        "eventing-integrations-images", "eventing-transformations-images",
        "kafka-broker-config", "kafka-channel-config", "kafka-config-logging",
        "config-kafka-autoscaler", "config-kafka-broker-data-plane", "config-kafka-channel-data-plane",
        "config-kafka-descheduler", "config-kafka-features", "config-kafka-leader-election",
        "config-kafka-scheduler", "config-kafka-sink-data-plane", "config-kafka-source-data-plane",
        "config-kafka-source-defaults",
    ),
}  # fmt: skip
#: Components by the beginning of the names of ConfigMaps that they bring.
BROUGHT = {
    "config-kourier": "kourier",
    "config-gateway": "net-gateway-api",
    "config-istio": "net-istio",
    "config-imc-": "in-memory-channel",
    "config-kafka-": "kafka-controller",
    "kafka-": "kafka-controller",
}
#: Deployments and StatefulSets by component.
WORKLOADS = {
    "serving": ("activator", "autoscaler", "controller", "webhook"),
    "kourier": ("3scale-kourier-gateway", "net-kourier-controller"),
    "net-gateway-api": ("net-gateway-api-controller", "net-gateway-api-webhook"),
    "net-istio": ("net-istio-controller", "net-istio-webhook"),
    "hpa": ("autoscaler-hpa",),
    "eventing": (
        *("eventing-controller", "eventing-webhook", "job-sink", "pingsource-mt-adapter"),
        "request-reply",
    ),
    "in-memory-channel": ("imc-controller", "imc-dispatcher"),
    "mt-channel-broker": ("mt-broker-controller", "mt-broker-filter", "mt-broker-ingress"),
    "kafka-controller": ("kafka-controller", "kafka-webhook-eventing"),
    "kafka-broker": ("kafka-broker-dispatcher", "kafka-broker-receiver"),
    "kafka-channel": ("kafka-channel-dispatcher", "kafka-channel-receiver"),
    "kafka-sink": ("kafka-sink-receiver",),
    "kafka-source": ("kafka-source-dispatcher",),
    "rabbitmq-broker": ("rabbitmq-broker-controller", "rabbitmq-broker-webhook"),
}
KNOWN_MINOR = 23
VERSIONS = {project: VARIABLES[f"{project}_version"] for project in PROJECTS}


def gcp_cluster(values: Values, *, key_file: str = "") -> list[str]:
    """Return what stands against creating or removing the GKE cluster; nothing where none is managed.

    `key_file` is GCP_SERVICE_ACCOUNT_FILE of the environment.
    """
    given = {name.removeprefix("gcp_cluster_"): value for name, value in values.items()}
    if not given.get("name"):
        return []
    project, location = given.get("project"), str(given.get("location") or "")
    found = []
    if not re.fullmatch(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", given["name"]):
        found.append(
            f"gcp_cluster_name: '{given['name']}' is not valid: at most 40 lower-case letters, digits"
            " and hyphens, a letter first"
        )
    if not project:
        found.append("gcp_cluster_project is empty: the ID of the project")
    if not location:
        found.append("gcp_cluster_location is empty: a region such as europe-west1")
    kubeconfig = str(given.get("kubeconfig") or "")
    if not kubeconfig:
        found.append(
            "gcp_cluster_kubeconfig (or kubeconfig) is empty: the file that gets the credentials for the"
            " cluster"
        )
    elif ":" in kubeconfig:
        found.append(
            f"gcp_cluster_kubeconfig: one file is written, so it may not be a list ({kubeconfig})"
        )
    file = given.get("service_account_file") or key_file
    if given.get("auth_kind") == "serviceaccount" and not file:
        found.append(
            "gcp_cluster_service_account_file is needed with gcp_cluster_auth_kind: serviceaccount"
        )
    if given.get("autopilot"):
        if given.get("node_pool"):
            found.append(
                "gcp_cluster_node_pool: an Autopilot cluster has none; set gcp_cluster_autopilot: false"
            )
        if re.fullmatch(r"[a-z]+-[a-z]+[0-9]+-[a-z]", location):
            found.append(
                "gcp_cluster_location: an Autopilot cluster is in a region, not in the zone"
                f" {location}"
            )
    if given.get("state") == "absent" and given.get("deletion_protection"):
        found.append(
            "gcp_cluster_state: absent is refused by gcp_cluster_deletion_protection, which is true by"
            " default"
        )
    account = given.get("workload_service_account")
    if account and project and not account.endswith(f"@{project}{ACCOUNT}"):
        found.append(
            "gcp_cluster_workload_service_account has to be an account of the project:"
            f" NAME@{project}{ACCOUNT}"
        )
    return found


def secrets(
    values: Values, *, empty: Collection[str] = (), sharers: Collection[str] = ()
) -> list[str]:
    """Return what stands against storing the credentials.

    `empty` names the credentials without a value, `sharers` the projects of hosts with the same secrets.
    """
    given = {name.removeprefix("secrets_"): value for name, value in values.items()}
    present, external = given.get("state") == "present", given.get("external")
    in_google = given.get("backend") == "secret_manager"
    found = []
    names = given.get("names") or {}
    if present and not external:
        needed = KEYS if BEARER in empty and BEARER not in names else (BEARER,)
        found += [
            f"secrets_x_{name} is empty: set it from a vault, the environment or a lookup"
            for name in needed
            if name in empty
        ]
    if in_google and not given.get("project"):
        found.append(
            "secrets_project (or gcp_cluster_project) is empty: name the project that keeps the secrets"
        )
    if external and not in_google:
        found.append("secrets_external: true needs secrets_backend: secret_manager")
    # In Kubernetes they are needed for a deletion as well.
    if (present or not in_google) and given.get("consumers") == []:
        found.append("secrets_consumers is empty: name at least one namespace and service_account")
    if present and not in_google:
        found += [
            f"secrets_consumers[{index}].namespace: '{consumer['namespace']}' belongs to the cluster: no"
            " Secret is written there"
            for index, consumer in enumerate(given.get("consumers") or [])
            if is_system(consumer.get("namespace", ""))
        ]
    if in_google and given.get("purge_grants") and len(sharers) > 1:
        found.append(
            f"secrets_purge_grants: hosts of several projects ({', '.join(sharers)}) share the secrets of"
            f" {given.get('project')}, and each would take away what the others grant; set it to false"
        )
    if "names" in given:
        found += names_of_secrets("secrets_names", names)
    if len(set(names.values())) < len(names):
        found.append("secrets_names: the names have to differ")
    return found


def names_of_secrets(option: str, names: Values) -> list[str]:
    """Return what is wrong with the credentials that an option names: the four, or the bearer alone."""
    if set(names) in ({*KEYS}, {BEARER}):
        return []
    return [f"{option}: name {', '.join(KEYS)}, all four, or {BEARER} alone"]


def knative_eventing(values: Values) -> list[str]:
    """Return what contradicts itself in the installation of Knative that is asked for."""
    if values.get("knative_eventing_state") == "absent":
        return []
    components = [
        name for name in values.get("knative_eventing_components") or [] if name in COMPONENTS
    ]
    found = [f"knative_eventing_{text}" for text in check_components(components)]
    if "knative_eventing_components" in values and not components:
        found.append(
            "knative_eventing_components is empty: name at least one, or set the state to absent"
        )
    found += _bundle_problems(components, values)
    found += _signature_problems(values)
    found += _gateway_problems(components, values)
    broker_class = str(values.get("knative_eventing_broker_class") or "")
    component = DATA_PLANES.get(broker_class, ("", ""))[0]
    if component and component not in components:
        found.append(
            f"knative_eventing_broker_class: {broker_class} needs the component {component} in"
            " knative_eventing_components"
        )
    config = values.get("knative_eventing_config") or {}
    chosen = projects_of(components)
    for project, maps in config.items():
        known = CONFIG_MAPS.get(project, ()) if _is_known(project, values) else ()
        for name, data in (maps or {}).items():
            path = f"knative_eventing_config.{project}.{name}"
            if known and name not in known:
                found.append(f"{path}: {project} has no such ConfigMap; {meant(name, known)}")
            brings = next((BROUGHT[start] for start in BROUGHT if name.startswith(start)), "")
            if brings and project in chosen and brings not in components:
                found.append(
                    f"{path}: {brings} brings this ConfigMap, and knative_eventing_components does not have"
                    " it: add it there, or leave the ConfigMap out"
                )
            if isinstance(data, dict) and "_example" in data:
                found.append(
                    f"{path}: _example documents the map and is guarded by a checksum: leave it out"
                )
    if components and all(_is_known(COMPONENTS[name].project, values) for name in components):
        known = tuple(name for component in components for name in WORKLOADS[component])
        for index, workload in enumerate(values.get("knative_eventing_workloads") or []):
            name = workload.get("name")
            if name and name not in ("all", *known):
                found.append(
                    f"knative_eventing_workloads[{index}].name: the chosen components have no workload"
                    f" '{name}'; {meant(name, known)}"
                )
    return found


def _gateway_problems(components: list[str], values: Values) -> list[str]:
    """Return which options are about Kourier's gateway, where another ingress was chosen."""
    ingress = ingress_of(components)
    if ingress in ("", "kourier"):
        return []
    return [
        f"knative_eventing_{name}: a setting of Kourier's Service; {ingress} routes by a gateway of the"
        " cluster's own: set it there, and leave this out"
        for name, default in (
            ("gateway_service_type", "LoadBalancer"),
            ("gateway_node_port", 0),
            ("gateway_annotations", {}),
        )
        if values.get(f"knative_eventing_{name}", default) != default
    ]


def _bundle_problems(components: list[str], values: Values) -> Iterator[str]:
    """Yield why Knative cannot be installed from the bundle that is named."""
    path = Path(values.get("knative_eventing_bundle") or "").expanduser().absolute()
    if not path.is_file():
        return
    if values.get("knative_eventing_folder"):
        yield (
            "knative_eventing_folder: the release files are taken from knative_eventing_bundle; leave"
            " one of them empty"
        )
    if values.get("knative_eventing_registry"):
        yield (
            "knative_eventing_registry: with knative_eventing_bundle images are pulled from"
            " knative_eventing_bundle_registry; leave it empty"
        )
    if not values.get("knative_eventing_bundle_registry"):
        yield (
            "knative_eventing_bundle_registry: required with knative_eventing_bundle; the registry that"
            " the images are pushed to, for example registry.example.com/knative"
        )
    login = values.get("knative_eventing_bundle_pull_login") or {}
    if login and not (login.get("username") and login.get("password")):
        yield (
            "knative_eventing_bundle_pull_login: needs username and password; leave it out where nodes"
            " need no credentials"
        )
    versions = {project: str(values.get(name) or "") for project, name in VERSIONS.items()}
    try:
        bundle = contents.read(Archive.read(path))
        mismatches = contents.mismatches(bundle, components, versions)
    except BundleError as error:
        mismatches = [str(error)]
    renamed = {f"{project}_version": name for project, name in VERSIONS.items()}
    for text in mismatches:
        option, _colon, rest = text.partition(": ")
        name = renamed.get(option, f"knative_eventing_{option}".replace("_path", "_bundle"))
        yield f"{name}: {rest}"


def _signature_problems(values: Values) -> list[str]:
    """Return why the signatures that are asked for cannot be verified."""
    name = "knative_eventing_verify_signers"
    signers = values.get(name) or []
    found = signed.incomplete_signers(signers, name)
    if not values.get("knative_eventing_verify"):
        return found
    path = Path(values.get("knative_eventing_bundle") or "").expanduser().absolute()
    archive = Archive.read_remains(path) if path.is_file() else None
    problem = signed.unverifiable(
        archive if archive and archive.is_bundle else None,
        with_keys=any(signer.get("key") for signer in signers),
    )
    return [*found, f"knative_eventing_verify: {problem}"] if problem else found


def _is_known(project: str, values: Values) -> bool:
    """Return whether the contents of a project's release are known here."""
    match = re.fullmatch(r"1\.(\d+)\.\d+", str(values.get(VERSIONS.get(project, ""), "")))
    return match is not None and int(match[1]) <= KNOWN_MINOR
