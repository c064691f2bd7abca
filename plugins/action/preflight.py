"""Checks variables on the controller, and the cluster they name, without starting a process."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.json import AnsibleJSONEncoder
from ansible.module_utils.common.yaml import yaml_load
from ansible.plugins.action import ActionBase

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19 every text is a template
    trust_as_template = str

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.argspec import (
    CONNECTION,
    client_for,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import (
    ApiError,
    ConfigError,
    KubeError,
    Unreachable,
)
from ansible_collections.streamops.knative.plugins.module_utils._pipelines import (
    cluster_checks,
    model,
    validation,
)

ROLES = Path(__file__).resolve().parents[2] / "roles"
CLUSTER_VARIABLES = ("gcp_cluster_name", "kubeconfig", "context")
UNAUTHORIZED = 401

Variables = dict[str, Any]


class ActionModule(ActionBase):
    """See plugins/modules/preflight.py, which documents it."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"roles", "request_timeout"})

    def run(self, tmp: str | None = None, task_vars: Variables | None = None) -> dict[str, Any]:
        """Fail with every problem found in the variables of the roles named, and in the cluster."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        roles = list(self._task.args["roles"])
        values: Variables = {}
        found = _cluster(variables)
        named, sound = not found, True
        for role in roles:
            problems, complete, typed = self._role(role, variables)
            found += problems
            values.update(complete)
            sound = sound and typed
        if named:
            found += self._live(roles, values, variables, sound=sound)
        result["changed"] = False
        result["problems"] = list(dict.fromkeys(found))
        if found:
            host = variables.get("inventory_hostname")
            lines = "\n".join(f"- {line}" for line in result["problems"])
            result.update(failed=True, msg=f"Variables of {host} to correct:\n{lines}")
        else:
            result["msg"] = "Nothing to correct"
        return result

    # -- variables ---------------------------------------------------------------------------

    def _role(self, role: str, variables: Variables) -> tuple[list[str], Variables, bool]:
        """Problems of a role's variables, the variables in full, and whether their types are right."""
        specification = _yaml(role, "meta/argument_specs.yml")
        options = specification["argument_specs"]["main"]["options"]
        internal = _trusted(_yaml(role, "vars/main.yml"))
        scope = {**_trusted(_yaml(role, "defaults/main.yml")), **internal, **variables}
        self._templar.available_variables = {**scope, "role_path": str(ROLES / role)}
        found = validation.unknown(role, options, variables)
        complete: Variables = {}
        for name in options:
            if name in scope:
                try:
                    complete.update(self._templated(name, scope[name], variables))
                except AnsibleError as error:
                    found.append(f"{name}: {error}")
        checked = validation.check(options, complete)
        found += checked.problems
        sound = checked.sound and not found
        if role == "twitter_pipeline" and checked.sound:
            gateway = variables.get("knative_eventing_gateway", "load_balancer")
            found += model.problems({**checked.values, f"{model.PREFIX}gateway": gateway})
        idle = role == "gcp_cluster" and not _managed(variables)
        if f"_{role}_problems" in internal and checked.sound and not idle:
            found += self._templar.template(internal[f"_{role}_problems"])
        return found, checked.values, sound

    def _templated(self, name: str, value: Any, variables: Variables) -> Variables:
        """The variable under its name, or nothing where it is omitted."""
        templated: Variables = self._templar.template({name: value})
        omitted = variables.get("omit")
        plain: Variables = json.loads(json.dumps(templated, cls=AnsibleJSONEncoder))
        return {key: text for key, text in plain.items() if text != omitted}

    # -- the cluster -------------------------------------------------------------------------

    def _live(
        self, roles: list[str], values: Variables, variables: Variables, *, sound: bool
    ) -> list[str]:
        """What is wrong with the way to the cluster and, when all variables are `sound`, with it."""
        found = []
        own = self._own_connection(variables)
        for connection, group in _connections(roles, values, own).items():
            kubeconfig, context = json.loads(connection)
            options = {"kubeconfig": kubeconfig, "context": context}
            timeout = self._task.args.get("request_timeout", 10)
            given = {key: value for key, value in options.items() if value}
            validated = ArgumentSpecValidator(CONNECTION).validate(given).validated_parameters
            try:
                with contextlib.chdir(self._loader.get_basedir()):
                    client = client_for({**validated, "request_timeout": float(timeout)})
                client.version()
                if sound:
                    found += cluster_checks.problems(client, group, values)
            except KubeError as error:
                if not (_managed(variables) and _renewable(error)):
                    source = _source(error, group[0], options, own)
                    found.append(f"{source}: {str(error).removeprefix('kubeconfig: ')}")
        return found

    def _own_connection(self, variables: Variables) -> Variables:
        """The host's variables kubeconfig and context, as far as they are set."""
        self._templar.available_variables = variables
        own: Variables = {}
        for name in ("kubeconfig", "context"):
            if name in variables:
                own.update(self._templated(name, variables[name], variables))
        return own


def _connections(roles: list[str], values: Variables, own: Variables) -> dict[str, list[str]]:
    """Roles that have work to do on the cluster, by (kubeconfig, context) as JSON."""
    found: dict[str, list[str]] = {}
    for role in roles:
        if values.get(f"{role}_state") != "present" or role == "gcp_cluster":
            continue
        if role == "secrets" and values.get("secrets_backend") != "kubernetes":
            continue
        pair = [values.get(f"{role}_{name}") or own.get(name) for name in ("kubeconfig", "context")]
        found.setdefault(json.dumps(pair), []).append(role)
    return found


def _yaml(role: str, file: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_load((ROLES / role / file).read_text(encoding="utf-8"))
    return parsed


def _trusted(value: Any) -> Any:
    """The role's own texts, which may be templates."""
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


def _cluster(variables: Variables) -> list[str]:
    if any(variables.get(name) for name in CLUSTER_VARIABLES):
        return []
    return [
        "no cluster: set gcp_cluster_name (with gcp_cluster_project and gcp_cluster_location)"
        " for one on GKE, or kubeconfig and, where it has several, context for one that exists"
    ]


def _managed(variables: Variables) -> bool:
    """Whether the role gcp_cluster makes the cluster, or renews the way to it."""
    return bool(variables.get("gcp_cluster_name"))


def _renewable(error: KubeError) -> bool:
    """Whether the run may be about to mend this: no cluster yet, or credentials that have expired."""
    expired = isinstance(error, ApiError) and error.status == UNAUTHORIZED
    return expired or isinstance(error, ConfigError | Unreachable)


def _source(error: KubeError, role: str, options: Variables, own: Variables) -> str:
    """The variable that the way to the cluster comes from: the role's, or the host's own."""
    name = "context" if str(error).startswith("context") else "kubeconfig"
    return name if options[name] in (None, own.get(name)) else f"{role}_{name}"
