#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Keep secrets in Google Secret Manager."""

from __future__ import annotations

DOCUMENTATION = """
module: gcp_secret
short_description: Keep secrets in Google Secret Manager
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Creates, changes and deletes secrets, adds a version when the value differs from the latest one, retires
    old versions, and says who may read them.
  - Several secrets with the same settings are one task, O(secrets).
  - No value is returned, shown in a diff, or passed on a command line. To compare a value the module reads the
    latest version, which needs C(secretmanager.versions.access).
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
attributes:
  diff_mode:
    details: Versions are shown by number, never by value.
options:
  name:
    description: Name of the secret. One of this and O(secrets).
    type: str
  value:
    description:
      - The value that the latest version shall have, as text. Without it versions are left alone.
      - A newline at its end is part of it, and most likely a mistake, so it is warned of.
      - A number or a boolean is refused, since YAML has read it as something else than it was written (V(0123)).
    type: raw
  value_base64:
    description: The value as Base64, for binary data. Excludes O(value).
    type: raw
  secrets:
    description: Several secrets, all with the other options of the task.
    type: list
    elements: dict
    suboptions:
      name:
        description: As O(name).
        type: str
        required: true
      value:
        description: As O(value).
        type: raw
      value_base64:
        description: As O(value_base64).
        type: raw
  state:
    description:
      - V(absent) deletes the secret with all its versions, for good.
      - To retire single versions use O(version) with O(version_state), or O(old_versions).
    type: str
    choices: [present, absent]
    default: present
  enable_api:
    description: Whether the API of Secret Manager is enabled first, with O(state=present).
    type: bool
    default: false
  labels:
    description: Labels the secret shall have.
    type: dict
  annotations:
    description: Annotations the secret shall have.
    type: dict
  purge_labels:
    description: Whether labels and annotations go that are not in O(labels) and O(annotations), where these are given.
    type: bool
    default: false
  topics:
    description: Pub/Sub topics (C(projects/P/topics/T)) that are told of changes.
    type: list
    elements: str
  rotation:
    description:
      - When Secret Manager notifies O(topics) that a new value is due. It creates none by itself.
      - An empty dictionary takes it away.
    type: dict
    suboptions:
      next_time:
        description:
          - RFC 3339 time of the first message. Google moves it on by O(rotation.period) with each message, so one that
            is over changes nothing.
        type: str
      period:
        description: Seconds between messages, at least 3600.
        type: int
  replication_locations:
    description:
      - Regions that keep the secret; without it Google chooses (automatic replication).
      - Cannot be changed afterwards; the module refuses to.
    type: list
    elements: str
  aliases:
    description:
      - All aliases the secret shall have, each naming a version's number or V(latest).
      - Without it they are left alone.
    type: dict
  accessors:
    description:
      - Members (C(serviceAccount:…), C(user:…), C(principal://…)) that shall be able to read the value, by
        C(roles/secretmanager.secretAccessor) on the secret.
    type: list
    elements: str
  workload_identities:
    description:
      - Kubernetes service accounts that shall be able to read the value, directly, without a Google service
        account (Workload Identity Federation for GKE). In addition to O(accessors).
    type: list
    elements: dict
    suboptions:
      namespace:
        description: Namespace of the Kubernetes service account.
        type: str
        required: true
      service_account:
        description: Name of the Kubernetes service account.
        type: str
        required: true
      pool:
        description: The cluster's workload pool. Without it C(PROJECT.svc.id.goog).
        type: str
      pool_project:
        description: Project of the cluster (ID or number), where it is not O(project).
        type: str
  purge_accessors:
    description:
      - Whether others lose that role on the secret. Conditional grants and other roles stay in any case.
    type: bool
    default: false
  old_versions:
    description: What happens to versions that a newer one replaced.
    type: str
    choices: [keep, disable, destroy]
    default: keep
  keep_versions:
    description:
      - How many of the newest versions O(old_versions) leaves alone, the latest included. The newest one that is
        enabled stays in any case.
    type: int
    default: 1
  grace_period:
    description:
      - Seconds for which a version that was replaced stays as it is, so that its users can change over.
        It is retired by a later run.
    type: int
    default: 0
  version:
    description: Number or alias of a version to bring into O(version_state). Only with O(name).
    type: str
  version_state:
    description: State of O(version). V(destroyed) cannot be undone.
    type: str
    choices: [enabled, disabled, destroyed]
requirements:
  - google-crc32c
seealso:
  - module: streamops.knative.gcp_secret_info
"""

EXAMPLES = """
- name: Keep two keys, readable by one workload
  streamops.knative.gcp_secret:
    project: my-project
    secrets:
      - name: twitter-api-key
        value: "{{ vault_api_key }}"
      - name: twitter-api-secret
        value: "{{ vault_api_secret }}"
    labels:
      app: twitter
    workload_identities:
      - namespace: streamops
        service_account: twitter-producer

- name: Rotate, and disable what was replaced more than a day ago
  streamops.knative.gcp_secret:
    project: my-project
    name: twitter-api-key
    value: "{{ vault_new_api_key }}"
    old_versions: disable
    grace_period: 86400

- name: Take one version out of use
  streamops.knative.gcp_secret:
    project: my-project
    name: twitter-api-key
    version: "3"
    version_state: disabled
"""

RETURN = """
changes:
  description: What was changed, or in check mode would be, in words.
  returned: always
  type: list
  elements: str
  sample: [add version 2 to secret twitter-api-key]
secrets:
  description: The secrets, without values.
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: Name of the secret.
      type: str
      returned: always
    version:
      description: Number of the version that has the value.
      type: int
      returned: with a value
    accessors:
      description: Who can read the value by a role on the secret itself.
      type: list
      elements: str
      returned: with O(accessors) or O(workload_identities)
    retired:
      description: Versions that were disabled or destroyed.
      type: list
      elements: int
      returned: where O(old_versions) had something to look at
    retires_in:
      description: Seconds until everything replaced so far may be retired.
      type: int
      returned: while O(grace_period) lasts
"""

from typing import Any

from ..module_utils._google import policy as policies
from ..module_utils._google import services
from ..module_utils._google.errors import ConfigError
from ..module_utils._google.payload import to_bytes
from ..module_utils._google.plan import Plan
from ..module_utils._google.secret_manager import Identity, Secrets, Wanted, check_name
from ..module_utils._google.session import Session
from ..module_utils._google.task import plan_task
from ..module_utils._google.timestamps import require_times
from ..module_utils._module.text import require_texts

API = "secretmanager.googleapis.com"
ENABLED_WITHIN = 300  # seconds
#: Options that set fields of the secret itself.
_SETTINGS = ("labels", "annotations", "topics", "rotation", "replication_locations", "aliases")
_ACTIONS = {"enabled": "enable", "disabled": "disable", "destroyed": "destroy"}


def make_plan(session: Session, params: dict[str, Any]) -> Plan:
    """Return the steps to the desired state."""
    items = [params] if params["secrets"] is None else params["secrets"]
    names = [item["name"] for item in items]
    _check(params, names)
    enabling = Plan()
    if params["enable_api"] and params["state"] == "present":
        found = services.states(session, [API])[API]
        services.plan_enabling(enabling, session, [] if found.is_enabled else [API], ENABLED_WITHIN)
        session.enabling = bool(enabling.steps)
    secrets = Secrets(session)
    if params["version"]:
        return secrets.plan_version(names[0], params["version"], _ACTIONS[params["version_state"]])
    if params["state"] == "absent":
        return secrets.plan_absent(names)
    wanted = [_wanted(session, params, item) for item in items]
    plan = secrets.plan_present(wanted)
    plan.steps[:0] = enabling.steps
    plan.warnings += [
        f"The value of secret {want.name} ends in a newline. Where it was read from a file, use"
        " lookup('file', …, rstrip=true) or the filter trim."
        for want in wanted
        if want.value and want.value.endswith(b"\n")
    ]
    return plan


def _check(params: dict[str, Any], names: list[str]) -> None:
    """Raise ConfigError for what Google would refuse, or what contradicts itself."""
    for name in names:
        check_name(name)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"secrets: {', '.join(twice)} is named more than once")
    if params["keep_versions"] < 1 or params["grace_period"] < 0:
        raise ConfigError("keep_versions is at least 1, grace_period at least 0")
    if params["version"]:
        others = [name for name in (*_SETTINGS, "accessors", "workload_identities") if params[name]]
        others += ["state: absent"] if params["state"] == "absent" else []
        if others:
            raise ConfigError(
                f"version changes one version's state, and nothing else: {', '.join(others)} belongs"
                " in a task of its own"
            )
    require_times({"rotation.next_time": (params["rotation"] or {}).get("next_time")})


def _wanted(session: Session, params: dict[str, Any], item: dict[str, Any]) -> Wanted:
    return Wanted(
        name=item["name"],
        value=to_bytes(item["name"], item["value"], item["value_base64"]),
        settings=_settings(params),
        replication=_replication(params["replication_locations"]),
        aliases=params["aliases"] and {k: str(v) for k, v in params["aliases"].items()},
        accessors=None
        if params["accessors"] is None
        else frozenset(policies.check_members("accessors", params["accessors"])),
        identities=tuple(
            Identity(
                namespace=identity["namespace"],
                service_account=identity["service_account"],
                pool=identity["pool"]
                or policies.pool_of(identity["pool_project"] or session.project),
                pool_project=identity["pool_project"] or session.project,
            )
            for identity in params["workload_identities"] or []
        ),
        purge_labels=params["purge_labels"],
        purge_accessors=params["purge_accessors"],
        retire=params["old_versions"],
        keep=params["keep_versions"],
        grace=params["grace_period"],
    )


def _settings(params: dict[str, Any]) -> dict[str, Any]:
    """Return the options that are fields of the secret, as the API writes them."""
    settings: dict[str, Any] = {}
    for name in ("labels", "annotations"):
        if params[name] is not None:
            settings[name] = require_texts(name, params[name], ConfigError)
    if params["topics"] is not None:
        settings["topics"] = [{"name": topic} for topic in params["topics"]]
    if params["rotation"] is not None:
        period = params["rotation"]["period"]
        settings["rotation"] = {
            key: value
            for key, value in {
                "nextRotationTime": params["rotation"]["next_time"],
                "rotationPeriod": f"{period}s" if period else None,
            }.items()
            if value
        }
    return settings


def _replication(locations: list[str] | None) -> dict[str, Any] | None:
    if not locations:
        return None
    return {"userManaged": {"replicas": [{"location": location} for location in locations]}}


_VALUES = ("value", "value_base64")
TASK = plan_task(
    make_plan,
    DOCUMENTATION,
    {
        "secrets": {"no_log": False, "mutually_exclusive": [_VALUES]},
        **{name: {"no_log": True} for value in _VALUES for name in (value, f"secrets.{value}")},
    },
    required_one_of=[("name", "secrets")],
    mutually_exclusive=[("name", "secrets"), (*_VALUES, "version"), ("secrets", "version")],
    required_together=[("version", "version_state")],
)
main = TASK.main

if __name__ == "__main__":
    main()
