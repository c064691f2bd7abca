"""A task of this collection: its options, the work it does, and its entry point as a module.

The work is a function from a `Run` to the results. The entry point is the same in a module process and
in Ansible's worker, where the action plugin calls it with an AnsibleModule of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .errors import TaskError


def _ignore(_sentence: str) -> None:
    """Drop a sentence."""


@dataclass(frozen=True)
class Run:
    """One execution of a task: validated options, modes, and where warnings and progress go."""

    params: dict[str, Any]
    check_mode: bool = False
    diff: bool = False
    warn: Callable[[str], None] = _ignore
    progress: Callable[[str], None] = _ignore


@dataclass(frozen=True)
class Task:
    """The work of a module and its options.

    `options` is AnsibleModule's argument_spec; `constraints` holds its other arguments, for example
    `required_if`. `work` raises TaskError for what the user has to know.
    """

    work: Callable[[Run], dict[str, Any]]
    options: Mapping[str, Mapping[str, Any]]
    constraints: Mapping[str, Any] = field(default_factory=dict)

    def main(
        self,
        module_class: type[AnsibleModule] = AnsibleModule,
        progress: Callable[[str], None] = _ignore,
    ) -> None:
        """Run as a module: read the options, do the work, print the result, exit."""
        module = module_class(
            argument_spec=dict(self.options), supports_check_mode=True, **self.constraints
        )
        run = Run(module.params, module.check_mode, module._diff, module.warn, progress)
        try:
            result = self.work(run)
        except TaskError as error:
            module.fail_json(msg=str(error), **error.result)
        module.exit_json(**result)
