"""A sandbox with one cluster, shared by the tests of a worker; each test has its own namespace."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

import pytest
from hypothesis import settings
from support.needs import pytest_collection_modifyitems
from support.sandbox import Cluster, sandbox, state_of, until

# The profile has no deadline and fixed examples, so that a slow machine does not fail a test.
settings.load_profile("ci")

__all__ = ["pytest_collection_modifyitems"]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A running cluster: `.kubeconfig` is the path to its kubeconfig."""
    home = tmp_path_factory.mktemp("sandbox")
    try:
        sandbox("up", "--port", "0", "--cluster", "test", home=home)
        yield Cluster("test", state_of(home))
    finally:
        sandbox("down", home=home)


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    until(lambda: cluster.list("v1", "ServiceAccount", name), "the default service account")
    yield name
    cluster.delete("v1", "Namespace", name)
