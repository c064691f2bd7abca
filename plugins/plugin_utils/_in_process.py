# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Action plugins that run their module in Ansible's worker where that is equivalent.

Packing and starting a module process takes as long as the work of most tasks. Everything else about a
module stays as it is: the module's own entry point runs with Ansible's own AnsibleModule.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from ansible import constants
from ansible.module_utils import basic
from ansible.module_utils.common import json as ansible_json
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._http.errors import SettingError
from ..module_utils._http.tls import public_context
from ..module_utils._module.task import Task
from ._before_fork import share_what_is_loaded

COLLECTION = "streamops.knative"
_PROFILE = "legacy"  # how ansible-core 2.19 and later exchange values with modules
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_DISCOVERED = ("auto", "auto_legacy", "auto_silent", "auto_legacy_silent")

Json = dict[str, Any]


def in_process(name: str, *libraries: str) -> type[InProcessAction]:
    """Return the action plugin of a module of this collection.

    Ansible loads action plugins before it forks its workers, so what is imported here is imported once:
    the module, the `libraries` that it imports late, and, for modules that have some, the CAs of public servers.
    """
    if libraries:
        with contextlib.suppress(SettingError):  # the task that needs them reports it
            public_context()
    for library in libraries:
        with contextlib.suppress(ImportError):  # the task that needs it reports it
            importlib.import_module(library)
    module = importlib.import_module(f"ansible_collections.{COLLECTION}.plugins.modules.{name}")
    share_what_is_loaded()
    return type("ActionModule", (InProcessAction,), {"module": name, "task": module.TASK})


class InProcessAction(ActionBase):
    """Runs `task` in Ansible's worker, or `module` as a module process."""

    TRANSFERS_FILES = False
    _supports_async = True
    module: str
    task: Task

    def run(self, tmp: None = None, task_vars: Json | None = None) -> Json:
        """Run the task."""
        result: Json = super().run(tmp, task_vars)
        result.update(self.execute(dict(self._task.args), task_vars or {}))
        return result

    def execute(self, args: Json, variables: Json) -> Json:
        """Run the task with these options."""
        args = _without_secrets(args)
        if self.runs_in_worker(variables):
            return self._in_worker(args, variables)
        result: Json = self._execute_module(
            module_name=f"{COLLECTION}.{self.module}",
            module_args=args,
            task_vars=variables,
            wrap_async=bool(self._task.async_val)
            and not getattr(self._connection, "has_native_async", False),
        )
        return result

    def runs_in_worker(self, variables: Json) -> bool:
        """Return whether a module process would have the same host, user, Python and environment.

        A task timeout interrupts the worker wherever it is; a process of its own is interrupted safely.
        """
        task = self._task
        return (
            self._connection.transport == "local"
            and not self._play_context.become
            and not task.async_val
            and not task.timeout
            and not any(task.environment or [])
            and self._has_same_interpreter(variables)
        )

    def _has_same_interpreter(self, variables: Json) -> bool:
        if self._task.delegate_to:
            delegated = variables.get("ansible_delegated_vars", {})
            variables = delegated.get(self._task.delegate_to, variables)
        configured = constants.config.get_config_value("INTERPRETER_PYTHON", variables=variables)
        value = str(self._templar.template(configured) or "").strip()
        if not value or value in _DISCOVERED:
            return True
        given, ours = Path(shutil.which(value) or value), Path(sys.executable)
        # Not the target of links: a virtual environment's Python is a link to the system's.
        return given.parent == ours.parent and given.exists() and given.samefile(ours)

    def _in_worker(self, args: Json, variables: Json) -> Json:
        self._update_module_args(f"{COLLECTION}.{self.module}", args, variables)
        reporter = _Reporter(str(variables.get("inventory_hostname", "")))
        # Relative paths are relative to the playbook, as for a module with a local connection.
        with contextlib.chdir(self._loader.get_basedir()), _arguments(args), reporter.signals():
            try:
                self.task.main(_WorkerModule, reporter.report)
            except _Finished as finished:
                return finished.result
        raise AssertionError("a module ends with a result")


class _Finished(BaseException):
    """The result of a module, raised in place of the end of its process."""

    def __init__(self, result: Json) -> None:
        super().__init__()
        self.result = result


class _WorkerModule(basic.AnsibleModule):
    """AnsibleModule whose result is raised instead of printed."""

    def _record_module_result(self, o: Json) -> None:
        raise _Finished(o)

    def jsonify(self, data: Json) -> str:
        """Raise the result; ansible-core 2.18 and older call this last."""
        raise _Finished(data)


@contextlib.contextmanager
def _arguments(args: Json) -> Iterator[None]:
    """Give AnsibleModule its arguments, as the wrapper of a module process does."""
    basic._ANSIBLE_ARGS = dump({"ANSIBLE_MODULE_ARGS": args}).encode()
    basic._ANSIBLE_PROFILE = _PROFILE
    try:
        yield
    finally:
        basic._ANSIBLE_ARGS = None


class _Reporter:
    """Shows progress, never interrupted by a signal.

    The workers share one queue to Ansible's main process. A worker that is killed while it writes leaves
    the queue locked, and Ansible waits for it forever.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._lock = threading.Lock()
        self._reporting = 0
        self._pending: int | None = None
        self._handlers: dict[int, Any] = {}

    def report(self, sentence: str) -> None:
        """Show a sentence."""
        with self._lock:
            self._reporting += 1
        try:
            # Standard output belongs to the callback, which may write JSON there.
            Display().display(f"[{self._host}] {sentence}", stderr=True)
        finally:
            with self._lock:
                self._reporting -= 1
                pending = self._pending if not self._reporting else None
            if pending:
                os.kill(os.getpid(), pending)

    @contextlib.contextmanager
    def signals(self) -> Iterator[None]:
        """Postpone signals while something is reported."""
        self._handlers = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in self._handlers.items():
                signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._reporting:
            self._pending = number
            return
        handler = self._handlers[number]
        if callable(handler):
            handler(number, frame)
        else:
            signal.signal(number, handler)
            os.kill(os.getpid(), number)


def dump(value: Any) -> str:
    """Return JSON of a templated value, as Ansible gives it to modules."""
    if hasattr(ansible_json, "get_module_encoder"):
        direction = ansible_json.Direction.CONTROLLER_TO_MODULE
        return json.dumps(value, cls=ansible_json.get_module_encoder(_PROFILE, direction))
    return json.dumps(value, cls=ansible_json.AnsibleJSONEncoder)  # before ansible-core 2.19


def _load_codecs() -> None:
    """Load what exchanges values with modules, which Ansible would load in each worker."""
    if hasattr(ansible_json, "get_module_decoder"):
        for direction in ansible_json.Direction:
            ansible_json.get_module_decoder(_PROFILE, direction)
            ansible_json.get_module_encoder(_PROFILE, direction)


def _without_secrets(args: Json) -> Json:
    """Return the options with a kubeconfig dictionary as a text that Ansible keeps out of logs."""
    config = args.get("kubeconfig")
    if not isinstance(config, dict):
        return args
    rest = {name: value for name, value in args.items() if name != "kubeconfig"}
    return {**rest, "kubeconfig_content": dump(config)}


_load_codecs()
