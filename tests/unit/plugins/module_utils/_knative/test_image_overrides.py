"""A mirror takes the place of the registries in images' references, and single images that of others."""

from __future__ import annotations

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._knative.image_overrides import (
    Replacement,
    repository,
)

DIGEST = f"sha256:{'0' * 64}"
QUEUE = f"gcr.io/knative-releases/knative.dev/serving/cmd/queue@{DIGEST}"
ACTIVATOR = f"gcr.io/knative-releases/knative.dev/serving/cmd/activator@{DIGEST}"
ENVOY = "docker.io/envoyproxy/envoy:v1.37-latest"


@pytest.mark.parametrize(
    ("reference", "named"),
    [
        (ENVOY, "docker.io/envoyproxy/envoy"),
        (QUEUE, "gcr.io/knative-releases/knative.dev/serving/cmd/queue"),
        (f"mirror.example.com:5000/a/queue:v1@{DIGEST}", "mirror.example.com:5000/a/queue"),
    ],
)
def test_a_repository_has_neither_tag_nor_digest(reference: str, named: str) -> None:
    assert repository(reference) == named


def test_a_registry_takes_the_place_of_every_host() -> None:
    mirror = Replacement("registry.example.com/mirror/", {})
    assert mirror(ACTIVATOR) == f"registry.example.com/mirror{ACTIVATOR.removeprefix('gcr.io')}"
    assert mirror(ENVOY) == "registry.example.com/mirror/envoyproxy/envoy:v1.37-latest"
    assert Replacement("", {})(ENVOY) == ENVOY


def test_single_images_are_named_by_the_end_of_their_path() -> None:
    single = Replacement("registry.example.com", {"envoyproxy/envoy": f"x.example.com/e@{DIGEST}"})
    assert not list(single.problems([ENVOY, ACTIVATOR]))
    assert single(ENVOY) == f"x.example.com/e@{DIGEST}"
    assert single(QUEUE).startswith("registry.example.com/knative-releases/")


def test_images_that_are_not_there_or_several_are_refused() -> None:
    named = [
        ACTIVATOR,
        QUEUE,
        "gcr.io/a/serving/cmd/webhook:v1",
        "gcr.io/a/eventing/cmd/webhook:v1",
    ]
    (unknown,) = Replacement("", {"serving/cmd/activater": ENVOY}).problems(named)
    assert unknown == (
        "images: no image is named 'serving/cmd/activater'; did you mean serving/cmd/activator?"
    )
    (several,) = Replacement("", {"webhook": ENVOY}).problems(named)
    assert (
        "'webhook' may be gcr.io/a/eventing/cmd/webhook or gcr.io/a/serving/cmd/webhook" in several
    )
    assert not list(Replacement("", {"serving/cmd/webhook": ENVOY}).problems(named))
