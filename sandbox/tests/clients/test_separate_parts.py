"""API server, controllers and node as programs of their own, which a kubeconfig puts together."""

from __future__ import annotations

from pathlib import Path

from kubernetes import config
from kubernetes.client import CoreV1Api
from support.kube import api_server, deployment, process
from support.sandbox import Cluster, until


def test_a_kubeconfig_is_all_that_controllers_and_node_need(
    cluster: Cluster, tmp_path: Path
) -> None:
    """The shared cluster only lends its registry."""
    data = tmp_path / "kube"
    with api_server(data) as kube:
        access = ("--kubeconfig", str(kube.kubeconfig))
        node = ("--folder", str(tmp_path / "node"), "--schedule", "--ca-key", str(data / "ca.key"))
        with (
            process(lambda line: line == "running\n", "streamops_sandbox.controllers", *access),
            process(lambda line: line == "ready\n", "streamops_sandbox.node", *access, *node),
        ):
            app = deployment("app", image=cluster.image)
            (container,) = app["spec"]["template"]["spec"]["containers"]
            container["command"] = [
                "python3",
                "-uc",
                "import time; print('hello'); time.sleep(600)",
            ]
            account = ("v1", "ServiceAccount", "default", "default")
            until(lambda: kube.get(*account), "the account pods run as")
            kube.apply(app, wait=True, wait_timeout=60)
            client = kube.connect()
            (pod,) = client.list(client.resource("v1", "Pod"), "default")
            pods = CoreV1Api(config.new_client_from_config(str(kube.kubeconfig)))
            name = pod["metadata"]["name"]
            until(
                lambda: (
                    pods.read_namespaced_pod_log(name, "default", _preload_content=False).data
                    == b"hello\n"
                ),
                "its log",
            )
