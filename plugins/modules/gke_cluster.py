#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Create, change and delete GKE clusters."""

from __future__ import annotations

DOCUMENTATION = """
module: gke_cluster
short_description: Create, change and delete GKE clusters
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Makes a Google Kubernetes Engine cluster, Autopilot by default or Standard with one node pool, as described; takes
    over one that exists.
  - Changes one setting per call, as the API asks, and only what differs. What cannot be changed is refused by name,
    before anything is.
extends_documentation_fragment:
  - streamops.knative.google
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
options:
  name:
    description: Name of the cluster, at most 40 characters.
    type: str
    required: true
  location:
    description: Region, or for a Standard cluster also a zone.
    type: str
    required: true
  state:
    description: Whether the cluster shall exist.
    type: str
    choices: [present, absent]
    default: present
  deletion_protection:
    description: Whether O(state=absent) is refused. GKE has no such setting of its own; this one holds for the task.
    type: bool
    default: true
  autopilot:
    description: Whether Google manages the nodes. Cannot be changed.
    type: bool
    default: true
  description:
    description: What the cluster is for. Cannot be changed.
    type: str
  release_channel:
    description: How new the versions are that the cluster is kept at. Without it GKE chooses V(REGULAR).
    type: str
    choices: [RAPID, REGULAR, STABLE, EXTENDED]
  kubernetes_version:
    description:
      - Version of Kubernetes that the control plane shall have at least, such as V(1.35) or V(1.35.4-gke.1400). An
        older one is upgraded, which the release channel has to offer; a newer one is left as it is. Without it GKE
        chooses.
      - Nodes follow by GKE's own upgrades.
    type: str
  network:
    description: VPC network. Cannot be changed.
    type: str
  subnetwork:
    description: Subnetwork. Cannot be changed.
    type: str
  pods_range:
    description: Name of the subnetwork's secondary range for pods. Cannot be changed.
    type: str
  services_range:
    description: Name of the subnetwork's secondary range for Services. Cannot be changed.
    type: str
  private_nodes:
    description: Whether nodes have internal addresses only.
    type: bool
  authorized_networks:
    description: All networks that may reach the control plane's address; an empty list lets everybody.
    type: list
    elements: dict
    suboptions:
      cidr:
        description: Addresses, such as C(203.0.113.0/24).
        type: str
        required: true
      name:
        description: Whose they are.
        type: str
  dns_endpoint:
    description: Whether the control plane can be reached by its DNS name too, which IAM guards.
    type: bool
  workload_identity:
    description: Whether pods have identities that IAM knows. An Autopilot cluster always has it.
    type: bool
    default: true
  secret_manager_addon:
    description: Whether the add-on that mounts secrets of Secret Manager is on.
    type: bool
  labels:
    description: Labels the cluster shall have.
    type: dict
  purge_labels:
    description: Whether labels that are not in O(labels) go.
    type: bool
    default: false
  maintenance_window:
    description: When GKE may upgrade the cluster. Exclusions that are set stay.
    type: dict
    suboptions:
      start:
        description: RFC 3339 time at which the first window begins.
        type: str
        required: true
      end:
        description: RFC 3339 time at which the first window ends.
        type: str
        required: true
      recurrence:
        description: RFC 5545 rule, such as C(FREQ=WEEKLY;BYDAY=SA,SU).
        type: str
        required: true
  node_pool:
    description:
      - The node pool of a Standard cluster; other pools are left alone.
      - Its name, spot and service account cannot be changed.
    type: dict
    suboptions:
      name:
        description: Name of the pool. Without it C(default-pool).
        type: str
      machine_type:
        description: Type of the machines. Without it a new pool gets C(e2-standard-4).
        type: str
      min_nodes:
        description: Fewest nodes per zone; 0 is possible. Without it a new pool gets 1.
        type: int
      max_nodes:
        description: Most nodes per zone. Without it a new pool gets 3.
        type: int
      spot:
        description: Whether the nodes are Spot VMs. Without it those of a new pool are not.
        type: bool
      service_account:
        description: Google service account of the nodes.
        type: str
  cluster:
    description:
      - Further fields of the API's Cluster, as they are there, for what has no option here. They are set at creation,
        and updated where this module knows how. A field that has an option of its own is refused.
    type: dict
  wait_timeout:
    description: Seconds to wait for each operation.
    type: int
    default: 1800
seealso:
  - module: streamops.knative.gke_cluster_info
  - module: streamops.knative.gke_kubeconfig
  - name: The API's Cluster
    description: Every field there is.
    link: https://cloud.google.com/kubernetes-engine/docs/reference/rest/v1/projects.locations.clusters
"""

EXAMPLES = """
- name: An Autopilot cluster
  streamops.knative.gke_cluster:
    project: my-project
    location: europe-west1
    name: streamops
    release_channel: REGULAR
    labels:
      team: streaming

- name: A Standard cluster of Spot VMs, for trying
  streamops.knative.gke_cluster:
    project: my-project
    location: europe-west1-b
    name: trial
    autopilot: false
    node_pool:
      machine_type: e2-standard-2
      max_nodes: 5
      spot: true

- name: Remove it
  streamops.knative.gke_cluster:
    project: my-project
    location: europe-west1-b
    name: trial
    state: absent
    deletion_protection: false
"""

RETURN = """
changes:
  description: What was changed, or in check mode would be, in words.
  returned: always
  type: list
  elements: str
  sample: [change release_channel]
cluster:
  description: The cluster as the API describes it. In check mode as it was.
  returned: always
  type: dict
  sample:
    name: streamops
    status: RUNNING
    endpoint: 203.0.113.10
planned:
  description: Whether the cluster is only planned, and not there for what follows.
  returned: when the cluster is to be created
  type: bool
"""

from typing import Any

from ..module_utils._google.gke.cluster import Clusters
from ..module_utils._google.plan import Plan
from ..module_utils._google.session import Session
from ..module_utils._google.task import plan_task


def make_plan(session: Session, params: dict[str, Any]) -> Plan:
    """Return the steps to the desired state."""
    clusters = Clusters(session, params["location"], params["wait_timeout"])
    if params["state"] == "absent":
        return clusters.plan_absent(params)
    return clusters.plan_present(params)


TASK = plan_task(make_plan, DOCUMENTATION)
main = TASK.main

if __name__ == "__main__":
    main()
