"""The way to a Broker through the API server."""

from __future__ import annotations

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._pipelines.probe import Lost
from ansible_collections.streamops.knative.plugins.module_utils._pipelines.rulebook_probe import (
    proxied,
)


@pytest.mark.parametrize(
    ("url", "service"),
    [
        ("http://ingress.eventing.svc.cluster.local/a/b", "eventing/services/http:ingress:80"),
        ("https://ingress.eventing.svc/a/b", "eventing/services/https:ingress:443"),
        ("http://ingress.eventing.svc.example.com:8080/a/b", "eventing/services/http:ingress:8080"),
    ],
)
def test_the_address_of_a_service_is_proxied(url, service):
    assert proxied(url) == f"/api/v1/namespaces/{service}/proxy/a/b"


@pytest.mark.parametrize("url", ["https://broker.example.com/a/b", "http://192.0.2.1/a/b", ""])
def test_another_address_is_refused(url):
    with pytest.raises(Lost, match="event_driven_verify: false"):
        proxied(url)
