"""Controller side of streamops.knative.apply.

It does the two things a module cannot: render templates with the variables of the task, and show
what is being waited for while the module is still running. It also finds `files` as other tasks do,
and turns everything that may hold secrets into texts that Ansible keeps out of logs.
"""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.module_utils.common.json import AnsibleJSONEncoder
from ansible.plugins.action import ActionBase
from ansible.plugins.loader import lookup_loader
from ansible.utils.display import Display

VAULT = b"$ANSIBLE_VAULT"
LOOK_EVERY = 0.25  # seconds

Text = dict[str, str]  # {"name": where it came from, "text": the manifests}


class ActionModule(ActionBase):
    """See the module's DOCUMENTATION."""

    TRANSFERS_FILES = False

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Prepare the module's options, then run it on the host."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        variables = task_vars or {}
        args = dict(self._task.args)
        definitions = _take(args, "definitions", "definition", "resource_definition")
        templates = _take(args, "templates", "template")
        files = _take(args, "files", "src")
        texts = [*_take(args, "contents"), *self._rendered(templates, variables)]
        texts += [_as_text(number, value) for number, value in enumerate(definitions)]
        args["files"] = []
        for name in files:
            path = self._find(name)
            if self._is_local() and not _is_encrypted(path):
                args["files"].append(str(path))
            else:
                texts += self._read(path)
        args["contents"] = texts
        with self._progress(args):
            result.update(
                self._execute_module(
                    module_name="streamops.knative.apply", module_args=args, task_vars=variables
                )
            )
        return result

    def _rendered(self, templates: list[Any], variables: dict[str, Any]) -> list[Text]:
        lookup = lookup_loader.get(
            "ansible.builtin.template", loader=self._loader, templar=self._templar
        )
        texts: list[Text] = []
        problems: list[str] = []
        for template in templates:
            entry = template if isinstance(template, dict) else {"path": template}
            path = str(entry.get("path", ""))
            try:
                (text,) = lookup.run(
                    [path], variables=variables, template_vars=entry.get("vars") or {}
                )
            except AnsibleError as error:
                problems.append(f"- templates: {path}: {error}")
                continue
            texts.append({"name": f"{path} (rendered)", "text": text})
        if problems:
            raise AnsibleActionFail("Nothing was changed:\n" + "\n".join(problems))
        return texts

    def _find(self, name: str) -> Path:
        try:
            return Path(self._find_needle("files", name))
        except AnsibleError as error:
            raise AnsibleActionFail(f"Nothing was changed: files: {error}") from error

    def _read(self, path: Path) -> list[Text]:
        """Files for a host that does not have them, or that only Ansible can decrypt."""
        names = [path]
        if path.is_dir():
            names = sorted(p for p in path.rglob("*") if p.suffix in (".yaml", ".yml", ".json"))
        return [
            {"name": str(name), "text": self._loader.get_text_file_contents(str(name))}
            for name in names
        ]

    def _is_local(self) -> bool:
        return bool(self._connection.transport == "local")

    @contextmanager
    def _progress(self, args: dict[str, Any]) -> Iterator[None]:
        """Show the lines the module writes, where both run on the same machine."""
        if not self._is_local() or args.get("progress_file"):
            yield
            return
        done = threading.Event()
        with tempfile.NamedTemporaryFile(prefix="apply-", suffix=".progress") as file:
            args["progress_file"] = file.name
            prefix = f"[{self._task_host()}] " if self._task_host() else ""
            watcher = threading.Thread(target=_follow, args=(Path(file.name), prefix, done))
            watcher.start()
            try:
                yield
            finally:
                done.set()
                watcher.join()

    def _task_host(self) -> str:
        return str(getattr(self._play_context, "remote_addr", "") or "")


def _follow(path: Path, prefix: str, done: threading.Event) -> None:
    display = Display()
    shown = 0
    while True:
        last = done.wait(LOOK_EVERY)
        lines = path.read_text(encoding="utf-8").splitlines()
        for line in lines[shown:]:
            display.display(f"{prefix}{line}", color="bright gray")
        shown = len(lines)
        if last:
            return


def _take(args: dict[str, Any], *names: str) -> list[Any]:
    """Remove an option under all its names; one value is a list of one."""
    for name in names:
        value = args.pop(name, None)
        if value is not None:
            return value if isinstance(value, list) else [value]
    return []


def _as_text(number: int, value: Any) -> Text:
    text = value if isinstance(value, str) else json.dumps(value, cls=AnsibleJSONEncoder)
    return {"name": f"definitions[{number}]", "text": text}


def _is_encrypted(path: Path) -> bool:
    paths = path.rglob("*") if path.is_dir() else [path]
    for candidate in paths:
        if candidate.is_file():
            with candidate.open("rb") as file:
                if file.read(len(VAULT)) == VAULT:
                    return True
    return False
