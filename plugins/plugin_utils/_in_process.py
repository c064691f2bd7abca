"""Runs tasks in Ansible's worker where the host is this machine, else as modules."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.common.json import AnsibleJSONEncoder
from ansible.module_utils.common.parameters import remove_values
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ansible_collections.streamops.knative.plugins.module_utils._google.task import GcpTask
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.task import Run, Task
from ansible_collections.streamops.knative.plugins.module_utils._oci.task import OciTask

AnyTask = Task | GcpTask | OciTask


class InProcessAction(ActionBase):
    """Base of the action plugins; subclasses name their `module` and its `task`."""

    TRANSFERS_FILES = False
    module: str
    task: AnyTask

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the task where it is cheapest."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        result.update(self.execute(dict(self._task.args), task_vars or {}))
        return result

    def execute(self, args: dict[str, Any], variables: dict[str, Any]) -> dict[str, Any]:
        """Run the task with these options."""
        if self.is_local and not self._needs_process():
            return self._in_worker(args, str(variables.get("inventory_hostname", "")))
        result: dict[str, Any] = self._execute_module(
            module_name=f"streamops.knative.{self.module}",
            module_args=_guarded(args),
            task_vars=variables,
        )
        return result

    @property
    def is_local(self) -> bool:
        """Whether the host is this machine."""
        return bool(self._connection.transport == "local")

    def _needs_process(self) -> bool:
        """Another user, an environment or async: what only a process of its own can have."""
        environment = any(self._task.environment or [])
        return bool(self._task.async_val or self._play_context.become or environment)

    def _in_worker(self, args: dict[str, Any], host: str) -> dict[str, Any]:
        # Templated values carry Ansible's marks; what follows wants them plain.
        plain = json.loads(json.dumps(args, cls=AnsibleJSONEncoder))
        validator = ArgumentSpecValidator(self.task.argument_spec, **self.task.constraints)
        validated = validator.validate(plain)
        secrets = validated._no_log_values
        if validated.error_messages:
            raise AnsibleActionFail(remove_values("; ".join(validated.error_messages), secrets))
        warnings: list[str] = []
        run = Run(
            validated.validated_parameters,
            check_mode=bool(self._task.check_mode),
            diff=bool(self._task.diff),
            warn=warnings.append,
            progress=lambda sentence: Display().display(f"[{host}] {sentence}"),
        )
        # Relative paths are the playbook's, as for a module with a local connection.
        with contextlib.chdir(self._loader.get_basedir()):
            try:
                result = self.task.work(run)
            except self.task.error as error:
                result = {"failed": True, "msg": str(error), **error.result}
        if warnings:
            result["warnings"] = warnings
        # As AnsibleModule does with what a module returns.
        hidden: dict[str, Any] = remove_values(result, secrets)
        return hidden


def _guarded(args: dict[str, Any]) -> dict[str, Any]:
    """Options for a module: a kubeconfig of its own goes as one text that Ansible keeps out of logs."""
    config = args.get("kubeconfig")
    if not isinstance(config, dict):
        return args
    rest = {name: value for name, value in args.items() if name != "kubeconfig"}
    return {**rest, "kubeconfig_content": json.dumps(config, cls=AnsibleJSONEncoder)}
