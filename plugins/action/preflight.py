# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Action plugin of streamops.knative.preflight: checks variables, and the cluster they name, on the controller."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase

from ..module_utils._google.gke import versions
from ..module_utils._kubernetes.argspec import CONNECTION, client_for
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.errors import ApiError, ConfigError, KubeError, Unreachable
from ..module_utils._module.parallel import in_parallel
from ..module_utils._pipelines import cluster_checks, consistency
from ..module_utils._pipelines.variables import plain
from ..plugin_utils._plain_output import show
from ..plugin_utils._role_reader import ROLE_NAMES, RoleReader, rules_of

CLUSTER_VARIABLES = ("gcp_cluster_name", "kubeconfig", "context", "kubernetes_login")
#: What names a cluster without a variable: an AAP credential or the like, and the pod this runs in.
CLUSTER_ENVIRONMENT = (
    "K8S_AUTH_KUBECONFIG",
    "K8S_AUTH_CONTEXT",
    "K8S_AUTH_HOST",
    "KUBERNETES_SERVICE_HOST",
)
#: The variables in which plays and roles register the results of this action, for later checks.
REGISTERED = ("_streamops_checked", *(f"_{role}" for role in ROLE_NAMES))
#: Variables of the role gcp_cluster that are options of the modules about it.
GOOGLE = (
    "name",
    "location",
    "project",
    "auth_kind",
    "endpoint",
    "service_account_file",
    "service_account_email",
    "impersonate_service_account",
)
NO_KEYS = (
    "No pipeline reads X, so no credentials are needed. None are stored; those stored earlier stay."
)
UNAUTHORIZED, FORBIDDEN = 401, 403
#: Seconds to look at the cluster of another host, and at how many before their own checks have told.
GLANCE, GLANCES = 3.0, 10

Variables = dict[str, Any]


class ActionModule(ActionBase):
    """See plugins/modules/preflight.py, which documents it."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"role", "roles", "renew_credentials", "request_timeout"})

    def run(self, tmp: str | None = None, task_vars: Variables | None = None) -> dict[str, Any]:
        """Fail with every problem found in the variables of the roles named, and in the cluster."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        # Plain texts: to the caches of what is read by roles, Ansible's own are other keys.
        role_alone = plain(self._task.args.get("role"))
        roles = [role_alone] if role_alone else plain(self._task.args["roles"])
        before = _registered(variables)
        reader = RoleReader(self._templar, self._loader, variables)
        values: Variables = {}
        found = _cluster(variables)
        named = not found
        checked: dict[str, Variables] = {}
        digests = {role: reader.fingerprint(role) for role in roles}
        for role in roles:
            if digests[role] and before["digests"].get(role) == digests[role]:
                checked[role] = plain(before["roles"][role])
                continue
            reading = reader.read(role)
            found += reading.problems
            values.update(reading.values)
            checked[role] = reading.published
        result["changed"] = False
        result["warnings"] = _untrimmed(values)
        if not found and self._renews(roles, values, variables, before):
            renewed = self._renew(reader, variables)
            if renewed.get("failed"):
                return {**result, **renewed}
            result["changed"] = renewed.get("changed", False)
            before["renewed"] = True
            before["planned"] = _planned(renewed)
        checked = {role: _connected(checked[role], before["planned"]) for role in checked}
        live = [role for role in before["live"] if _holds(before["roles"][role], checked.get(role))]
        if named:
            pending = [role for role in roles if role not in live]
            if pending and self._task.check_mode and "knative_eventing" in before["roles"]:
                # An earlier role of this run has only planned the Knative that others need.
                pending = list(dict.fromkeys([*pending, "knative_eventing"]))
                planned = plain(before["roles"]["knative_eventing"])
                values = {**_prefixed("knative_eventing", planned), **values}
            if self._task.check_mode and "gcp_cluster" in before["roles"]:
                # So is the upgrade of the cluster.
                values = {
                    **_prefixed("gcp_cluster", plain(before["roles"]["gcp_cluster"])),
                    **values,
                }
            problems, reached, identity = self._live(
                pending, values, reader, before["planned"], sound=not found
            )
            found += problems
            live += reached
            before["cluster"] = before["cluster"] or identity
            if not found and not before["compared"]:
                twins, before["compared"] = self._twins(before["cluster"], variables)
                found += twins
        if found:
            host = variables.get("inventory_hostname")
            lines = "\n".join(f"- {line}" for line in dict.fromkeys(found))
            result.update(failed=True, msg=f"Variables of {host} to correct:\n{lines}")
            return result
        shown = {"msg": "Nothing to correct", "_ansible_verbose_override": True}  # few at -v
        if role_alone == "secrets" and _unneeded(checked[role_alone]):
            shown["msg"] = NO_KEYS
            show(variables["inventory_hostname"], f" {NO_KEYS}")  # a task of its own takes time
        kept = {name: before[name] for name in ("cluster", "compared", "renewed", "planned")}
        returned = checked[role_alone] if role_alone else {"roles": checked}
        kept["digests"] = {
            role: digest
            for role, digest in digests.items()
            if role in live or not _needs_cluster(role, _prefixed(role, checked[role]))
        }
        return {**result, **shown, **returned, "check": {**kept, "live": live}}

    # -- credentials -------------------------------------------------------------------------

    def _renews(
        self, roles: list[str], values: Variables, variables: Variables, before: Variables
    ) -> bool:
        """Return whether the kubeconfig of a managed cluster has to be written first."""
        return bool(
            self._task.args.get("renew_credentials")
            and _managed(variables)
            and not before["renewed"]
            and "_gcp_cluster_credentials" not in variables
            and any(_needs_cluster(role, values) for role in roles)
        )

    def _renew(self, reader: RoleReader, variables: Variables) -> dict[str, Any]:
        """Write the kubeconfig of the host's GKE cluster."""
        reading = reader.read("gcp_cluster")
        if reading.problems:
            return {"failed": True, "msg": "\n".join(reading.problems)}
        given = reading.published
        more = {
            "path": given.get("kubeconfig"),
            "auth": given.get("kubeconfig_auth"),
            "endpoint_type": given.get("endpoint_type"),
            "context": given.get("context") or reader.optional("context"),
        }
        return self._google("gke_kubeconfig", given, more, variables)

    def _google(
        self, module: str, given: Variables, more: Variables, variables: Variables
    ) -> dict[str, Any]:
        """Run a module about the host's GKE cluster, with the variables of the role gcp_cluster."""
        task = self._task.copy()
        task.action = f"streamops.knative.{module}"
        options = {**{name: given.get(name) for name in GOOGLE}, **more}
        task.args = {name: value for name, value in options.items() if value}
        action = self._shared_loader_obj.action_loader.get(
            task.action,
            task=task,
            connection=self._connection,
            play_context=self._play_context,
            loader=self._loader,
            templar=self._templar,
            shared_loader_obj=self._shared_loader_obj,
        )
        result: dict[str, Any] = action.run(task_vars=variables)
        return result

    # -- the cluster -------------------------------------------------------------------------

    def _live(
        self,
        roles: list[str],
        values: Variables,
        reader: RoleReader,
        planned: Variables,
        *,
        sound: bool,
    ) -> tuple[list[str], list[str], dict[str, str]]:
        """Return what is wrong with the cluster or the way to it, the roles it was checked for, and which it is."""
        working = [role for role in roles if _works(role, values)]
        if not working:
            return [], [], {}
        found, reached = [], []
        # Kubernetes' version: None until it has been read, empty if the cluster does not exist yet.
        kubernetes: str | None = None
        identity: dict[str, str] = {}
        own = {
            name: value
            for name in ("kubeconfig", "context")
            if (value := reader.optional(name)) is not None
        }
        for connection, group in _connections(working, values, own, planned).items():
            options = json.loads(connection)
            timeout = self._task.args.get("request_timeout", 10)
            try:
                client = self._client(options, float(timeout))
                kubernetes = client.version().get("gitVersion") or kubernetes
                if sound:
                    identity = identity or _identity(client)
                    rules = {role: rules_of(role) for role in group if rules_of(role)}
                    found += cluster_checks.problems(client, group, values, rules)
                    reached += group
            except KubeError as error:
                if not (_managed(reader.variables) and _renewable(error)):
                    source = _source(error, group[0], options, own)
                    found.append(f"{source}: {str(error).removeprefix('kubeconfig: ')}")
                elif isinstance(error, ConfigError | Unreachable):
                    kubernetes = kubernetes or ""
        if sound and kubernetes is not None and _managed(reader.variables):
            needed = cluster_checks.needed_kubernetes(roles, values)
            upgrade = values.get("gcp_cluster_kubernetes_version") or ""
            have = max(versions.number(text)[:2] for text in (kubernetes, upgrade))
            if needed and have < needed:
                found += self._channel(needed, reader)
        return found, reached, identity

    def _channel(self, needed: tuple[int, int], reader: RoleReader) -> list[str]:
        """Return how the host's GKE cluster gets the Kubernetes that Knative needs.

        Nothing where it has it, or where Google does not answer: what creates the cluster reports that.
        """
        given = reader.read("gcp_cluster").published
        answer = self._google("gke_cluster_info", given, {"versions": True}, reader.variables)
        if answer.get("failed"):
            return []
        (cluster,) = answer["clusters"] or [{}]
        own = (cluster.get("releaseChannel") or {}).get("channel")
        channel = given.get("release_channel") or own or versions.DEFAULT_CHANNEL
        return _upgrade(needed, cluster.get("currentMasterVersion"), channel, answer["versions"])

    def _client(self, options: Variables, timeout: float) -> Client:
        """Return a client for what options and the environment name."""
        given = {key: value for key, value in options.items() if value}
        validated = ArgumentSpecValidator(CONNECTION).validate(given).validated_parameters
        with contextlib.chdir(self._loader.get_basedir()):
            return client_for({**validated, "request_timeout": timeout})

    def _twins(self, identity: dict[str, str], variables: Variables) -> tuple[list[str], bool]:
        """Return which other hosts of the play are the same cluster, and whether all were compared.

        They would work on it at once.
        """
        host = variables.get("inventory_hostname")
        others = [name for name in variables.get("ansible_play_hosts_all") or [] if name != host]
        if not identity or not others:
            return [], not others
        known: dict[str, dict[str, str]] = {}
        clients = {}
        for name in others:
            if checked := _registered(variables["hostvars"].raw_get(name))["cluster"]:
                known[name] = checked
                continue
            theirs = variables["hostvars"][name]
            if len(others) > GLANCES or (_managed(theirs) and _managed(variables)):
                continue  # the next check of this run compares what the hosts' own checks have found
            # What is wrong with another host is its own check's to report.
            with contextlib.suppress(AnsibleError, KubeError):
                options = {key: plain(theirs.get(key)) for key in ("kubeconfig", "context")}
                options |= plain(theirs.get("kubernetes_login") or {})
                clients[name] = self._client(options, GLANCE)
        known |= dict(zip(clients, in_parallel(_glance, clients.values(), GLANCES), strict=True))
        twins = [
            f"{name} is the same cluster as {host} ({identity.get('uid') or identity['server']}): keep one"
            " host for each cluster; several pipelines on it are entries of twitter_pipeline_pipelines"
            for name, cluster in known.items()
            if _is_same(cluster, identity)
        ]
        return twins, all(known.get(name) for name in others)


def _identity(client: Client) -> dict[str, str]:
    """Return what tells a cluster from others: its address, and the uid of kube-system where that may be read."""
    identity = {"server": client.transport.url, "uid": ""}
    try:
        system = client.get(client.resource("v1", "Namespace"), "kube-system")
    except ApiError as error:
        if error.status != FORBIDDEN:
            raise
    else:
        identity["uid"] = system["metadata"]["uid"] if system else ""
    return identity


def _glance(client: Client) -> dict[str, str]:
    """Return the identity of another host's cluster, or nothing while it does not answer."""
    try:
        return _identity(client)
    except KubeError:
        return {}


def _is_same(one: dict[str, str], other: dict[str, str]) -> bool:
    if one.get("uid") and other.get("uid"):
        return one["uid"] == other["uid"]
    return bool(one) and one["server"] == other["server"]


def _upgrade(
    needed: tuple[int, int], have: str | None, channel: str, offered: Mapping[str, list[str]]
) -> list[str]:
    """Return what to set for a GKE cluster to have a Kubernetes; nothing where it has, or gets, that."""
    fitting = versions.fitting(offered, lambda text: versions.number(text)[:2] >= needed)
    here = offered.get(channel) or []
    if not here or versions.number(have or here[0])[:2] >= needed:
        return []
    minor = ".".join(map(str, needed))
    why = (
        f"Knative needs Kubernetes {minor}, and the cluster"
        f" {f'has {have}' if have else f'would get {here[0]}'}"
    )
    upgrade = f"gcp_cluster_kubernetes_version: '{minor}'"
    then = "and run site.yml, or playbooks/cluster.yml first"
    if channel in fitting:
        return [
            f"gcp_cluster_kubernetes_version: {why}; the release channel {channel} offers"
            f" {', '.join(fitting[channel])}: set {upgrade} {then}"
        ]
    others = [f"{name} ({', '.join(listed)})" for name, listed in fitting.items()]
    advice = (
        f"set it to one that does, {' or '.join(others)}, with {upgrade}, {then}"
        if others
        else "choose an older Knative"
    )
    return [
        f"gcp_cluster_release_channel: {why}; the release channel {channel} offers only"
        f" {', '.join(here)}: {advice}"
    ]


def _registered(variables: Variables) -> Variables:
    """Return what earlier checks of this run have found right."""
    roles: Variables = {}
    live: list[str] = []
    digests: dict[str, str] = {}
    found: Variables = {"cluster": {}, "compared": False, "renewed": False, "planned": {}}
    for name in REGISTERED:
        earlier = variables.get(name)
        if not isinstance(earlier, Mapping) or "check" not in earlier:
            continue
        checked = earlier["roles"] if "roles" in earlier else {name.removeprefix("_"): earlier}
        roles |= checked
        digests |= earlier["check"]["digests"] if "roles" in earlier else dict.fromkeys(checked, "")
        live = [role for role in live if role not in checked]
        live += [role for role in checked if role in earlier["check"]["live"]]
        found |= {key: plain(earlier["check"][key]) for key in found if earlier["check"][key]}
    planned = _planned(variables.get("_gcp_cluster_credentials") or {})
    planned = planned or found["planned"]
    return {**found, "planned": planned, "roles": roles, "live": live, "digests": digests}


def _holds(before: Variables, now: Variables | None) -> bool:
    """Return whether a role's variables, where they are read again, are as they were."""
    return now is None or now.items() <= plain(before).items()


def _untrimmed(values: Variables) -> list[str]:
    """Return a warning about credentials for Kubernetes that end in a newline; gcp_secret has its own."""
    names = [f"secrets_x_{name}" for name in consistency.CREDENTIALS]
    found = [name for name in names if str(values.get(name, "")).endswith("\n")]
    if not found or values.get("secrets_backend") != "kubernetes":
        return []
    return [
        "These end in a newline, which is part of the value and most likely a mistake:"
        f" {', '.join(found)}. Where they are read from files, use lookup('file', …, rstrip=true)"
        " or the filter trim."
    ]


def _planned(result: Variables) -> Variables:
    """Return what check mode knows of a kubeconfig that it does not write: its file and its content."""
    planned = plain(result.get("planned_kubeconfig") or {})
    return {"file": str(result["kubeconfig"]), "content": planned} if planned else {}


def _connected(options: Variables, planned: Variables) -> Variables:
    """Return the variables of a connection, with the kubeconfig as it would be in place of its file."""
    path, context = options.get("kubeconfig"), options.get("context")
    if not planned or not isinstance(path, str):
        return options
    same = os.path.realpath(Path(path).expanduser()) == os.path.realpath(planned["file"])
    content = planned["content"]
    if not same or context not in (None, "", content["current-context"]):
        return options
    return {**options, "kubeconfig": content}


def _prefixed(role: str, variables: Variables) -> Variables:
    """Return a role's variables by their full names."""
    return {f"{role}_{name}": value for name, value in variables.items()}


def _needs_cluster(role: str, values: Variables) -> bool:
    """Return whether a role's work is in the cluster; Secret Manager needs none, not even one that is gone."""
    if role == "secrets":
        return (
            values.get("secrets_backend") == "kubernetes" and values.get("secrets_consumers") != []
        )
    return role != "gcp_cluster"


def _works(role: str, values: Variables) -> bool:
    """Return whether a role whose variables were read has work to do on the cluster."""
    return values.get(f"{role}_state") == "present" and _needs_cluster(role, values)


def _unneeded(secrets: Variables) -> bool:
    """Return whether the role secrets has nothing to store: nobody reads the credentials."""
    return secrets.get("state") == "present" and not secrets.get("consumers")


def _connections(
    roles: list[str], values: Variables, own: Variables, planned: Variables
) -> dict[str, list[str]]:
    """Return the roles by the options of their connection to the cluster as JSON."""
    found: dict[str, list[str]] = {}
    for role in roles:
        options = {
            name: values.get(f"{role}_{name}") or own.get(name)
            for name in ("kubeconfig", "context")
        }
        options = {**_connected(options, planned), **(values.get(f"{role}_login") or {})}
        found.setdefault(json.dumps(options), []).append(role)
    return found


def _cluster(variables: Variables) -> list[str]:
    if any(variables.get(name) for name in CLUSTER_VARIABLES):
        return []
    if any(os.environ.get(name) for name in CLUSTER_ENVIRONMENT):
        return []
    return [
        "no cluster: set gcp_cluster_name (with gcp_cluster_project and gcp_cluster_location)"
        " for one on GKE, or kubeconfig and, where it has several, context for one that exists, or"
        " kubernetes_login with host and api_key, or the environment variables K8S_AUTH_*"
    ]


def _managed(variables: Variables) -> bool:
    """Return whether the role gcp_cluster makes the cluster, or renews the way to it."""
    return bool(variables.get("gcp_cluster_name"))


def _renewable(error: KubeError) -> bool:
    """Return whether the run may be about to mend this: no cluster yet, or expired credentials."""
    expired = isinstance(error, ApiError) and error.status == UNAUTHORIZED
    return expired or isinstance(error, ConfigError | Unreachable)


def _source(error: KubeError, role: str, options: Variables, own: Variables) -> str:
    """Return the variable that the way to the cluster comes from: the role's, or the host's own."""
    name = "context" if str(error).startswith("context") else "kubeconfig"
    if options.get("host"):
        return "kubernetes_login"
    return name if options[name] in (None, own.get(name)) else f"{role}_{name}"
