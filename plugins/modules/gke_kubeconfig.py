#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Write a kubeconfig for a GKE cluster."""

from __future__ import annotations

DOCUMENTATION = """
module: gke_kubeconfig
short_description: Write a kubeconfig for a GKE cluster
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Writes the address of a GKE cluster, its CA and credentials into a kubeconfig, beside what is there already. gcloud
    is not needed.
  - The file is readable by its owner only.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
attributes:
  diff_mode:
    details: Credentials are not shown.
  idempotent:
    details: >-
      A token that is about to expire is replaced by a new one for the same access, which does not count as a change;
      RV(token_renewed) tells.
options:
  name:
    description: Name of the cluster.
    type: str
    required: true
  location:
    description: Region or zone of the cluster.
    type: str
    required: true
  path:
    description: The kubeconfig file. It is created with its folder.
    type: path
    required: true
  state:
    description: Whether the entries shall be there. V(absent) asks nothing of Google.
    type: str
    choices: [present, absent]
    default: present
  context:
    description: Name of the entries. Without it C(gke_PROJECT_LOCATION_NAME), as gcloud calls them.
    type: str
  set_current:
    description: Whether the context becomes the current one.
    type: bool
    default: true
  auth:
    description:
      - V(token) writes an access token of the caller, which lasts an hour at most.
      - V(exec) lets every client ask C(gke-gcloud-auth-plugin), where it is installed.
    type: str
    choices: [token, exec]
    default: token
  min_token_validity:
    description: Seconds for which a token that is there has to be good; otherwise a new one is written.
    type: int
    default: 1200
  endpoint_type:
    description: Which address of the control plane to write.
    type: str
    choices: [ip, private, dns]
    default: ip
seealso:
  - module: streamops.knative.gke_cluster
"""

EXAMPLES = """
- name: Get access to a cluster
  streamops.knative.gke_kubeconfig:
    project: my-project
    location: europe-west1
    name: streamops
    path: ~/.kube/streamops
"""

RETURN = """
changes:
  description: What was changed, or in check mode would be, in words.
  returned: always
  type: list
  elements: str
context:
  description: Name of the context.
  returned: always
  type: str
  sample: gke_my-project_europe-west1_streamops
kubeconfig:
  description: The file.
  returned: always
  type: str
planned_kubeconfig:
  description:
    - In check mode, which writes no file, a kubeconfig of the cluster for O(streamops.knative.apply#module:kubeconfig).
    - It holds no token. The modules of this collection get one of their own for it, in memory, from the credentials
      that this task was given.
  returned: in check mode, when the cluster exists
  type: dict
token_renewed:
  description: Whether a token was replaced before it expired.
  returned: always
  type: bool
"""

import os
from typing import Any

from ..module_utils._google.errors import ConfigError
from ..module_utils._google.gke import kubeconfig as files
from ..module_utils._google.gke.cluster import Clusters
from ..module_utils._google.gke.settings import check_name
from ..module_utils._google.plan import Plan
from ..module_utils._google.session import Session
from ..module_utils._google.task import plan_task

#: Options that tell where a token comes from.
SOURCE = (
    "auth_kind",
    "service_account_file",
    "service_account_email",
    "impersonate_service_account",
    "scopes",
    "endpoint",
    "endpoints",
)


class Kubeconfig:
    """One kubeconfig file and the entries for one cluster in it."""

    def __init__(self, session: Session, params: dict[str, Any]) -> None:
        self._session = session
        self._params = params
        self._dry_run = session.check_mode
        self._path: str = params["path"]
        self._name: str = params["context"] or "_".join(
            ["gke", session.project, params["location"], params["name"]]
        )

    def plan(self) -> Plan:
        """Return the steps to the desired state."""
        check_name(self._params["name"], self._params["location"])
        old = files.load(self._path)
        new, renewed = (
            (files.without(old, self._name), False)
            if self._params["state"] == "absent"
            else self._with_entries(old)
        )
        plan = Plan(before=files.masked(old, self._name), after=files.masked(new, self._name))
        plan.result.update(context=self._name, kubeconfig=self._path, token_renewed=renewed)
        if self._dry_run and self._params["state"] == "present" and self._is_there:
            plan.result["planned_kubeconfig"] = self._planned()
        mode = files.mode(self._path)
        if plan.before != plan.after:
            plan.add(f"write {self._path}", self._write)
        elif mode not in (None, files.MODE):
            plan.before["mode"], plan.after["mode"] = oct(mode or 0), oct(files.MODE)
            plan.add(f"change the mode of {self._path}", self._write)
        elif renewed and not self._dry_run:
            self._write()
        return plan

    def _with_entries(self, old: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Return the kubeconfig as it shall be, and whether a token was renewed for the same access."""
        self._cluster = self._read_cluster()
        before = files.find(old, "user", self._name)
        same = files.find(old, "cluster", self._name) == self._cluster
        self._user: dict[str, Any] = {"exec": files.EXEC}
        renewed = False
        if self._params["auth"] == "token":
            if same and files.is_fresh(before, self._params["min_token_validity"]):
                self._user = before or {}
            elif self._dry_run:
                self._user = files.token_user("", None, self._source())
            else:
                self._user = files.token_user(*self._session.access_token(), self._source())
                renewed = bool(before and "token" in before and same)
        return self._merge(old), renewed

    def _source(self) -> dict[str, Any]:
        """Return the options that tell where tokens come from: those that are no secrets."""
        source = {name: self._params[name] for name in SOURCE if self._params.get(name)}
        if source.get("service_account_file"):
            source["service_account_file"] = os.path.abspath(source["service_account_file"])
        return source

    def _planned(self) -> dict[str, Any]:
        """Return a kubeconfig of this cluster alone, for check mode, which writes none.

        It has no token: clients get their own, in memory.
        """
        user = self._user
        if "token" in user:
            user = files.token_user("", None, self._source())
        return files.merged({}, self._name, self._cluster, user, make_current=True)

    def _read_cluster(self) -> dict[str, Any]:
        clusters = Clusters(self._session, self._params["location"], wait_timeout=0)
        found = clusters.find(self._params["name"])
        if found is None and not self._dry_run:
            raise ConfigError(
                f"there is no cluster {self._params['name']} in {self._params['location']} of project"
                f" {self._session.project}: check name, location and project, or create it with"
                " streamops.knative.gke_cluster"
            )
        self._is_there = found is not None
        if found is None:  # about to be created by an earlier task
            return {"server": "https://(known when the cluster exists)"}
        return files.cluster_entry(found, self._params["endpoint_type"])

    def _merge(self, config: dict[str, Any]) -> dict[str, Any]:
        return files.merged(
            config,
            self._name,
            self._cluster,
            self._user,
            make_current=self._params["set_current"],
        )

    def _write(self) -> None:
        """Change the file as it is by now: others may have added to it."""
        with files.locked(self._path):
            config = files.load(self._path)
            if self._params["state"] == "absent":
                files.save(self._path, files.without(config, self._name))
            else:
                files.save(self._path, self._merge(config))


TASK = plan_task(
    lambda session, params: Kubeconfig(session, params).plan(),
    DOCUMENTATION,
    {"min_token_validity": {"no_log": False}},
)
main = TASK.main

if __name__ == "__main__":
    main()
