"""Argument specs from documentation, and what a module says that cannot read its own."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic

from ansible_collections.streamops.knative.plugins.module_utils._module import options
from ansible_collections.streamops.knative.plugins.module_utils._module.errors import TaskError
from ansible_collections.streamops.knative.plugins.module_utils._module.task import Task

DOCUMENTATION = """
module: one
options:
  name:
    description: Its name.
    type: str
    required: true
    aliases: [title]
  logins:
    description: Logins.
    type: list
    elements: dict
    default: []
    suboptions:
      password:
        description: Password.
        type: str
      kind:
        description: Kind.
        type: str
        choices: [one, other]
        default: one
"""


def test_options_are_described_once() -> None:
    more = {"logins": {"no_log": False}, "logins.password": {"no_log": True}}
    assert options.described(DOCUMENTATION, more) == {
        "name": {"type": "str", "required": True, "aliases": ["title"]},
        "logins": {
            "type": "list",
            "elements": "dict",
            "default": [],
            "no_log": False,
            "options": {
                "password": {"type": "str", "no_log": True},
                "kind": {"type": "str", "choices": ["one", "other"], "default": "one"},
            },
        },
    }


def test_documentation_without_options_has_none() -> None:
    assert options.described("module: one", {}) == {}


def test_a_module_without_pyyaml_reports_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(options, "yaml", None)
    with pytest.raises(TaskError, match="pip install PyYAML"):
        options.described(DOCUMENTATION, {})
    task = Task(lambda run: {}, DOCUMENTATION)
    given = {"ANSIBLE_MODULE_ARGS": {"password": "s3cret"}}
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps(given).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(SystemExit, match="1"):
        task.main()
    said = json.loads(capsys.readouterr().out)
    assert not said.pop("invocation", {}), "which parameters are secret is not known"
    assert said == {"failed": True, "msg": "PyYAML is missing on this host: pip install PyYAML"}
