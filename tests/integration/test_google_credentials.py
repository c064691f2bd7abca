"""Every kind of credentials, each against what issues it: key, metadata server, impersonation."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from kubernetes import client, config
from support.google import POOL, Google, google_sandbox
from support.ports import free_port

from streamops_sandbox.google.app import ACCOUNT, PROJECT
from streamops_sandbox.node.metadata import GoogleProject, MetadataServer

LOCATION = "europe-west1"
RUN = "import json, sys; from support.google import run_module; print(json.dumps(run_module(*json.load(sys.stdin))))"


@pytest.fixture(scope="module")
def google(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Google]:
    with google_sandbox(tmp_path_factory.mktemp("google")) as running:
        yield running


def run(google: Google, module: str, environment: dict[str, str], **options: Any) -> dict[str, Any]:
    """Run a module in a process of its own: google-auth reads the environment when it is imported."""
    gone = ("GOOGLE_", "GCP_", "GCE_", "NO_GCE")
    rest = {k: v for k, v in os.environ.items() if not k.startswith(gone)}
    done = subprocess.run(
        [sys.executable, "-c", RUN],
        input=json.dumps([module, {"project": PROJECT, "endpoint": google.url, **options}]),
        env={
            **rest,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "CLOUDSDK_CONFIG": "/nonexistent",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


@pytest.fixture(scope="module")
def metadata(google: Google, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a metadata server of a machine, whose account may administer secrets."""
    folder = tmp_path_factory.mktemp("metadata")
    google.run("gke_cluster", name="home", location=LOCATION)
    path = str(folder / "kubeconfig")
    google.run("gke_kubeconfig", name="home", location=LOCATION, path=path)
    core = client.CoreV1Api(config.new_client_from_config(path))
    core.create_namespaced_service_account("default", {"metadata": {"name": "runner"}})
    identity = {"namespace": "default", "service_account": "runner"}
    google.run("gcp_iam_member", role="roles/secretmanager.admin", workload_identities=[identity])

    async def request_token(audience: str, seconds: int) -> dict[str, Any]:
        spec = {"audiences": [audience], "expirationSeconds": seconds}
        made = await asyncio.to_thread(
            core.create_namespaced_service_account_token, "runner", "default", {"spec": spec}
        )
        status: dict[str, Any] = core.api_client.sanitize_for_serialization(made.status)
        return status

    address: list[str] = []
    started, stop = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        project = GoogleProject(google.url, PROJECT, LOCATION, "home")
        async with aiohttp.ClientSession() as session:
            server = MetadataServer(project, session, request_token)
            address.append(await server.start("127.0.0.1"))
            started.set()
            await stop.wait()
            await server.stop()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()), daemon=True)
    thread.start()
    assert started.wait(60)
    yield address[0]
    loop.call_soon_threadsafe(stop.set)
    thread.join(30)
    loop.close()


@pytest.mark.parametrize("options", [{"auth_kind": "machineaccount"}, {"auth_kind": "application"}])
def test_the_account_of_the_machine(google: Google, metadata: str, options: dict[str, Any]) -> None:
    environment = {"GCE_METADATA_HOST": metadata, "GCE_METADATA_IP": metadata}
    result = run(google, "gcp_secret_info", environment, **options)
    assert result.get("secrets") == [], result
    denied = run(google, "gke_cluster_info", environment, **options)
    assert "container.clusters.list" in denied["msg"]
    calls = google.control("GET", "calls")["calls"]
    assert calls[-1]["principal"].endswith("/subject/ns/default/sa/runner")


def test_an_account_that_the_machine_has_not(google: Google, metadata: str) -> None:
    environment = {"GCE_METADATA_HOST": metadata, "GCE_METADATA_IP": metadata}
    options = {
        "auth_kind": "machineaccount",
        "service_account_email": f"other@{PROJECT}.iam.gserviceaccount.com",
    }
    failed = run(google, "gcp_secret_info", environment, **options)["msg"]
    assert "The metadata server of this machine gives no token" in failed
    assert "service account not defined" in failed
    assert "service_account_email" in failed


def test_the_account_of_the_machine_acts_as_another(google: Google, metadata: str) -> None:
    email = google.run("gcp_service_account", name="deputy")["email"]
    environment = {"GCE_METADATA_HOST": metadata, "GCE_METADATA_IP": metadata}
    options = {"auth_kind": "machineaccount", "impersonate_service_account": email}
    refused = run(google, "gcp_secret_info", environment, **options)["msg"]
    assert f"acting as {email}" in refused
    assert "iam.serviceAccounts.getAccessToken" in refused
    assert "roles/iam.serviceAccountTokenCreator" in refused
    google.run(
        "gcp_iam_member",
        service_account=email,
        role="roles/iam.serviceAccountTokenCreator",
        workload_identities=[{"namespace": "default", "service_account": "runner"}],
    )
    google.run("gcp_iam_member", role="roles/secretmanager.admin", member=f"serviceAccount:{email}")
    assert run(google, "gcp_secret_info", environment, **options).get("secrets") == []
    calls = google.control("GET", "calls")["calls"]
    assert calls[-1]["principal"] == f"serviceAccount:{email}"


def test_application_default_credentials_from_a_file(google: Google) -> None:
    environment = {"GOOGLE_APPLICATION_CREDENTIALS": str(google.key_file)}
    assert "clusters" in run(google, "gke_cluster_info", environment)
    calls = google.control("GET", "calls")["calls"]
    assert calls[-1]["principal"] == f"serviceAccount:{ACCOUNT}"


def test_a_machine_without_credentials_that_is_not_googles(google: Google) -> None:
    """Nobody answers where the metadata server would be; what is missing is a login all the same."""
    closed = f"127.0.0.1:{free_port()}"
    environment = {
        "GCE_METADATA_HOST": closed,
        "GCE_METADATA_IP": closed,
        "GCE_METADATA_DETECT_RETRIES": "1",
    }
    failed = run(google, "gcp_secret_info", environment)
    assert "There are no application default credentials" in failed["msg"]
    assert "gcloud auth application-default login" in failed["msg"]


def test_a_key_that_the_token_endpoint_refuses(google: Google, tmp_path: Path) -> None:
    google.run("gke_cluster", name="home", location=LOCATION)
    own = json.loads(google.key_file.read_text())
    stranger = {"member": f"serviceAccount:{ACCOUNT}", "project": PROJECT}
    forged = {**own, "private_key": google.control("POST", "principals", stranger)["private_key"]}
    path = tmp_path / "kubeconfig"
    options = {
        "auth_kind": "accesstoken",
        "access_token": f"{google.owner_token}\n",  # as a file has it
        "name": "home",
        "location": LOCATION,
        "path": str(path),
    }
    assert run(google, "gke_kubeconfig", {}, **options)["changed"] is True
    before = yaml.safe_load(path.read_text())
    options |= {"auth_kind": "serviceaccount", "service_account_contents": json.dumps(forged)}
    failed = run(google, "gke_kubeconfig", {}, **options)
    assert "clock of this machine" in failed["msg"] or "UNAUTHENTICATED" in failed["msg"]
    assert forged["private_key"][40:80] not in json.dumps(failed)
    assert yaml.safe_load(path.read_text()) == before, "what was there still works"


@pytest.mark.parametrize("token", ["two words", "ya29.\u00e4"])
def test_a_token_that_is_none_is_not_shown(google: Google, token: str) -> None:
    failed = run(google, "gcp_secret_info", {}, auth_kind="accesstoken", access_token=token)
    assert "access_token is malformed" in failed["msg"]
    assert token not in json.dumps(failed, ensure_ascii=False)


def test_workload_identity_needs_the_projects_id(google: Google) -> None:
    identity = {"namespace": "n", "service_account": "s", "pool_project": "704512398001"}
    options = google.options() | {"role": "roles/viewer", "workload_identities": [identity]}
    failed = run(google, "gcp_iam_member", {}, **options)
    assert "name the workload pool" in failed["msg"]
    named = {**identity, "pool": POOL}
    planned = google.run(
        "gcp_iam_member", role="roles/viewer", workload_identities=[named], _ansible_check_mode=True
    )
    assert POOL in planned["changes"][0]
