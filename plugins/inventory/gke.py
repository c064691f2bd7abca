# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""GKE clusters as inventory hosts."""

from __future__ import annotations

DOCUMENTATION = """
name: gke
short_description: GKE clusters as inventory hosts
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Makes a host of each GKE cluster of the projects named, with the variables that the roles of this collection need,
    grouped by project, location, release channel and label.
  - The file's name ends in C(gke.yml) or C(gke.yaml).
  - A role that runs on such a host adopts the cluster as it is.
  - A project that cannot be read is named in a warning and left out, or with O(strict=true) is an error. It is an error
    too where no project can be read. What was found is cached only if every project could be read.
extends_documentation_fragment:
  - constructed
  - inventory_cache
options:
  plugin:
    description: Marks the file as meant for this plugin.
    required: true
    choices: [streamops.knative.gke]
  projects:
    description: IDs of the projects.
    type: list
    elements: str
    required: true
  locations:
    description: Regions and zones; C(-) means all.
    type: list
    elements: str
    default: ["-"]
  labels:
    description: Only clusters that have all these labels.
    type: dict
    default: {}
  statuses:
    description: Only clusters in one of these states.
    type: list
    elements: str
    default: [RUNNING, RECONCILING, DEGRADED]
  group:
    description: The group that gets all clusters; the playbooks of this collection work on V(knative_clusters).
    type: str
    default: knative_clusters
  host_name:
    description: What hosts are called. V(name) is taken only where it is unique; the others are named in full.
    type: str
    choices: [name, full]
    default: name
  kubeconfig_dir:
    description: Folder for the kubeconfig file of each cluster, relative to the inventory file.
    type: str
    default: .kube
  auth_kind:
    description: As of the modules of this collection.
    type: str
    choices: [application, machineaccount, serviceaccount, accesstoken]
    default: application
    env:
      - name: GCP_AUTH_KIND
  service_account_file:
    description: Path of a service account's key.
    type: path
    env:
      - name: GCP_SERVICE_ACCOUNT_FILE
  service_account_contents:
    description: The key itself, as JSON.
    type: str
    env:
      - name: GCP_SERVICE_ACCOUNT_CONTENTS
  service_account_email:
    description: Which account of the machine to use.
    type: str
    env:
      - name: GCP_SERVICE_ACCOUNT_EMAIL
  access_token:
    description: A token, with O(auth_kind=accesstoken).
    type: str
    env:
      - name: GCP_ACCESS_TOKEN
  impersonate_service_account:
    description: E-mail address of a service account to act as.
    type: str
    env:
      - name: GCP_IMPERSONATE_SERVICE_ACCOUNT
  scopes:
    description: OAuth scopes to ask for.
    type: list
    elements: str
    default:
      - https://www.googleapis.com/auth/cloud-platform
      - https://www.googleapis.com/auth/userinfo.email
    env:
      - name: GCP_SCOPES
  endpoint:
    description: Base URL in place of Google's. May be a template.
    type: str
    env:
      - name: GCP_ENDPOINT
  endpoints:
    description: Base URLs of single services.
    type: dict
    default: {}
  request_timeout:
    description: Seconds to wait for a connection, and for each answer.
    type: float
    default: 30.0
  request_retries:
    description: How often a request is sent again after an answer that says "later".
    type: int
    default: 5
  propagation_timeout:
    description: Seconds to wait for an API that is enabled and cannot be used yet.
    type: float
    default: 300.0
requirements:
  - google-auth
"""

EXAMPLES = """
# production.gke.yml: all clusters of two projects that are meant for the pipeline
plugin: streamops.knative.gke
projects:
  - my-project
  - my-other-project
labels:
  streamops: "true"
keyed_groups:
  - key: gke.currentMasterVersion.split('.')[:2] | join('_')
    prefix: kubernetes
compose:
  twitter_pipeline_registry: gcp_cluster_location ~ '-docker.pkg.dev/' ~ gcp_cluster_project ~ '/streamops'
"""

import hashlib
import json
import os
from collections import Counter
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable, Constructable
from ansible.utils.unsafe_proxy import wrap_var

from ..module_utils._google.argspec import GOOGLE, session
from ..module_utils._google.errors import ConfigError, GcpError
from ..module_utils._google.gke.cluster import Clusters, trimmed
from ..module_utils._module.text import require_texts

#: Options of the session.
AUTH = tuple(name for name in GOOGLE if name != "project")
#: Those that the roles get as variables where they are set.
HANDED_ON = (
    "auth_kind",
    "service_account_file",
    "service_account_email",
    "impersonate_service_account",
    "endpoint",
)


class InventoryModule(BaseInventoryPlugin, Constructable, Cacheable):
    """See DOCUMENTATION."""

    NAME = "streamops.knative.gke"

    def verify_file(self, path: str) -> bool:
        """Return whether the file's name says that it is for this plugin."""
        return bool(super().verify_file(path)) and path.endswith(("gke.yml", "gke.yaml"))

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Add the clusters to the inventory."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        try:
            require_texts("labels", self.get_option("labels"), ConfigError)
        except ConfigError as error:
            raise AnsibleParserError(str(error)) from error
        self._folder = os.path.dirname(os.path.abspath(path))
        self._auth = {name: self._option(name) for name in AUTH}
        clusters = [c for c in self._clusters(path, cache) if self._is_wanted(c)]
        names = Counter(cluster["name"] for cluster in clusters)
        group = self.inventory.add_group(self.get_option("group"))
        for cluster in clusters:
            unique = names[cluster["name"]] == 1 and self.get_option("host_name") == "name"
            host = (
                cluster["name"]
                if unique
                else "-".join(cluster[key] for key in ("project", "location", "name"))
            )
            self.inventory.add_host(host, group)
            self._add(host, cluster)

    def _clusters(self, path: str, cache: bool) -> list[dict[str, Any]]:
        """Return the clusters, from the cache where it may be used and has them."""
        key = self._cache_key(path)
        use = self.get_option("cache")
        if cache and use:
            try:
                cached: list[dict[str, Any]] = self._cache[key]
                return cached
            except KeyError:
                pass  # not there yet, or too old
        found, is_complete = self._fetch()
        if use and is_complete:
            self._cache[key] = found
        return found

    def _cache_key(self, path: str) -> str:
        """Return the key of what these options find; none of them can be read from it."""
        options = {name: self.get_option(name) for name in sorted(self._options)}
        text = json.dumps(options, sort_keys=True, default=str)
        return f"{self.get_cache_key(path)}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"

    def _fetch(self) -> tuple[list[dict[str, Any]], bool]:
        """Return the clusters, and whether every project could be read."""
        found: list[dict[str, Any]] = []
        failed: list[str] = []
        projects = self.get_option("projects")
        for project in projects:
            try:
                caller = session({**self._auth, "project": project})
                clusters = [
                    {**trimmed(cluster), "project": project}
                    for location in self.get_option("locations")
                    for cluster in Clusters(caller, location, wait_timeout=0).all()
                ]
            except GcpError as error:
                failed.append(f"project {project}: {error}")
                continue
            found += clusters
            for warning in caller.warnings:
                self.display.warning(f"project {project}: {warning}")
        if failed and (self.get_option("strict") or len(failed) == len(projects)):
            raise AnsibleParserError("; ".join(failed))
        for message in failed:
            self.display.warning(f"{message} Its clusters are not in the inventory.")
        return found, not failed

    def _is_wanted(self, cluster: dict[str, Any]) -> bool:
        labels = cluster.get("resourceLabels", {})
        wanted = self.get_option("labels")
        return cluster["status"] in self.get_option("statuses") and all(
            labels.get(key) == value for key, value in wanted.items()
        )

    def _add(self, host: str, cluster: dict[str, Any]) -> None:
        """Set a host's variables and groups."""
        variables = self._variables(host, cluster)
        for name, value in variables.items():
            self.inventory.set_variable(host, name, value)
        channel = cluster.get("releaseChannel", {}).get("channel", "UNSPECIFIED")
        keys = {
            "gke_project": cluster["project"],
            "gke_location": cluster["location"],
            "gke_channel": channel.lower(),
            **{f"gke_label_{k}": v for k, v in cluster.get("resourceLabels", {}).items()},
        }
        for prefix, value in keys.items():
            name = self._sanitize_group_name(f"{prefix}_{value}" if value else prefix)
            self.inventory.add_child(self.inventory.add_group(name), host)
        strict = self.get_option("strict")
        self._set_composite_vars(self.get_option("compose"), variables, host, strict=strict)
        self._add_host_to_composed_groups(self.get_option("groups"), variables, host, strict=strict)
        self._add_host_to_keyed_groups(
            self.get_option("keyed_groups"), variables, host, strict=strict
        )

    def _variables(self, host: str, cluster: dict[str, Any]) -> dict[str, Any]:
        """Return what the roles need, and the cluster as the API describes it in `gke`."""
        folder = os.path.join(self._folder, self.get_option("kubeconfig_dir"))
        handed_on = {f"gcp_cluster_{n}": self._auth[n] for n in HANDED_ON if self._auth[n]}
        return {
            "gcp_cluster_project": cluster["project"],
            "gcp_cluster_location": cluster["location"],
            "gcp_cluster_name": cluster["name"],
            "gcp_cluster_autopilot": cluster.get("autopilot", {}).get("enabled", False),
            **handed_on,
            "kubeconfig": os.path.join(folder, f"{host}.kubeconfig"),
            "gke": wrap_var(cluster),  # external data, never templates
        }

    def _option(self, name: str) -> Any:
        value = self.get_option(name)
        return self.templar.template(value) if name == "endpoint" and value else value
