"""Upstream's Knative release files, unmodified, through kubectl."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import yaml

FOLDER = Path(__file__).parents[4] / "shared" / "knative"
FILES = (
    "eventing-crds", "eventing-core", "in-memory-channel", "mt-channel-broker",
    "serving-crds", "serving-core", "kourier", "serving-default-domain", "serving-hpa",
)  # fmt: skip

pytestmark = [
    pytest.mark.needs("kubectl"),
    pytest.mark.skipif(not FOLDER.is_dir(), reason=f"needs upstream's release files in {FOLDER}"),
]


def revision(cluster):
    return cluster.call("GET", "/api/v1/namespaces")["metadata"]["resourceVersion"]


@cache
def manifest(name):
    """A release's file without the empty rules of aggregated roles, which belong to a controller once it has run."""
    documents = list(yaml.load_all((FOLDER / f"{name}.yaml").read_text(), yaml.CSafeLoader))
    for document in filter(None, documents):
        if document.get("aggregationRule"):
            document.pop("rules", None)
    return yaml.dump_all(filter(None, documents), Dumper=yaml.CSafeDumper)


@pytest.mark.parametrize(
    ("files", "how"),
    [(("eventing-core", "in-memory-channel"), []), (FILES, ["--server-side"])],
    ids=["client-side", "server-side"],
)
def test_install_and_again_without_a_change(empty_cluster, files, how):
    for name in files:
        empty_cluster.kubectl("apply", *how, "-f", "-", stdin=manifest(name))
    deployments = empty_cluster.kubectl("get", "deploy", "-A", "-o", "name").split()
    assert len(deployments) >= 6
    before = revision(empty_cluster)
    for name in files:
        result = empty_cluster.kubectl_result("apply", *how, "-f", "-", stdin=manifest(name))
        # As on any server: Serving's webhooks are configured by now, but nobody runs them.
        for line in result.stderr.strip().splitlines():
            assert 'no endpoints available for service "webhook"' in line
    assert revision(empty_cluster) == before, "nothing was written"


def test_the_service_accounts_may_do_what_their_roles_say(empty_cluster):
    empty_cluster.kubectl("apply", "--server-side", "-f", str(FOLDER / "eventing-core.yaml"))

    def can(verb, resource, *, namespace="-A"):
        account = "system:serviceaccount:knative-eventing:eventing-controller"
        where = ["-A"] if namespace == "-A" else ["-n", namespace]
        result = empty_cluster.kubectl_result("auth", "can-i", verb, resource, "--as", account,
                                              *where)  # fmt: skip
        return result.stdout.strip() == "yes"

    assert can("create", "deployments.apps")
    assert can("list", "brokers.eventing.knative.dev")
    assert not can("create", "nodes")
