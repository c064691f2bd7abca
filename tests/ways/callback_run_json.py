"""A callback that writes one JSON document, as those of pipelines do; copied into the other repository."""

from __future__ import annotations

import json
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: run_json
type: stdout
short_description: The tasks and counts of a run as JSON
description: The tasks and counts of a run as JSON.
"""


class CallbackModule(CallbackBase):
    """Collects what happens and writes it at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "run_json"

    def __init__(self) -> None:
        super().__init__()
        self.tasks: list[dict[str, Any]] = []

    def _add(self, result: Any, status: str) -> None:
        entry = {"task": result._task.get_name(), "host": result._host.name, "status": status}
        self.tasks.append(entry | {"result": result._result})

    def v2_runner_on_ok(self, result: Any, **_: Any) -> None:
        """Add a task that succeeded."""
        self._add(result, "ok")

    def v2_runner_on_failed(self, result: Any, **_: Any) -> None:
        """Add a task that failed."""
        self._add(result, "failed")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        """Write the document."""
        counts = {host: stats.summarize(host) for host in stats.processed}
        document = {"tasks": self.tasks, "stats": counts}
        self._display.display(json.dumps(document, default=str))
