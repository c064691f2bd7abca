"""The kubernetes.core collection against a whole cluster, doing what playbooks do with it."""

from __future__ import annotations

import json
import subprocess

import pytest
from support import peers
from support.sandbox import SERVER, Cluster
from support.site import recap

pytestmark = pytest.mark.skipif(
    not peers.are_here(), reason="needs kubernetes.core: `make tools` fetches it from PyPI"
)

HEAD = """
- hosts: localhost
  connection: local
  gather_facts: false
  module_defaults:
    group/kubernetes.core.k8s: {namespace: "{{ space }}"}
  environment: {K8S_AUTH_KUBECONFIG: "{{ config }}"}
  vars:
    web:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {name: web, labels: {app: web}}
      spec:
        replicas: 1
        selector: {matchLabels: {app: web}}
        template:
          metadata: {labels: {app: web}}
          spec:
            terminationGracePeriodSeconds: 2
            containers:
              - name: web
                image: "{{ image }}"
                command: [python3, -u, -c, "{{ server }}"]
                ports: [{containerPort: 8080, name: http}]
                readinessProbe: {httpGet: {port: http}, periodSeconds: 1}
    settings:
      apiVersion: v1
      kind: ConfigMap
      metadata: {name: settings, labels: {app: web}}
      data: {color: red}
"""

# Run twice: the second time there is nothing to do.
PRESENT = """
  tasks:
    - name: Check mode tells and does not do
      kubernetes.core.k8s: {definition: "{{ settings }}"}
      check_mode: true
    - name: Nothing is there but what a run before has made
      kubernetes.core.k8s_info: {api_version: v1, kind: ConfigMap, name: settings}
      register: found
      failed_when: (found.resources | length) != (1 if again | bool else 0)
    - name: Create, and merge into what is there
      kubernetes.core.k8s: {definition: "{{ settings }}"}
    - name: Patch with a list of patch types
      kubernetes.core.k8s:
        state: patched
        kind: ConfigMap
        name: settings
        merge_type: [strategic-merge, merge]
        definition: {metadata: {annotations: {patched: "yes"}}}
    - name: Apply from the client's side
      kubernetes.core.k8s:
        apply: true
        definition: "{{ settings | combine({'metadata': {'name': 'by-client'}}, recursive=true) }}"
    - name: Apply on the server, and wait for the rollout
      kubernetes.core.k8s:
        apply: true
        server_side_apply: {field_manager: core}
        definition: "{{ web }}"
        wait: true
        wait_timeout: 60
        wait_sleep: 1
"""

# Leaves nothing of what PRESENT has made.
AFTERWARDS = """
  tasks:
    - name: Read by label
      kubernetes.core.k8s_info: {kind: ConfigMap, label_selectors: ["app=web", "app in (web, x)"]}
      register: labelled
    - name: Read by field
      kubernetes.core.k8s_info: {kind: ConfigMap, field_selectors: ["metadata.name=settings"]}
      register: named
    - name: Read and wait for a condition
      kubernetes.core.k8s_info:
        api_version: apps/v1
        kind: Deployment
        name: web
        wait: true
        wait_timeout: 60
        wait_sleep: 1
        wait_condition: {type: Available, status: "True"}
      register: deployment
    - name: Read the log of the Deployment's pod
      kubernetes.core.k8s_log: {api_version: apps/v1, kind: Deployment, name: web}
      register: log
    - name: Patch by JSON patch
      kubernetes.core.k8s_json_patch:
        namespace: "{{ space }}"
        kind: ConfigMap
        name: settings
        patch: [{op: add, path: /data/shape, value: round}]
    - name: What was read is true
      ansible.builtin.assert:
        that:
          - labelled.resources | map(attribute='metadata.name') | sort == ['by-client', 'settings']
          - named.resources | map(attribute='data.color') == ['red']
          - named.resources[0].metadata.annotations.patched == 'yes'
          - deployment.resources[0].status.availableReplicas == 1
          - log.log | trim == 'serving'
    - name: Scale and wait
      kubernetes.core.k8s_scale:
        api_version: apps/v1
        kind: Deployment
        name: web
        current_replicas: 1
        replicas: 2
        wait_timeout: 60
        wait_sleep: 1
      register: scaled
    - name: Change the template
      kubernetes.core.k8s:
        state: patched
        api_version: apps/v1
        kind: Deployment
        name: web
        definition: {spec: {template: {metadata: {annotations: {another: revision}}}}}
        wait: true
        wait_timeout: 60
        wait_sleep: 1
    - name: Roll back
      kubernetes.core.k8s_rollback:
        {api_version: apps/v1, kind: Deployment, name: web, namespace: "{{ space }}"}
      register: rolled_back
    - name: Someone else's fields are a conflict
      kubernetes.core.k8s:
        apply: true
        server_side_apply: {field_manager: other}
        definition: "{{ web | combine({'spec': {'minReadySeconds': 1, 'replicas': 5}}, recursive=true) }}"
      register: conflict
      ignore_errors: true
    - name: What was done is true
      ansible.builtin.assert:
        that:
          - scaled.result.spec.replicas == 2
          - scaled.result.status.readyReplicas == 2
          - rolled_back is changed
          - conflict is failed and 'conflict with' in conflict.msg and '.spec.replicas' in conflict.msg
    - name: Delete and wait until the pods are gone
      kubernetes.core.k8s:
        state: absent
        definition: "{{ web }}"
        wait: true
        wait_timeout: 60
        wait_sleep: 1
        delete_options: {propagationPolicy: Foreground}
    - name: Delete all of a kind by label
      kubernetes.core.k8s:
        state: absent
        kind: ConfigMap
        delete_all: true
        label_selectors: ["app=web"]
        wait: true
        wait_timeout: 30
        wait_sleep: 1
    - name: Delete what is not there
      kubernetes.core.k8s: {state: absent, definition: "{{ settings }}"}
      register: gone
      failed_when: gone is changed
"""


@pytest.fixture
def play(cluster: Cluster, namespace: str, tmp_path):
    """Run a playbook in the namespace; how many tasks were ok, changed and failed."""

    def run(tasks: str, **variables: object) -> dict[str, int]:
        (tmp_path / "play.yml").write_text(HEAD + tasks)
        given = {
            "config": str(cluster.kubeconfig),
            "space": namespace,
            "image": cluster.image,
            "server": SERVER,
        } | variables
        extra = tmp_path / "variables.json"
        extra.write_text(json.dumps(given))
        result = subprocess.run(
            [peers.ansible_playbook(), "play.yml", "-i", "localhost,", "-e", f"@{extra}"],
            cwd=tmp_path,
            env=peers.environment()
            | {"TMPDIR": str(tmp_path)},  # where it keeps what it discovered
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return recap(result.stdout)["localhost"]

    return run


@pytest.mark.timeout(600)
def test_playbooks_with_kubernetes_core(cluster: Cluster, namespace: str, play) -> None:
    assert play(PRESENT, again=False)["changed"] == 5
    assert play(PRESENT, again=True)["changed"] == 0
    counts = play(AFTERWARDS)
    assert (counts["changed"], counts["ignored"]) == (6, 1)
    assert cluster.pods(namespace) == []
    assert [item["metadata"]["name"] for item in cluster.list("v1", "ConfigMap", namespace)] == [
        "kube-root-ca.crt"
    ]
