# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Reads a role's variables on the controller: its defaults and the host's, templated, typed and checked."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load

try:
    from ansible.template import trust_as_template
except ImportError:  # before ansible-core 2.19 every text is a template
    trust_as_template = str

from ..module_utils._pipelines import consistency, model, rulebooks
from ..module_utils._pipelines import variables as role_variables
from ._before_fork import share_what_is_loaded

ROLES = Path(__file__).resolve().parents[2] / "roles"
ROLE_NAMES = ("gcp_cluster", "knative_eventing", "secrets", "twitter_pipeline", "event_driven")
#: Variables that the checks read beside those of a role.
READ_TOO = (
    "gcp_cluster_name",
    "knative_eventing_gateway",
    "_secrets_pipeline_namespaces",
    "kubeconfig",
    "context",
    "kubernetes_login",
)
_WORD = re.compile(r"[A-Za-z_]\w*")
#: A template that begins with a variable. Ansible templates all that a template names, needed or not.
_LEADING = re.compile(r"\{\{\s*([A-Za-z_]\w*)")
#: Made in Ansible's main process, and known to its workers only: the digests are made of secrets too.
_KEY = os.urandom(32)

Variables = dict[str, Any]


@dataclass(frozen=True)
class RoleReading:
    """A role's variables by their full names, those to publish by their short ones, and what is wrong."""

    values: Variables
    published: Variables
    problems: list[str]


class RoleReader:
    """Reads roles for one host, whose `variables` are those of the task."""

    def __init__(self, templar: Any, loader: Any, variables: Variables) -> None:
        self._templar = templar
        self._loader = loader
        self.variables = variables
        self._templated_once: Variables = {}

    def read(self, role: str) -> RoleReading:
        """Return the variables of a role of this collection."""
        options, defaults, internal = _definition(role)
        scope = {**defaults, **internal, **self.variables}
        available = {**scope, **self._templated_once, "role_path": str(ROLES / role)}
        self._templar.available_variables = available
        found = role_variables.unknown(role, options, self.variables)
        complete: Variables = {}
        for name in options:
            if name in scope:
                with contextlib.suppress(AnsibleError):  # it may have a default there
                    self._template_once(_leading(scope[name]), available)
                try:
                    complete |= self._template_once(name, available)
                except AnsibleError as error:
                    found.append(f"{name}: {getattr(error, 'message', error)}")
        # Relative paths are relative to the playbook, as for the tasks that use them.
        with contextlib.chdir(self._loader.get_basedir()):
            reading = role_variables.read(options, complete)
        found += reading.problems
        values = reading.values
        found += self._contradictions(role, values, found)
        published = {
            name.removeprefix(f"{role}_"): _without_secrets(options[name], value)
            for name, value in values.items()
            if not options[name].get("no_log")
        }
        if role == "twitter_pipeline" and not found:
            keys = options[f"{model.PREFIX}pipelines"]["options"]
            defaults = {key: published[key] for key in keys}
            published["pipelines"] = model.resolve(published["pipelines"], defaults)
        return RoleReading(values, published, found)

    def fingerprint(self, role: str) -> str:
        """Return a digest of all that a role's variables are made of; it is the same in all tasks of a run.

        Empty where they are made of other hosts' variables.
        """
        scope = {**_common_scope(), **self.variables}
        digest = hmac.new(_KEY, digestmod=hashlib.sha256)
        pending = {name for name in scope if name.startswith(f"{role}_")} | {*READ_TOO}
        seen: set[str] = set()
        while pending:
            name = min(pending)
            pending.remove(name)
            if name in ("hostvars", "vars"):
                return ""
            seen.add(name)
            if name in scope and name != "role_path":  # it is the role's own here
                digest.update(repr((name, scope[name])).encode(errors="surrogatepass"))
                pending |= {*_words(scope[name])} - seen
        return digest.hexdigest()

    def optional(self, name: str, default: Any = None) -> Any:
        """Return a variable of the host, or the default where it is not set."""
        if name not in self.variables:
            return default
        self._templar.available_variables = self.variables
        return self._templated(name, self.variables[name]).get(name, default)

    def _template_once(self, name: str, available: Variables) -> Variables:
        """Return a variable that is among those available as `_templated` does, and put it there.

        Ansible would template it again, with its lookups, for each variable that refers to it.
        """
        given = self._templated(name, available[name]) if name in available else {}
        if not _is_template(given.get(name)):
            self._templated_once |= given
            available |= given
        return given

    def _templated(self, name: str, value: Any) -> Variables:
        """Return the variable under its name, or nothing where it is omitted."""
        if not _is_template(value):
            return {name: role_variables.plain(value)}
        omitted = self.variables.get("omit")
        plain = role_variables.plain(self._templar.template({name: value}))
        return {key: item for key, item in plain.items() if item != omitted}

    def _contradictions(self, role: str, values: Variables, found: list[str]) -> list[str]:
        if role == "gcp_cluster":
            key_file = os.environ.get("GCP_SERVICE_ACCOUNT_FILE", "")
            return consistency.gcp_cluster(values, key_file=key_file)
        if role == "knative_eventing":
            return consistency.knative_eventing(values)
        if role == "secrets":
            if values.get("secrets_consumers") == [] and not self._readers_of_x():
                return []  # nothing is stored
            empty = [
                name
                for name in consistency.CREDENTIALS
                if not values.get(f"secrets_x_{name}")
                and not any(text.startswith(f"secrets_x_{name}:") for text in found)
            ]
            return consistency.secrets(values, empty=empty, sharers=self._sharers(values))
        if role == "event_driven":
            with contextlib.chdir(self._loader.get_basedir()):
                return rulebooks.problems(values, _rulebooks())
        gateway = self.optional("knative_eventing_gateway", "load_balancer")
        option = f"{model.PREFIX}secret_names"
        names = consistency.names_of_secrets(option, values[option]) if option in values else []
        return [*names, *model.problems({**values, f"{model.PREFIX}gateway": gateway})]

    def _readers_of_x(self) -> list[str]:
        """Return the namespaces of the pipelines that read X, as the role finds them."""
        name = "_secrets_pipeline_namespaces"
        _options, _defaults, internal = _definition("secrets")
        found: list[str] = self._templated(name, internal[name])[name]
        return found

    def _sharers(self, values: Variables) -> list[str]:
        """Return the projects of the play's clusters whose secrets are the same ones."""
        project = values.get("secrets_project")
        hosts = self.variables.get("ansible_play_hosts_all") or []
        if not project or len(hosts) < 2:
            return []
        found: dict[str, None] = {}
        names = ("gcp_cluster_project", "secrets_project")
        for host in hosts:
            other = self.variables["hostvars"].raw_get(host)  # templating another host's takes time
            if any(_is_template(other.get(name)) for name in names):
                other = self.variables["hostvars"][host]
            cluster_project = other.get("gcp_cluster_project", "")
            if other.get("secrets_project", cluster_project) == project:
                found[str(cluster_project)] = None
        return list(found)


def _is_template(value: Any) -> bool:
    """Return whether Ansible has something to do about a value: most are plain, which is found out faster."""
    if isinstance(value, dict):
        return any(_is_template(item) for pair in value.items() for item in pair)
    if isinstance(value, list):
        return any(_is_template(item) for item in value)
    return not (value is None or type(value) in (bool, int, float)) and not (
        isinstance(value, str) and "{" not in value
    )


def _leading(value: Any) -> str:
    """Return the name of the variable that a template begins with, empty for others."""
    found = _LEADING.match(value) if isinstance(value, str) else None
    return found[1] if found else ""


def _words(value: Any) -> Iterator[str]:
    """Yield what may be names of variables in the templates of a value."""
    if isinstance(value, dict):
        for pair in value.items():
            for item in pair:
                yield from _words(item)
    elif isinstance(value, list):
        for item in value:
            yield from _words(item)
    elif isinstance(value, str) and "{" in value:
        yield from _WORD.findall(value)


def _without_secrets(option: dict[str, Any], value: Any) -> Any:
    """Return a value without the keys of mappings that are secret."""
    keys = option.get("options") or {}
    if not keys or not isinstance(value, dict):
        return value
    return {
        key: _without_secrets(keys.get(key, {}), item)
        for key, item in value.items()
        if not keys.get(key, {}).get("no_log")
    }


@cache
def rules_of(role: str) -> list[dict[str, Any]]:
    """Return the rules of the ClusterRole that a role's login needs in its namespaces; none where it needs more."""
    if not (ROLES / role / "files/rights.yml").is_file():
        return []
    found: list[dict[str, Any]] = _yaml(role, "files/rights.yml")["rules"]
    return found


@cache
def _rulebooks() -> list[str]:
    """Return the full names of this collection's rulebooks."""
    files = (ROLES.parent / "extensions/eda/rulebooks").glob("*.yml")
    return sorted(f"{rulebooks.COLLECTION}.{path.stem}" for path in files)


@cache
def _definition(role: str) -> tuple[dict[str, Any], Variables, Variables]:
    """Return a role's options, defaults and internal variables."""
    specification = _yaml(role, "meta/argument_specs.yml")
    options = specification["argument_specs"]["main"]["options"]
    return (
        options,
        _trusted(_yaml(role, "defaults/main.yml")),
        _trusted(_yaml(role, "vars/main.yml")),
    )


@cache
def _common_scope() -> Variables:
    """Return the defaults and internal variables of all roles: plays with several have all of them."""
    scope: Variables = {}
    for role in ROLE_NAMES:
        _options, defaults, internal = _definition(role)
        scope |= {**defaults, **internal}
    return scope


def _yaml(role: str, file: str) -> dict[str, Any]:
    parsed: dict[str, Any] = yaml_load((ROLES / role / file).read_text(encoding="utf-8"))
    return parsed or {}


def _trusted(value: Any) -> Any:
    """Return the role's own texts as templates."""
    if isinstance(value, dict):
        return {key: _trusted(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_trusted(item) for item in value]
    return trust_as_template(value) if isinstance(value, str) else value


# Ansible loads its plugins before it forks its workers: what is read here is read once.
_common_scope()
for _name in ROLE_NAMES:
    rules_of(_name)
share_what_is_loaded()
