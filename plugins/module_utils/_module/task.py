"""A task of this collection: its options, the work it does, and its entry point as a module.

The work is a function from a `Run` to the results. The entry point is the same in a module process and
in Ansible's worker, where the action plugin calls it with an AnsibleModule of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from .errors import TaskError
from .options import Spec, described


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


class _Unusable(AnsibleModule):
    """A module whose options are unknown: fails for one reason, and shows no parameter, since any may be secret."""

    def __init__(self, reason: str) -> None:
        self._reason = reason
        super().__init__(argument_spec={}, no_log=True)

    def fail_json(self, **_details: Any) -> None:
        super().fail_json(msg=self._reason, invocation={})


@dataclass(frozen=True)
class Task:
    """The work of a module and its options.

    `work` raises TaskError for what the user has to know. The options are those of the module's
    `documentation`, with `more` about them (see `described`), and the `shared` ones that its doc fragments
    describe. `constraints` are other arguments of AnsibleModule, for example `required_if`.
    """

    work: Callable[[Run], dict[str, Any]]
    documentation: str
    shared: Spec = field(default_factory=dict)
    more: Spec = field(default_factory=dict)
    constraints: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Read the options where that is possible: Ansible imports modules before it forks its workers."""
        with suppress(TaskError):
            self.options  # noqa: B018 - read once, then cached

    @cached_property
    def options(self) -> Spec:
        """AnsibleModule's argument_spec."""
        return {**self.shared, **described(self.documentation, self.more)}

    def main(
        self,
        module_class: type[AnsibleModule] = AnsibleModule,
        progress: Callable[[str], None] = _ignore,
    ) -> None:
        """Run as a module: read the options, do the work, print the result, exit."""
        try:
            options = self.options
        except TaskError as error:
            _Unusable(str(error)).fail_json()
        module = module_class(
            argument_spec=dict(options), supports_check_mode=True, **self.constraints
        )
        run = Run(module.params, module.check_mode, module._diff, module.warn, progress)
        try:
            result = self.work(run)
        except TaskError as error:
            module.fail_json(msg=str(error), **error.result)
        module.exit_json(**result)
