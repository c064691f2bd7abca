"""A bundle is made where there is internet, and the whole site is installed from it where there is none."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support.kube import sandbox_only
from support.offline import loopback_only
from support.ports import free_port
from support.registries import Registry, sandbox_registry, serve
from support.site import BIN, ROOT, Site, environment_for, recap
from support.upstream import Upstream

from ansible_collections.streamops.knative.plugins.module_utils._oci.image_run import run
from ansible_collections.streamops.knative.plugins.modules.oci_image import TASK
from streamops_sandbox.knative import release
from streamops_sandbox.oci import architecture

pytestmark = [
    sandbox_only("it makes images of its own for a release"),
    pytest.mark.needs("kubectl"),
    pytest.mark.timeout(700),
]
PLATFORM = f"linux/{architecture()}"
APPS = {
    "producer": ("twitter-producer", "twitter_producer"),
    "viewer": ("event-viewer", "event_viewer"),
}
NOWHERE = "http://127.0.0.1:1"


@dataclass
class Offline(Site):
    """A sandbox that can reach nothing but what runs on the loopback interface it has."""

    inside: list[str] = field(default_factory=list)

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        program = BIN / command[0]
        first = str(program) if program.exists() else command[0]
        return super().run(*self.inside, first, *command[1:], **options)


@contextmanager
def internet(folder: Path) -> Iterator[tuple[Upstream, str]]:
    """A registry with the images of the release and of our apps, and a mirror of the release's files."""
    (folder / "registry").mkdir()
    port = free_port()
    with (
        sandbox_registry(folder / "registry") as registry,
        serve(release.create_app(home=folder, base_url=""), port),
    ):
        upstream = Upstream(registry)
        for reference in references():
            upstream.publish(reference, [PLATFORM])
        yield upstream, f"http://127.0.0.1:{port}"


def references() -> set[str]:
    """Every image of the newest release that the sandbox brings."""
    texts = [
        release.render(repository, versions[-1], name) or ""
        for repository, (versions, names) in release.REPOSITORIES.items()
        for name in names
    ]
    return set(re.findall(r"(?:gcr\.io|docker\.io)/\S+", "\n".join(texts)))


def build_apps(registry: Registry) -> list[str]:
    """Build our images into a registry; return their references."""
    defaults = {name: spec.get("default") for name, spec in TASK.options.items()}
    for name, module in APPS.values():
        options = {
            **{"name": f"{registry.host}/apps/{name}", "path": str(ROOT / "apps" / name)},
            **{
                "base": f"{registry.host}/library/python:3-slim",
                "entrypoint": ["python3", "-m", module],
            },
            **{"docker_config": str(registry.docker_config), "ports": ["8080"]},
            "cache": str(ROOT / ".cache" / "ansible" / "oci_image"),
        }
        run({**defaults, **options}, check=False, diff=False)
    return [f"{registry.host}/apps/{name}:latest" for name, _module in APPS.values()]


def collect(folder: Path, mirror: str, upstream: Upstream) -> Path:
    """Make the bundle by the playbook."""
    path = folder / "knative.tar"
    variables = {
        "target": "localhost",
        "knative_eventing_bundle": str(path),
        "knative_eventing_bundle_images": build_apps(upstream.registry),
        "knative_eventing_bundle_platforms": [PLATFORM],
        "knative_eventing_bundle_registry_mirrors": upstream.mirrors(),
        "knative_eventing_mirror": mirror,
        "knative_eventing_cache_dir": str(folder / "cache"),
    }
    command = ["ansible-playbook", "-i", "localhost,", "playbooks/bundle.yml"]
    done = subprocess.run(
        [BIN / command[0], *command[1:], "-e", json.dumps(variables)],
        cwd=ROOT,
        env=environment_for(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert recap(done.stdout)["localhost"]["changed"] == 1
    return path


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Offline]:
    """A sandbox that is cut off, and the variables that install from a bundle into its registry."""
    folder = tmp_path_factory.mktemp("internet")
    with internet(folder) as (upstream, mirror):
        bundle = collect(folder, mirror, upstream)
    home = tmp_path_factory.mktemp("offline")
    with loopback_only() as inside:
        site = Offline(home, environment_for(home), inside=inside)
        site.run("sandbox", "up")
        try:
            host = site.state["urls"]["registry"].removeprefix("http://")
            site.variables = json.dumps(variables(home, host, bundle))
            yield site
        finally:
            site.run("sandbox", "down")


def variables(home: Path, host: str, bundle: Path) -> dict[str, Any]:
    images = json.loads(
        subprocess.run(
            ["tar", "-xOf", bundle, "bundle.json"], capture_output=True, check=True
        ).stdout
    )["images"]
    digests = {image["reference"].rpartition("/")[2]: image["digest"] for image in images}
    user, password = Registry(host, home).credentials
    return {
        "knative_eventing_mirror": NOWHERE,
        "knative_eventing_cache_dir": str(home / "cache"),
        "knative_eventing_bundle": str(bundle),
        "knative_eventing_bundle_registry": f"{host}/mirror",
        "knative_eventing_bundle_login": {"docker_config": str(home / "docker-config.json")},
        "knative_eventing_bundle_pull_login": {"username": user, "password": password},
        "twitter_pipeline_images_engine": "none",
        "twitter_pipeline_images": {
            app: f"{host}/mirror/apps/{name}@{digests[f'{name}:latest']}"
            for app, (name, _module) in APPS.items()
        },
    }


@pytest.fixture(scope="module")
def installed(offline: Offline) -> Offline:
    """The whole site, from the bundle."""
    done = offline.play("site.yml", "-e", offline.variables)
    assert recap(done.stdout)["sandbox"]["failed"] == 0
    return offline


def test_nothing_leads_out(offline: Offline) -> None:
    """That what is proven below is proven: another network is not there."""
    code = "import socket; socket.create_connection(('192.0.2.1', 443), timeout=5)"
    refused = offline.run("python", "-c", code, check=False)
    assert "Network is unreachable" in refused.stderr


def test_the_site_is_installed_and_a_second_run_changes_nothing(installed: Offline) -> None:
    again = recap(installed.play("site.yml", "-e", installed.variables).stdout)["sandbox"]
    assert (again["changed"], again["failed"]) == (0, 0)
    checked = installed.play("site.yml", "--check", "-e", installed.variables)
    assert recap(checked.stdout)["sandbox"]["changed"] == 0


def test_everything_that_runs_is_from_the_registry_by_digest(installed: Offline) -> None:
    host = installed.state["urls"]["registry"].removeprefix("http://")
    path = "{range .items[*].spec.containers[*]}{.image}{'\\n'}{end}".replace("'", '"')
    images = installed.run("kubectl", "get", "pods", "-A", "-o", f"jsonpath={path}").stdout.split()
    assert len(set(images)) > 12
    ours = re.compile(rf"{re.escape(host)}/mirror/[a-z0-9./_-]+@sha256:[a-f0-9]{{64}}")
    assert [image for image in images if not ours.fullmatch(image)] == []
    config = ("configmap", "config-deployment", "-n", "knative-serving")
    queue = installed.run("kubectl", "get", *config, "-o", "jsonpath={.data.queue-sidecar-image}")
    assert ours.fullmatch(queue.stdout)


def test_pods_have_the_secret_to_pull_with(installed: Offline) -> None:
    for namespace in ("knative-serving", "knative-eventing", "kourier-system"):
        get = ("kubectl", "get", "-n", namespace, "-o", "json")
        pods = json.loads(installed.run(*get, "pods").stdout)["items"]
        assert pods
        expected = [{"name": "streamops-registry"}]
        without = [
            pod["metadata"]["name"]
            for pod in pods
            if pod["spec"].get("imagePullSecrets") != expected
        ]
        assert without == []
        secret = json.loads(installed.run(*get, "secret", "streamops-registry").stdout)
        assert secret["type"] == "kubernetes.io/dockerconfigjson"


def test_the_names_in_the_registry_are_printed_as_the_guide_says(installed: Offline) -> None:
    given = json.loads(installed.variables)
    options = {
        "path": given["knative_eventing_bundle"],
        "registry": given["knative_eventing_bundle_registry"],
        "docker_config": given["knative_eventing_bundle_login"]["docker_config"],
    }
    module = "streamops.knative.knative_bundle_push"
    command = ("ansible", "localhost", "-m", module, "-a", json.dumps(options), "--check")
    printed = "".join(installed.run(*command).stdout.split())  # lines may be folded
    assert re.search(r'"?changed"?:false', printed)
    for image in given["twitter_pipeline_images"].values():
        assert image in printed


def test_another_release_than_the_bundle_s_is_refused_before_anything_is_touched(
    installed: Offline,
) -> None:
    older = json.dumps(
        json.loads(installed.variables) | {"knative_eventing_serving_version": "1.22.0"}
    )
    refused = installed.play("site.yml", "-e", older, check=False)
    told = " ".join((refused.stdout + refused.stderr).split())
    assert refused.returncode != 0
    assert "knative_eventing_serving_version: the bundle holds serving 1.23.0, not 1.22.0" in told
    assert recap(refused.stdout)["sandbox"]["changed"] == 0


def test_a_bundle_without_signatures_is_refused_where_they_are_asked_for(
    installed: Offline,
) -> None:
    asked = json.dumps(json.loads(installed.variables) | {"knative_eventing_verify": True})
    refused = installed.play("site.yml", "-e", asked, check=False)
    told = " ".join((refused.stdout + refused.stderr).split())
    assert refused.returncode != 0
    assert "knative_eventing_verify:" in told
    assert "has no signatures" in told
    assert recap(refused.stdout)["sandbox"]["changed"] == 0
