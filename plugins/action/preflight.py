"""Checks variables on the controller, without starting a process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from ansible.plugins.action import ActionBase

from ansible_collections.streamops.knative.plugins.module_utils._pipelines import (
    problems as pipeline_problems,
)
from ansible_collections.streamops.knative.plugins.module_utils._variables import problems

ROLES = Path(__file__).resolve().parents[2] / "roles"
CLUSTER_VARIABLES = ("gcp_cluster_name", "kubeconfig", "context")


class ActionModule(ActionBase):
    """See plugins/modules/preflight.py, which documents it."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _supports_check_mode = True
    _VALID_ARGS = frozenset({"roles"})

    def run(
        self, tmp: str | None = None, task_vars: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """Fail with every problem found in the variables of the roles named."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        found = self._cluster(variables)
        for role in self._task.args["roles"]:
            specification = yaml.safe_load(
                (ROLES / role / "meta" / "argument_specs.yml").read_text(encoding="utf-8")
            )
            options = specification["argument_specs"]["main"]["options"]
            values = self._values(role, variables)
            found += problems(role, options, values)
            if role == "twitter_pipeline":
                found += pipeline_problems(values)
        result["changed"] = False
        result["problems"] = found
        if found:
            host = variables.get("inventory_hostname")
            lines = "\n".join(f"- {line}" for line in found)
            result.update(failed=True, msg=f"Variables of {host} to correct:\n{lines}")
        else:
            result["msg"] = "Nothing to correct"
        return result

    def _values(self, role: str, variables: dict[str, Any]) -> dict[str, Any]:
        """The host's variables with the role's prefix; in a play with the role, its defaults too."""
        mine = {name: value for name, value in variables.items() if name.startswith(f"{role}_")}
        self._templar.available_variables = {**variables, "role_path": str(ROLES / role)}
        values: dict[str, Any] = self._templar.template(mine)
        return values

    @staticmethod
    def _cluster(variables: dict[str, Any]) -> list[str]:
        if any(variables.get(name) for name in CLUSTER_VARIABLES):
            return []
        return [
            "no cluster: set gcp_cluster_name (with gcp_cluster_project and gcp_cluster_location)"
            " for one on GKE, or kubeconfig and, where it has several, context for one that exists"
        ]
