"""What the preflight advises where Knative needs a newer Kubernetes than a GKE cluster has."""

from __future__ import annotations

from ansible_collections.streamops.knative.plugins.action.preflight import _upgrade

OFFERED = {
    "REGULAR": ["1.34.6-gke.1300", "1.36.1-gke.1200", "1.35.4-gke.1400"],
    "STABLE": ["1.34.6-gke.1300"],
}


def test_the_preflight_says_how_the_cluster_gets_what_knative_needs() -> None:
    (advice,) = _upgrade((1, 35), "1.34.6-gke.1300", "REGULAR", OFFERED)
    assert advice == (
        "gcp_cluster_kubernetes_version: Knative needs Kubernetes 1.35, and the cluster has"
        " 1.34.6-gke.1300; the release channel REGULAR offers 1.36.1-gke.1200, 1.35.4-gke.1400: set"
        " gcp_cluster_kubernetes_version: '1.35' and run site.yml, or playbooks/cluster.yml first"
    )
    (new,) = _upgrade((1, 35), None, "REGULAR", OFFERED)
    assert "and the cluster would get 1.34.6-gke.1300; the release channel REGULAR offers" in new
    (elsewhere,) = _upgrade((1, 35), "1.34.6-gke.1300", "STABLE", OFFERED)
    assert elsewhere.startswith("gcp_cluster_release_channel: Knative needs Kubernetes 1.35")
    assert "the release channel STABLE offers only 1.34.6-gke.1300: set it to one" in elsewhere
    assert "REGULAR (1.36.1-gke.1200, 1.35.4-gke.1400), with gcp_cluster_kubernetes" in elsewhere
    (nowhere,) = _upgrade((1, 38), "1.34.6-gke.1300", "STABLE", OFFERED)
    assert nowhere.endswith("offers only 1.34.6-gke.1300: choose an older Knative")
    assert _upgrade((1, 34), "1.34.6-gke.1300", "STABLE", OFFERED) == []
    assert _upgrade((1, 34), None, "STABLE", OFFERED) == []
