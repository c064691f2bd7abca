"""Pods of a cluster on Google have the identity of their Kubernetes service account."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from google.auth.transport.requests import AuthorizedSession, Request
from google.oauth2 import service_account
from support.sandbox import Cluster, sandbox, state_of, until

PROJECT = "sandbox-project"
LOCATION = "europe-west1"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"

READ_SECRET = """
import json, os, sys, time, urllib.error, urllib.request
def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answer:
        return json.load(answer)
metadata = f"http://{os.environ['GCE_METADATA_HOST']}/computeMetadata/v1/instance/service-accounts"
token = get(metadata + "/default/token", **{"Metadata-Flavor": "Google"})["access_token"]
try:
    answer = get(sys.argv[1], Authorization=f"Bearer {token}")
    print(answer["payload"]["data"])
except urllib.error.HTTPError as error:
    print(error.code)
print(os.environ["GCE_METADATA_HOST"], flush=True)
time.sleep(600)
"""


WITH_GOOGLE_AUTH = """
import sys
import google.auth
from google.auth.transport.requests import AuthorizedSession
credentials, project = google.auth.default()
print(project, AuthorizedSession(credentials).get(sys.argv[1]).json()["payload"]["data"])
"""


class Google:
    """The sandbox's Google as its project's owner sees it."""

    def __init__(self, url: str, key_file: str) -> None:
        self.url = url
        credentials = service_account.Credentials.from_service_account_file(
            key_file, scopes=[SCOPE]
        )
        self.session = AuthorizedSession(credentials, auth_request=Request())

    def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        response = self.session.request(method, f"{self.url}/{path}", json=body, timeout=60)
        assert response.ok, response.text
        found: dict[str, Any] = response.json()
        return found


@pytest.fixture(scope="module")
def google_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Google, Cluster]]:
    """A cluster that was made through Google's API."""
    home = tmp_path_factory.mktemp("google")
    try:
        sandbox("up", "--port", "0", home=home)
        google = Google(state_of(home)["urls"]["google"], str(home / "service-account.json"))
        services = ["container.googleapis.com", "secretmanager.googleapis.com"]
        google.call("POST", f"v1/projects/{PROJECT}/services:batchEnable", {"serviceIds": services})
        parent = f"v1/projects/{PROJECT}/locations/{LOCATION}"

        def create() -> bool:
            body = {"cluster": {"name": "wi", "autopilot": {"enabled": True}}}
            answer = google.session.post(f"{google.url}/{parent}/clusters", json=body, timeout=60)
            return answer.ok  # not before the services are enabled

        until(create, "the cluster's creation")
        until(lambda: state_of(home)["clusters"], "the cluster")
        name = next(iter(state_of(home)["clusters"]))
        yield google, Cluster(name, state_of(home))
    finally:
        sandbox("down", home=home)


def test_a_pod_reads_the_secret_its_service_account_was_granted(
    google_cluster: tuple[Google, Cluster], tmp_path: Path
) -> None:
    google, cluster = google_cluster
    secrets = f"v1/projects/{PROJECT}/secrets"
    google.call("POST", f"{secrets}?secretId=key", {"replication": {"automatic": {}}})
    payload = base64.b64encode(b"geheim").decode()
    google.call("POST", f"{secrets}/key:addVersion", {"payload": {"data": payload}})
    number = google.call("GET", f"{secrets}/key")["name"].split("/")[1]
    pool = f"projects/{number}/locations/global/workloadIdentityPools/{PROJECT}.svc.id.goog"
    member = f"principal://iam.googleapis.com/{pool}/subject/ns/default/sa/reader"
    binding = {"role": "roles/secretmanager.secretAccessor", "members": [member]}
    google.call("POST", f"{secrets}/key:setIamPolicy", {"policy": {"bindings": [binding]}})

    until(lambda: cluster.list("v1", "ServiceAccount", "default"), "the default service account")
    cluster.apply(
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": "reader", "namespace": "default"},
        }
    )
    url = f"{google.url}/{secrets}/key/versions/latest:access"
    for name, account in (("granted", "reader"), ("stranger", "default")):
        spec = {"serviceAccountName": account, "terminationGracePeriodSeconds": 0}
        cluster.apply(cluster.python_pod(name, "default", READ_SECRET, args=[url], pod=spec))

    def lines(name: str) -> list[str]:
        pod = cluster.wait_for_pod(
            name, "default", lambda s: s.get("phase") == "Running", "running"
        )
        assert pod["status"]["containerStatuses"][0]["restartCount"] == 0
        return until(
            lambda: (
                found if len(found := cluster.logs(name, "default").splitlines()) == 2 else None
            ),
            f"{name}'s answer",
        )

    assert lines("granted")[0] == payload
    assert lines("stranger")[0] == "403"

    address = lines("granted")[1]
    if os.geteuid() == 0:  # the pod is another user's: this one gets none of its tokens
        url = f"http://{address}/computeMetadata/v1/instance/service-accounts/default/token"
        answer = requests.get(url, headers={"Metadata-Flavor": "Google"}, timeout=60)
        assert (answer.status_code, answer.text) == (
            403,
            "this metadata server answers its pod only",
        )
        return
    # Google's own library finds the identity by itself, as an app in the pod would.
    result = subprocess.run(
        [sys.executable, "-c", WITH_GOOGLE_AUTH, url],
        env={"GCE_METADATA_HOST": address, "GCE_METADATA_IP": address, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.stdout == f"{PROJECT} {payload}\n", result.stderr
