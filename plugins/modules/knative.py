#!/usr/bin/python
"""Install, upgrade and remove Knative."""

from __future__ import annotations

DOCUMENTATION = r"""
module: knative
short_description: Install, upgrade and remove Knative
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Applies the releases of the chosen components, waits until all of it runs, and runs the migrations of an upgrade.
    What left the list of components is removed.
  - Refuses, all reasons at once, what cannot work; a Kubernetes that is too old, an upgrade of more
    than one minor release, a step back, an installation managed by others, missing
    permissions, missing files.
  - Verifies the signatures of the releases' images before anything is applied (O(verify)).
  - Before an upgrade, warns of every object that the new release makes fail or behave otherwise.
extends_documentation_fragment:
  - streamops.knative.kubernetes
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
  - streamops.knative.releases
  - streamops.knative.releases.source
  - streamops.knative.signatures
attributes:
  check_mode:
    details: By the server's dry run, as M(streamops.knative.apply).
options:
  state:
    description:
      - With V(absent) everything is removed that this module installed; bindings, triggers and subscriptions first,
        while the controllers that undo them still run.
    type: str
    choices: [present, absent]
    default: present
  components:
    description: >-
      What to install; V(serving), one ingress of V(kourier), V(net-gateway-api) and V(net-istio), V(hpa), V(eventing),
      V(in-memory-channel), V(mt-channel-broker), V(kafka-controller), V(kafka-broker), V(kafka-channel),
      V(kafka-sink), V(kafka-source), V(rabbitmq-broker). The release of the project of each is required.
    type: list
    elements: str
  references:
    description:
      - References of images by those they replace, as these are written in the release files; in containers, in
        environment variables and in ConfigMaps. RV(streamops.knative.knative_bundle_push#module:images) is such
        a mapping.
    type: dict
    default: {}
  bundle:
    description:
      - A file that M(streamops.knative.knative_bundle) has made. Its images are pushed to O(bundle.registry), as
        M(streamops.knative.knative_bundle_push) does, and Knative is installed from there and from the release
        files in it, without the internet.
    type: dict
    suboptions:
      path:
        description: The file.
        type: path
        required: true
      registry:
        description: Registry, and path in it, that the images are pushed below.
        type: str
        required: true
      username:
        description: User to push as.
        type: str
      password:
        description: Password to push with.
        type: str
      docker_config:
        description: File with the logins of registries. The default is Docker's and Podman's own.
        type: path
      ca_cert:
        description: File with certificate authorities of the registry.
        type: path
      validate_certs:
        description: Whether the registry's certificate is verified.
        type: bool
        default: true
      plain_http:
        description: Whether the registry is spoken to without TLS; the default is only one on this machine.
        type: bool
      parallel:
        description: How many images are pushed at a time.
        type: int
        default: 4
      timeout:
        description: Seconds that the push may take.
        type: float
        default: 3600
  pull_login:
    description:
      - How nodes log in to the registry that the images are pulled from. A Secret with it is put into each namespace
        of Knative, for the service accounts there.
    type: dict
    suboptions:
      registry:
        description: The registry, HOST or HOST:PORT.
        type: str
        required: true
      username:
        description: User.
        type: str
        required: true
      password:
        description: Password.
        type: str
        required: true
  adopt:
    description: >-
      Whether an installation made by others is taken over. Otherwise it is refused.
    type: bool
    default: false
  config:
    description:
      - Keys to set in Knative's ConfigMaps; by project (V(serving), V(eventing), V(kourier)), by
        ConfigMap.
    type: dict
    default: {}
  kafka:
    description:
      - How Brokers of class V(Kafka) and KafkaChannels reach Kafka, in C(kafka-broker-config) and
        C(kafka-channel-config).
      - A Service of the cluster that does not exist or has no ready endpoint is refused, as is a Secret that lacks what
        its protocol needs. An address outside the cluster is not tried, as the nodes may reach it and others not.
      - Refused without the components V(kafka-broker) and V(kafka-channel), as nothing would read it.
    type: dict
    suboptions:
      bootstrap_servers:
        description: HOST:PORT of each. Required with the components V(kafka-broker) and V(kafka-channel).
        type: list
        elements: str
        default: []
      auth_secret:
        description: >-
          Secret in the namespace C(knative-eventing) with C(protocol) and the credentials that it needs; C(user),
          C(password), C(sasl.mechanism), C(ca.crt), C(user.crt), C(user.key).
        type: str
      topic_partitions:
        description: Partitions of the topics of Brokers; upstream's default is 10.
        type: int
      topic_replication_factor:
        description: Replicas of the topics of Brokers; upstream's default is 3.
        type: int
  workloads:
    description:
      - Settings of Deployments and StatefulSets. The fields are those of the Knative Operator.
      - The entry V(all) is about every workload; entries of single ones come on top of it.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the Deployment or StatefulSet, or V(all).
        type: str
        required: true
      replicas:
        description:
          - Number of pods. Where an autoscaler governs them, its lower bound.
          - With V(all) of every Deployment, except the one that Eventing's controller starts when it is needed.
        type: int
      labels:
        description: Labels of the workload and its pods.
        type: dict
      annotations:
        description: Annotations of the workload and its pods.
        type: dict
      nodeSelector:
        description: Labels that nodes have to have.
        type: dict
      tolerations:
        description: Taints of nodes that are tolerated.
        type: list
        elements: dict
      affinity:
        description: Affinity, in place of upstream's, which prefers a node for each pod.
        type: dict
      topologySpreadConstraints:
        description: >-
          How pods are spread, for example over zones. Without a C(labelSelector) it is about the workload's own pods.
        type: list
        elements: dict
      hostNetwork:
        description: Whether pods use the network of their node.
        type: bool
      resources:
        description: Resources of containers.
        type: list
        elements: dict
        default: []
        suboptions:
          container: &container
            description: Name of the container; all of them if not given.
            type: str
          requests:
            description: What it is sure to get.
            type: dict
          limits:
            description: What it must not exceed.
            type: dict
      env:
        description: Environment of containers.
        type: list
        elements: dict
        default: []
        suboptions:
          container: *container
          variables:
            description: Variables as in a pod, with C(name) and C(value).
            type: list
            elements: dict
            required: true
      livenessProbes:
        description: Timing of the liveness probes of containers that have one.
        type: list
        elements: dict
        default: []
        suboptions:
          <<: &timing
            container: *container
            initialDelaySeconds:
              description: Seconds before the first probe.
              type: int
            periodSeconds:
              description: Seconds between probes.
              type: int
            timeoutSeconds:
              description: Seconds a probe may take.
              type: int
            successThreshold:
              description: Number of probes in a row that have to succeed.
              type: int
            failureThreshold:
              description: Number of probes in a row that have to fail.
              type: int
          terminationGracePeriodSeconds:
            description: Seconds a container gets to end, after its liveness probe failed.
            type: int
      readinessProbes:
        description: Timing of the readiness probes of containers that have one.
        type: list
        elements: dict
        default: []
        suboptions: *timing
  services:
    description: Labels and annotations of Services.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the Service, or V(all).
        type: str
        required: true
      labels: &labels
        description: Labels to add.
        type: dict
      annotations: &annotations
        description: Annotations to add.
        type: dict
  pod_disruption_budgets:
    description:
      - How many pods may be evicted at once, as drained nodes need it. By itself every budget lets one be evicted.
      - Upstream's budgets want 80 % of the pods available; of a single one, which is the default, none could be
        evicted.
      - A budget that lets none be evicted is refused.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the PodDisruptionBudget, or V(all).
        type: str
        required: true
      minAvailable:
        description: Number or percentage of the pods that stay.
        type: str
      maxUnavailable:
        description: Number or percentage of the pods that may be away.
        type: str
  namespace_metadata:
    description: Labels and annotations of Knative's namespaces.
    type: dict
    default: {}
    suboptions:
      labels: *labels
      annotations: *annotations
  additional_manifests:
    description: Paths and URLs of manifests that are installed, and removed, with Knative.
    type: list
    elements: str
    default: []
  autopilot:
    description: >-
      Whether the cluster is one of GKE Autopilot, which adds nodes for pods that fit none; then
      C(pod-is-always-schedulable) is set in C(config-deployment), unless O(config) sets it. By default it is told by
      the names of nodes.
    type: bool
  custom_certs:
    description: >-
      Certificates of CAs that Serving's controller trusts in registries, where it resolves tags to digests. The object
      is in the namespace C(knative-serving).
    type: dict
    suboptions:
      type:
        description: Kind of the object.
        type: str
        choices: [ConfigMap, Secret]
        required: true
      name:
        description: Name of the object.
        type: str
        required: true
  broker_class:
    description: Class of Brokers that name none. Upstream's is V(MTChannelBasedBroker).
    type: str
    default: ''
  selection_mode:
    description: >-
      Whether SinkBindings bind everything but what is labelled C(bindings.knative.dev/exclude=true), as upstream does,
      or only what is labelled C(bindings.knative.dev/include=true).
    type: str
    choices: ['', exclusion, inclusion]
    default: ''
  registry:
    description: >-
      Registry, with a path or without, that has all images under the paths of upstream's, for example
      V(registry.example.com/mirror).
    type: str
    default: ''
  images:
    description: >-
      Full references of single images, by the end of the path of those they replace, for example V(envoyproxy/envoy) or
      V(serving/cmd/queue).
    type: dict
    default: {}
  image_pull_secrets:
    description: Names of Secrets for the registry; each is in every namespace of Knative.
    type: list
    elements: str
    default: []
  domain:
    description:
      - Domain of services. V(sslip.io) makes one of the gateway's address, for which it waits. Without it none is set.
    type: str
    default: ''
  gateway:
    description: How Kourier's Service is published, and how people reach it.
    type: dict
    default: {}
    suboptions:
      service_type:
        description: Type of the Service.
        type: str
        choices: [LoadBalancer, NodePort, ClusterIP]
        default: LoadBalancer
      node_port:
        description: Port on every node for HTTP. Chosen by the cluster if not given.
        type: int
      annotations:
        description: Annotations of the Service, as cloud providers read them.
        type: dict
        default: {}
      access:
        description: >-
          How people reach the gateway, as O(streamops.knative.knative_info#module:gateway).
        type: str
        choices: [load_balancer, node_port, none]
        default: load_balancer
      address:
        description: The address to use where the cluster does not know it.
        type: str
  cache_dir:
    description: >-
      Folder for what was fetched. The default follows E(XDG_CACHE_HOME).
    type: path
  monitors:
    description: Whether PodMonitors are made where the Prometheus Operator is installed.
    type: bool
    default: false
  delete_resources:
    description: >-
      Whether services, brokers, bindings and other custom resources may be deleted because their definitions are.
      Otherwise that is refused, and they are listed.
    type: bool
    default: false
  scope:
    description: >-
      Name of the owner of the installation, as O(streamops.knative.apply#module:apply_set_scope). An installation of
      another owner is refused.
    type: str
    default: ''
  planned_deletions:
    description:
      - Objects, as M(streamops.knative.apply) returns them, that earlier tasks delete. In check mode, where those have
        only planned it, they count as gone.
    type: list
    elements: dict
    default: []
  planned_kubernetes:
    description:
      - Version of Kubernetes that earlier tasks upgrade the cluster to. In check mode, where those have only planned
        it, it counts.
    type: str
    default: ''
  leader_buckets:
    description: Number of the autoscaler's leader election buckets, whose Services O(state=absent) removes.
    type: int
    default: 1
  wait_timeout:
    description: Seconds to wait until everything runs, or is gone.
    type: float
    default: 300.0
seealso:
  - module: streamops.knative.apply
  - module: streamops.knative.knative_info
"""

EXAMPLES = r"""
- name: Install Serving with Kourier
  streamops.knative.knative:
    components: [serving, kourier]
    serving_version: 1.23.0
    kourier_version: 1.23.0

- name: Keep every component available while nodes are drained
  streamops.knative.knative:
    components: [serving, kourier]
    serving_version: 1.23.0
    kourier_version: 1.23.0
    workloads:
      - name: all
        replicas: 2
        topologySpreadConstraints:
          - {maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: ScheduleAnyway}
      - name: activator
        replicas: 3

- name: Install Eventing with Brokers on Kafka
  streamops.knative.knative:
    components: [eventing, kafka-controller, kafka-broker]
    eventing_version: 1.23.0
    kafka_broker_version: 1.23.1
    kafka:
      bootstrap_servers: [my-cluster-kafka-bootstrap.kafka:9092]
      auth_secret: kafka-credentials
    broker_class: Kafka

- name: Remove Knative
  streamops.knative.knative:
    state: absent
"""

RETURN = r"""
pushed:
  description: Images of O(bundle) that the registry lacked, by their names there.
  returned: with O(bundle)
  type: list
  elements: str
verified:
  description: Images whose signatures were verified now; not those that were verified before.
  returned: with O(state=present)
  type: list
  elements: str
objects:
  description: One entry an object, as M(streamops.knative.apply) returns them.
  returned: success
  type: list
  elements: dict
installed:
  description: Versions found before, by project.
  returned: with O(state=present)
  type: dict
  sample: {serving: 1.22.1}
takes_over:
  description: Whether an installation made by others was taken over.
  returned: with O(state=present)
  type: bool
upgrade_findings:
  description: >-
    Objects that an upgrade makes fail or behave otherwise, which are warned about as well; entries as
    RV(streamops.knative.knative_info#module:upgrade_findings).
  returned: with O(state=present)
  type: list
  elements: dict
"""

from collections.abc import Collection, Mapping
from dataclasses import fields
from typing import Any

from ..module_utils._airgap.push import push
from ..module_utils._knative import gateway
from ..module_utils._knative.bundle import DesiredState
from ..module_utils._knative.customization import Settings
from ..module_utils._knative.installer import Installer
from ..module_utils._knative.releases import (
    PROJECTS,
    SOURCE,
    VERSIONS,
    Source,
    ingress_of,
    is_upstream,
    versions,
)
from ..module_utils._knative.signers import SIGNERS
from ..module_utils._knative.upgrade_traps import described
from ..module_utils._kubernetes.apply_run import summarize
from ..module_utils._kubernetes.argspec import CONNECTION, connect
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.download import cache_dir
from ..module_utils._kubernetes.errors import KubeError, accounting
from ..module_utils._module.progress import paced
from ..module_utils._module.task import Run, Task
from ..module_utils._module.text import require_texts
from ..module_utils._oci import trust_root
from ..module_utils._oci.argspec import REGISTRY, SIGNATURES
from ..module_utils._oci.verification import Pulled, Verification

SSLIP = "sslip.io"  # resolves ADDRESS.sslip.io to the address


def desired_state(params: dict[str, Any]) -> DesiredState:
    """Return what the options ask for; raise KubeError for a version that is missing or malformed."""
    return DesiredState(
        components=params["components"],
        versions=versions(params),
        source=Source(params["mirror"], params["folder"] or "", params["checksums"]),
        adopt=params["adopt"],
        config=params["config"],
        settings=Settings(
            **{field.name: params[field.name] for field in fields(Settings)}
            | {"custom_certs": params["custom_certs"] or {}}
        ),
        additional_manifests=params["additional_manifests"],
        autopilot=params["autopilot"],
        gateway=params["gateway"],
        kafka=params["kafka"] or {},
        planned_kubernetes=params["planned_kubernetes"],
        references=require_texts("references", params["references"], KubeError),
        pull_login=params["pull_login"] or {},
    )


def work(run: Run) -> dict[str, Any]:
    """Install or remove Knative."""
    params = run.params
    client = connect(run)
    installer = Installer(client, run)
    if params["state"] == "absent":
        return summarize(run, client, installer.remove(params["leader_buckets"]))
    pushed = push_bundle(run) if params["bundle"] else {}
    planned = params["planned_kubernetes"] if run.check_mode else ""
    desired = desired_state({**params, **pushed, "planned_kubernetes": planned})
    images = Images(params, pushed)
    missing = pushed.get("pushed", [])
    changed = bool(missing) and not run.check_mode
    with accounting(changed=changed, dry_run=run.check_mode):
        made, results = installer.install(
            desired, monitors=params["monitors"], verify=images.verify if images.wanted else None
        )
    changed = changed or (any(result.changed for result in results) and not run.check_mode)
    with accounting(changed=changed, dry_run=run.check_mode):
        results.append(installer.configure(desired, domain(run, client)))
    summary = summarize(run, client, results)
    returned = {
        "changed": summary["changed"] or bool(missing),
        "pushed": missing,
        "verified": [*pushed.get("verified", []), *images.verified],
        "installed": made.installed,
        "takes_over": made.takes_over,
        "upgrade_findings": described(made.upgrade_findings),
    }
    return {**summary, **returned}


def push_bundle(run: Run) -> dict[str, Any]:
    """Push the bundle's images; return what the installation takes from it, and what was `pushed`."""
    params = run.params
    given = {name: params[name] for name in ("components", "cache_dir", *SIGNATURES)}
    given |= {f"{name}_version": params[f"{name}_version"] for name in PROJECTS}
    defaults = {name: spec.get("default") for name, spec in REGISTRY.items()}
    made = push(run, {**defaults, **params["bundle"], **given})
    references = {**params["references"], **made["images"]}
    return {
        **{key: made[key] for key in ("folder", "pushed", "verified")},
        "references": references,
    }


class Images:
    """The images of the releases, of which the `pushed` ones were verified in the bundle.

    By default signatures are verified where the images come straight from upstream.
    """

    def __init__(self, params: dict[str, Any], pushed: Mapping[str, Any]) -> None:
        self._params = params
        self._pushed = set(pushed.get("references", {}).values())
        self.verified: list[str] = []
        elsewhere = any(params[name] for name in ("folder", "references", "registry", "bundle"))
        is_straight = is_upstream(params["mirror"]) and not elsewhere
        self.wanted = trust_root.verifies(params["verify"], are_expected=is_straight)

    def verify(self, images: Mapping[str, str], named: Collection[str]) -> None:
        """Verify the signatures of images, given as what each name is pulled by; raise SignatureError.

        Those `named` by settings are verified where a signer is known.
        """
        params = self._params
        defaults = {name: spec.get("default") for name, spec in REGISTRY.items()}
        options = {**defaults, **{name: params[name] for name in (*SIGNATURES, "request_timeout")}}
        verification = Verification.of(options, SIGNERS, cache_dir(params["cache_dir"]))
        own = {*params["images"].values(), *named}
        self.verified = verification.verify(
            Pulled(
                reference if reference in own else name, reference, required=reference not in own
            )
            for name, reference in sorted([*images.items(), *((name, name) for name in named)])
            if reference not in self._pushed
        )


def domain(run: Run, client: Client) -> str:
    """Return the domain of services; raise KubeError where it is made of an address that does not come."""
    name: str = run.params["domain"]
    if name != SSLIP:
        return name
    options = run.params["gateway"]
    found = gateway.wait(
        client,
        options["access"],
        options["address"],
        None,
        ingress=ingress_of(run.params["components"]),
        config=run.params["config"],
        timeout=0 if run.check_mode else run.params["wait_timeout"],
        progress=paced(run.progress),
    )
    # The colons of an IPv6 address are dashes there.
    return f"{found.address.replace(':', '-') or 'address-to-come'}.{SSLIP}"


TASK = Task(
    work,
    DOCUMENTATION,
    {**CONNECTION, **VERSIONS, **SOURCE, **SIGNATURES},
    {
        "bundle.password": {"no_log": True},
        "pull_login.password": {"no_log": True},
        "kafka.auth_secret": {"no_log": False},  # its name
        "image_pull_secrets": {"no_log": False},  # their names
    },
    {"required_if": [("state", "present", ["components"])]},
)
main = TASK.main

if __name__ == "__main__":
    main()
