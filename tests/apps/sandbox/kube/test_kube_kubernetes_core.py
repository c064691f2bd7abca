"""The kubernetes.core collection, from the environment the benchmarks install it into."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

VENV = Path(__file__).parents[4] / ".cache" / "bench-venv"

pytestmark = pytest.mark.skipif(
    not (VENV / "installed.txt").exists(),
    reason="needs kubernetes.core: `make bench BENCH=apply_noop` installs it",
)

PLAYBOOK = """
- hosts: localhost
  connection: local
  gather_facts: false
  module_defaults:
    group/kubernetes.core.k8s:
      kubeconfig: "{{ config }}"
      namespace: "{{ space }}"
  tasks:
    - name: Replace or patch
      kubernetes.core.k8s:
        state: present
        definition:
          apiVersion: v1
          kind: ConfigMap
          metadata: {name: plain}
          data: {k: v}
    - name: Apply from the client's side
      kubernetes.core.k8s:
        apply: true
        definition: "{{ deployment | combine({'metadata': {'name': 'client'}}, recursive=true) }}"
    - name: Apply on the server
      kubernetes.core.k8s:
        apply: true
        server_side_apply: {field_manager: core}
        definition: "{{ deployment | combine({'metadata': {'name': 'server'}}, recursive=true) }}"
    - name: Read
      kubernetes.core.k8s_info:
        api_version: apps/v1
        kind: Deployment
        label_selectors: ["app=a"]
      register: found
    - name: Both are there, with defaults
      ansible.builtin.assert:
        that:
          - found.resources | map(attribute='metadata.name') | sort == ['client', 'server']
          - found.resources | map(attribute='spec.replicas') | list == [1, 1]
    - name: Patch
      kubernetes.core.k8s_json_patch:
        kubeconfig: "{{ config }}"
        namespace: "{{ space }}"
        api_version: v1
        kind: ConfigMap
        name: plain
        patch: [{op: add, path: /data/x, value: "y"}]
  vars:
    deployment:
      apiVersion: apps/v1
      kind: Deployment
      metadata: {labels: {app: a}}
      spec:
        selector: {matchLabels: {app: a}}
        template:
          metadata: {labels: {app: a}}
          spec: {containers: [{name: c, image: "i:1"}]}
"""

CLEAN_UP = """
- hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Scale
      kubernetes.core.k8s_scale:
        kubeconfig: "{{ config }}"
        api_version: apps/v1
        kind: Deployment
        name: client
        namespace: "{{ space }}"
        replicas: 0
        wait: false
    - name: Delete and wait
      kubernetes.core.k8s:
        kubeconfig: "{{ config }}"
        state: absent
        api_version: v1
        kind: ConfigMap
        name: plain
        namespace: "{{ space }}"
        wait: true
        wait_timeout: 10
"""


def play(cluster, namespace: str, text: str, folder: Path) -> dict[str, int]:
    """Run a playbook; how many tasks were ok, changed and failed."""
    path = folder / "play.yml"
    path.write_text(text)
    (folder / "ansible.cfg").touch()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")}
    environment |= {
        "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
        "ANSIBLE_HOME": str(folder / "ansible"),
        "ANSIBLE_PYTHON_INTERPRETER": str(VENV / "bin" / "python"),
        "NO_PROXY": "*",
    }
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        environment.pop(name, None)
    result = subprocess.run(
        [VENV / "bin" / "ansible-playbook", str(path), "-i", "localhost,",
         "-e", f"config={cluster.kubeconfig}", "-e", f"space={namespace}"],
        capture_output=True, text=True, timeout=150, check=False, env=environment, cwd=folder,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", result.stdout)}


def test_modules_do_and_repeat(cluster, namespace, tmp_path):
    first = play(cluster, namespace, PLAYBOOK, tmp_path)
    assert first["changed"] == 4
    again = play(cluster, namespace, PLAYBOOK, tmp_path)
    assert again["changed"] == 0
    assert play(cluster, namespace, CLEAN_UP, tmp_path)["changed"] == 2
