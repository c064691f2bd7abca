"""How every Google module runs: plan, carry out unless in check mode, report.

A module reads what is there and makes a Plan; nothing is written before the plan is complete, so
everything that can be refused is refused before anything is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import yaml
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.streamops.knative.plugins.module_utils._gcp_argspec import connect
from ansible_collections.streamops.knative.plugins.module_utils._gcp_errors import GcpError
from ansible_collections.streamops.knative.plugins.module_utils._gcp_session import Session

Json = dict[str, Any]


@dataclass
class Plan:
    """What a module is going to do.

    `before` and `after` are what people compare (no secrets); `steps` are carried out in order, each
    with the words that say what it changes; `result` is returned besides, and steps may add to it.
    """

    before: Json = field(default_factory=dict)
    after: Json = field(default_factory=dict)
    steps: list[tuple[str, Callable[[], object]]] = field(default_factory=list)
    result: Json = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, words: str, step: Callable[[], object]) -> None:
        """Add a step."""
        self.steps.append((words, step))

    @property
    def changes(self) -> list[str]:
        """What the steps change, in words."""
        return [words for words, _ in self.steps]


def run(module: AnsibleModule, make_plan: Callable[[Session, Json], Plan]) -> None:
    """Make the plan, carry it out unless in check mode, and exit; errors end in `fail_json`."""
    done: list[str] = []
    try:
        session = connect(module)
        plan = make_plan(session, module.params)
        for words, step in [] if module.check_mode else plan.steps:
            step()
            done.append(words)
    except GcpError as error:
        module.fail_json(msg=str(error), changed=bool(done), changes=done)
    for warning in [*plan.warnings, *session.warnings]:
        module.warn(warning)
    result: Json = {"changed": bool(plan.steps), "changes": plan.changes, **plan.result}
    if module._diff:
        result["diff"] = {"before": _text(plan.before), "after": _text(plan.after)}
    module.exit_json(**result)


def read(module: AnsibleModule, query: Callable[[Session, Json], Json]) -> None:
    """Answer what `query` finds; errors end in `fail_json`."""
    try:
        found = query(connect(module), module.params)
    except GcpError as error:
        module.fail_json(msg=str(error))
    module.exit_json(changed=False, **found)


def merged_labels(current: Json, wanted: Json, *, purge: bool) -> dict[str, str]:
    """The labels that result: those that are there stay unless they are purged."""
    return {**({} if purge else current), **{key: str(value) for key, value in wanted.items()}}


def _text(value: Json) -> str:
    text: str = yaml.safe_dump(value, sort_keys=True) if value else ""
    return text
