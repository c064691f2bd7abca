"""What a Kubernetes task is, apart from where it runs.

A task's work is a function from a `Run` to results. A module runs it in a process of its own on the
host; with a local connection the action plugin runs the same function in Ansible's worker, which saves
the time of packing and starting a module (about as much as a whole no-op apply takes).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.argspec import (
    CONNECTION,
    client_for,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.client import Client
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import KubeError

PROGRESS_EVERY, REPEAT_EVERY = 3.0, 15.0  # seconds


@dataclass(frozen=True)
class Run:
    """One execution. `warn` and `progress` take a sentence for the person who waits."""

    params: dict[str, Any]
    check_mode: bool = False
    diff: bool = False
    warn: Callable[[str], None] = lambda _sentence: None
    progress: Callable[[str], None] = lambda _sentence: None

    def connect(self) -> Client:
        """Client for the cluster the options name; raises ConfigError."""
        return client_for(self.params)


@dataclass(frozen=True)
class Task:
    """The work and its options (besides those of the connection), as AnsibleModule takes them."""

    work: Callable[[Run], dict[str, Any]]
    options: dict[str, dict[str, Any]]
    required_if: list[tuple[Any, ...]] = field(default_factory=list)

    error = KubeError

    @property
    def constraints(self) -> dict[str, Any]:
        """What else is demanded of the options."""
        return {"required_if": self.required_if}

    @property
    def argument_spec(self) -> dict[str, dict[str, Any]]:
        """All options."""
        return {**CONNECTION, **self.options}

    def main(self) -> None:
        """Run as a module."""
        # Not wanted in Ansible's worker, where importing it costs 90 ms.
        from ansible.module_utils.basic import AnsibleModule  # noqa: PLC0415

        module = AnsibleModule(
            argument_spec=self.argument_spec,
            required_if=self.required_if,
            supports_check_mode=True,
        )
        run = Run(module.params, module.check_mode, module._diff, module.warn)
        try:
            result = self.work(run)
        except KubeError as error:
            module.fail_json(msg=str(error), **error.result)
        module.exit_json(**result)


def paced(tell: Callable[[str], None]) -> Callable[[str], None]:
    """Pass on a sentence every few seconds, with the time waited so far; the same one more rarely."""
    started = time.monotonic()
    last_time, last_sentence = started, ""

    def progress(sentence: str) -> None:
        nonlocal last_time, last_sentence
        now = time.monotonic()
        if now - last_time < (REPEAT_EVERY if sentence == last_sentence else PROGRESS_EVERY):
            return
        last_time, last_sentence = now, sentence
        tell(f"{now - started:.0f} s: {sentence}")

    return progress
