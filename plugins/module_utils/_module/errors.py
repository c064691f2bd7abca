"""The error that a task reports to the user."""

from __future__ import annotations

from typing import Any


class TaskError(Exception):
    """A task cannot do what its options ask; `str()` of it is the message the task fails with.

    `result` holds what the failed task returns besides the message, for example `changed`.
    """

    def __init__(self, *arguments: object, **result: Any) -> None:
        super().__init__(*arguments)
        self.result: dict[str, Any] = result
