#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Keep Artifact Registry repositories for images."""

from __future__ import annotations

DOCUMENTATION = """
module: artifact_repository
short_description: Keep Artifact Registry repositories for images
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Creates, changes and deletes a repository for container images, and says who may pull from it and push to it.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
options:
  name:
    description: Name of the repository.
    type: str
    required: true
  location:
    description: Region, or a multi-region such as C(europe).
    type: str
    required: true
  state:
    description: Whether the repository shall exist. V(absent) deletes it with all its images.
    type: str
    choices: [present, absent]
    default: present
  description:
    description: What it is for. Without it the one that is there stays.
    type: str
  labels:
    description: Labels the repository shall have.
    type: dict
  purge_labels:
    description: Whether labels that are not in O(labels) go.
    type: bool
    default: false
  immutable_tags:
    description: Whether a tag stays with the image it was first given. Without it this stays as it is.
    type: bool
  kms_key:
    description: Cloud KMS key that encrypts the images. Cannot be changed.
    type: str
  readers:
    description: Members that shall be able to pull. Others that can, stay.
    type: list
    elements: str
  writers:
    description: Members that shall be able to push. Others that can, stay.
    type: list
    elements: str
  wait_timeout:
    description: Seconds to wait for each operation.
    type: int
    default: 300
seealso:
  - module: streamops.knative.artifact_repository_info
  - module: streamops.knative.oci_image
"""

EXAMPLES = """
- name: A repository for the pipeline's images
  streamops.knative.artifact_repository:
    project: my-project
    location: europe-west1
    name: streamops
    readers:
      - serviceAccount:nodes@my-project.iam.gserviceaccount.com
"""

RETURN = """
changes:
  description: What was changed, or in check mode would be, in words.
  returned: always
  type: list
  elements: str
registry:
  description: What images' names begin with.
  returned: always
  type: str
  sample: europe-west1-docker.pkg.dev/my-project/streamops
"""

import functools
import re
from typing import Any

from ..module_utils._google import policy as policies
from ..module_utils._google.errors import ConfigError
from ..module_utils._google.plan import Plan, merged_labels
from ..module_utils._google.session import Session
from ..module_utils._google.task import plan_task

_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_LOCATION = re.compile(r"[a-z]+(-[a-z]+\d+)?")
_ROLES = {
    "readers": "roles/artifactregistry.reader",
    "writers": "roles/artifactregistry.writer",
}


def make_plan(session: Session, params: dict[str, Any]) -> Plan:
    """Return the steps to the desired state."""
    name, location = params["name"], params["location"]
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"name: '{name}' is not a valid repository name: 1 to 63 lower-case letters, digits and hyphens,"
            " a letter first and no hyphen last"
        )
    if not _LOCATION.fullmatch(location):
        raise ConfigError(
            f"location: '{location}' is neither a region (europe-west1) nor a multi-region (europe)"
        )
    project = session.project_id
    parent = f"v1/projects/{project}/locations/{location}/repositories"
    path = f"{parent}/{name}"
    current = session.find("artifactregistry", path)
    registry = f"{location}-docker.pkg.dev/{project}/{name}"
    plan = Plan(before=_shown(current), after=_shown(current))
    plan.result["registry"] = (current or {}).get("registryUri", registry)
    if params["state"] == "absent":
        plan.after = {}
        if current:
            plan.add(f"delete repository {name}", lambda: _delete(session, path, params))
        return plan
    wanted = _wanted(params, current or {})
    if current is None:
        body = {"format": "DOCKER", **wanted}
        if params["kms_key"]:
            body["kmsKeyName"] = params["kms_key"]
        plan.after = _shown(body)
        plan.add(f"create repository {name}", lambda: _create(session, parent, body, params))
    else:
        _refuse_immutable(current, params)
        _plan_update(plan, session, path, wanted, current)
    _plan_grants(plan, session, params, exists=current is not None)
    return plan


def _plan_update(
    plan: Plan, session: Session, path: str, wanted: dict[str, Any], current: dict[str, Any]
) -> None:
    changed = {k: v for k, v in wanted.items() if (v or None) != (current.get(k) or None)}
    if changed:
        plan.after.update(changed)
        plan.add(
            f"change {', '.join(sorted(changed))} of repository {path.rpartition('/')[2]}",
            lambda: session.patch(
                "artifactregistry", path, changed, updateMask=",".join(sorted(changed))
            ),
        )


def _plan_grants(plan: Plan, session: Session, params: dict[str, Any], *, exists: bool) -> None:
    members = {
        role: policies.check_members(option, params[option])
        for option, role in _ROLES.items()
        if params[option]
    }
    if not members:
        return
    policy = policies.Policy.of(
        session, {"repository": params["name"], "location": params["location"]}
    )
    before = policy.read() if exists else {}
    for role, wanted in members.items():
        current = policies.members_of(before, role)
        missing = sorted(set(wanted) - current)
        plan.before[role], plan.after[role] = sorted(current), sorted(current | set(wanted))
        if missing:
            change = functools.partial(policies.changed, role=role, condition=None, add=missing)
            plan.add(
                f"grant {role} to {', '.join(missing)} on {policy.what}",
                functools.partial(policy.change, change),
            )


def _wanted(params: dict[str, Any], current: dict[str, Any]) -> dict[str, Any]:
    wanted: dict[str, Any] = {}
    if params["description"] is not None:
        wanted["description"] = params["description"]
    if params["labels"] is not None:
        wanted["labels"] = merged_labels(
            current.get("labels", {}), params["labels"], purge=params["purge_labels"]
        )
    if params["immutable_tags"] is not None:
        wanted["dockerConfig"] = {"immutableTags": True} if params["immutable_tags"] else {}
    return wanted


def _refuse_immutable(current: dict[str, Any], params: dict[str, Any]) -> None:
    name = params["name"]
    if current["format"] != "DOCKER":
        raise ConfigError(
            f"repository {name} exists for {current['format']}, not for images; choose another name"
        )
    key = current.get("kmsKeyName", "")
    if params["kms_key"] and params["kms_key"] != key:
        raise ConfigError(f"kms_key of repository {name} is {key or 'none'} and cannot be changed")


def _create(session: Session, parent: str, body: dict[str, Any], params: dict[str, Any]) -> None:
    operation = session.post("artifactregistry", parent, body, repositoryId=params["name"])
    session.wait_lro("artifactregistry", operation, params["wait_timeout"])


def _delete(session: Session, path: str, params: dict[str, Any]) -> None:
    operation = session.delete("artifactregistry", path)
    if operation:
        session.wait_lro("artifactregistry", operation, params["wait_timeout"])


def _shown(repository: dict[str, Any] | None) -> dict[str, Any]:
    names = ("format", "description", "labels", "dockerConfig", "kmsKeyName")
    return {name: repository[name] for name in names if repository and repository.get(name)}


TASK = plan_task(make_plan, DOCUMENTATION, {"kms_key": {"no_log": False}})
main = TASK.main

if __name__ == "__main__":
    main()
