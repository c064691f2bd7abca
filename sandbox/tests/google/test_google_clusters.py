"""GKE's stand-in: clusters are real API servers, operations take their course, rules are GKE's."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.auth.transport.requests import Request
from google.oauth2 import sts
from google.oauth2.credentials import Credentials
from googleapiclient.errors import HttpError
from kubernetes import client
from kubernetes.client.exceptions import ApiException
from support.google import POOL, Google
from support.google_clients import EMAIL_SCOPE, SCOPES, api, finished, key, secrets_as

from streamops_sandbox.google.app import ACCOUNT, PROJECT

PARENT = f"projects/{PROJECT}/locations/europe-west1"


@pytest.fixture(scope="module")
def gke(google: Google) -> Any:
    """GKE's API of locations."""
    return api(google, "container", "v1").projects().locations()


def ended(gke: Any, operation: dict[str, Any]) -> dict[str, Any]:
    """The operation once it is done."""
    name = f"{PARENT}/operations/{operation['name']}"
    return finished(lambda: gke.operations().get(name=name).execute())


@pytest.fixture(scope="module")
def cluster(gke: Any) -> Any:
    """An Autopilot cluster."""
    body = {"cluster": {"name": "shared", "autopilot": {"enabled": True}}}
    created = gke.clusters().create(parent=PARENT, body=body).execute()
    assert (created["operationType"], created["status"]) == ("CREATE_CLUSTER", "PENDING")
    assert "error" not in ended(gke, created)
    return gke.clusters().get(name=f"{PARENT}/clusters/shared").execute()


def kubernetes(cluster: dict[str, Any], token: str, folder: Path) -> client.ApiClient:
    """The kubernetes package with what GKE says of a cluster, and a token."""
    ca = folder / "ca.pem"
    ca.write_bytes(base64.b64decode(cluster["masterAuth"]["clusterCaCertificate"]))
    configuration = client.Configuration(
        host=f"https://{cluster['endpoint']}",
        api_key={"authorization": f"Bearer {token}"},
    )
    configuration.ssl_ca_cert = str(ca)
    return client.ApiClient(configuration)


@pytest.fixture
def core(google: Google, cluster: dict[str, Any], tmp_path: Path) -> client.CoreV1Api:
    """The cluster, as the project's owner."""
    credentials = key(google, EMAIL_SCOPE)
    credentials.refresh(Request())
    return client.CoreV1Api(kubernetes(cluster, credentials.token, tmp_path))


def pod_credentials(google: Google, core: client.CoreV1Api, account: str) -> Credentials:
    """What a pod's metadata server gets for the pod from the Security Token Service."""
    core.create_namespaced_service_account("default", {"metadata": {"name": account}})
    token = core.create_namespaced_service_account_token(
        account, "default", {"spec": {"audiences": [POOL]}}
    )
    issued = sts.Client(f"{google.url}/v1/token").exchange_token(
        Request(),
        "urn:ietf:params:oauth:grant-type:token-exchange",
        token.status.token,
        "urn:ietf:params:oauth:token-type:jwt",
        audience=f"identitynamespace:{POOL}:cluster",
        scopes=SCOPES,
        requested_token_type="urn:ietf:params:oauth:token-type:access_token",
    )
    return Credentials(issued["access_token"])


def test_googles_callers_are_the_clusters_users(google: Google, core: client.CoreV1Api) -> None:
    review = client.AuthenticationV1Api(core.api_client).create_self_subject_review({})
    assert review.status.user_info.username == ACCOUNT
    assert core.read_namespace("kube-system").metadata.name == "kube-system"


def test_a_stranger_is_no_user(google: Google, cluster: dict[str, Any], tmp_path: Path) -> None:
    for token, status in (
        ("ya29.nonsense", 401),
        (google.token("principal://example.com/stranger"), 403),
    ):
        core = client.CoreV1Api(kubernetes(cluster, token, tmp_path))
        with pytest.raises(ApiException) as caught:
            core.list_namespace()
        assert caught.value.status == status


def test_a_pod_reads_the_secret_it_was_granted_and_no_other(
    google: Google, core: client.CoreV1Api
) -> None:
    owner = secrets_as(google, key(google))
    number = ""
    for name in ("granted", "other"):
        secret = owner.create_secret(
            parent=f"projects/{PROJECT}", secret_id=name, secret={"replication": {"automatic": {}}}
        )
        owner.add_secret_version(parent=secret.name, payload={"data": name.encode()})
        number = secret.name.split("/")[1]
    member = (
        f"principal://iam.googleapis.com/projects/{number}/locations/global/"
        f"workloadIdentityPools/{POOL}/subject/ns/default/sa/reader"
    )
    role = "roles/secretmanager.secretAccessor"
    granted, other = (
        f"projects/{PROJECT}/secrets/{n}/versions/latest" for n in ("granted", "other")
    )
    reader = secrets_as(google, pod_credentials(google, core, "reader"))
    neighbour = secrets_as(google, pod_credentials(google, core, "neighbour"))

    with pytest.raises(exceptions.Forbidden, match=r"versions\.access"):
        reader.access_secret_version(name=granted)
    owner.set_iam_policy(
        request={
            "resource": f"projects/{PROJECT}/secrets/granted",
            "policy": {"bindings": [{"role": role, "members": [member]}]},
        }
    )
    assert reader.access_secret_version(name=granted).payload.data == b"granted"
    for caller, name in ((reader, other), (neighbour, granted)):
        with pytest.raises(exceptions.Forbidden, match=r"versions\.access"):
            caller.access_secret_version(name=name)
    with pytest.raises(exceptions.Forbidden, match=r"secrets\.list"):
        list(reader.list_secrets(parent=f"projects/{PROJECT}"))


def test_a_token_that_no_cluster_signed_is_not_exchanged(google: Google) -> None:
    head = base64.urlsafe_b64encode(b'{"alg":"RS256"}').decode().rstrip("=")
    claims = base64.urlsafe_b64encode(b'{"iss":"x","sub":"y"}').decode().rstrip("=")
    with pytest.raises(Exception, match="no cluster"):
        sts.Client(f"{google.url}/v1/token").exchange_token(
            Request(),
            "urn:ietf:params:oauth:grant-type:token-exchange",
            f"{head}.{claims}.c2ln",
            "urn:ietf:params:oauth:token-type:jwt",
            audience=f"identitynamespace:{POOL}:cluster",
            scopes=SCOPES,
        )


def test_one_field_per_update(gke: Any, cluster: dict[str, Any]) -> None:
    name = f"{PARENT}/clusters/shared"
    two = {
        "desiredReleaseChannel": {"channel": "RAPID"},
        "desiredSecretManagerConfig": {"enabled": True},
    }
    for update in ({}, two):
        with pytest.raises(HttpError, match="exactly one field"):
            gke.clusters().update(name=name, body={"update": update}).execute()
    body = {"update": {"desiredSecretManagerConfig": {"enabled": True}}}
    ended(gke, gke.clusters().update(name=name, body=body).execute())
    assert gke.clusters().get(name=name).execute()["secretManagerConfig"] == {"enabled": True}


def test_an_operation_at_a_time(google: Google, gke: Any, cluster: dict[str, Any]) -> None:
    name = f"{PARENT}/clusters/shared"
    google.control("POST", "operation-faults", {"type": "UPDATE_CLUSTER", "seconds": 8})
    body = {"update": {"desiredReleaseChannel": {"channel": "RAPID"}}}
    running = gke.clusters().update(name=name, body=body).execute()
    assert gke.clusters().get(name=name).execute()["status"] == "RECONCILING"
    with pytest.raises(HttpError, match="incompatible operation"):
        gke.clusters().update(name=name, body=body).execute()
    ended(gke, running)
    assert gke.clusters().get(name=name).execute()["status"] == "RUNNING"


def test_labels_need_the_current_fingerprint(gke: Any, cluster: dict[str, Any]) -> None:
    name = f"{PARENT}/clusters/shared"
    stale = gke.clusters().get(name=name).execute()["labelFingerprint"]
    body = {"resourceLabels": {"a": "b"}, "labelFingerprint": stale}
    ended(gke, gke.clusters().setResourceLabels(name=name, body=body).execute())
    with pytest.raises(HttpError, match="fingerprint mismatch"):
        gke.clusters().setResourceLabels(name=name, body=body).execute()


@pytest.mark.parametrize(
    ("cluster", "message"),
    [
        ({"name": "Upper", "initialNodeCount": 1}, "Must be a match of regex"),
        ({"name": "x" * 41, "initialNodeCount": 1}, "Must be a match of regex"),
        ({"name": "empty"}, "initial_node_count must be greater than zero"),
        (
            {"name": "both", "initialNodeCount": 1, "nodePools": [{"name": "p"}]},
            "mutually exclusive",
        ),
        ({"name": "auto", "autopilot": {"enabled": True}, "initialNodeCount": 1}, "Autopilot"),
        (
            {
                "name": "pool",
                "initialNodeCount": 1,
                "workloadIdentityConfig": {"workloadPool": "other.svc.id.goog"},
            },
            "workload pool",
        ),
        ({"name": "ro", "initialNodeCount": 1, "endpoint": "1.2.3.4"}, "output only"),
        ({"name": "typo", "initialNodeCuont": 1}, "Unknown name \"initialNodeCuont\" at 'cluster'"),
    ],
)
def test_what_gke_refuses(gke: Any, cluster: dict[str, Any], message: str) -> None:
    with pytest.raises(HttpError) as caught:
        gke.clusters().create(parent=PARENT, body={"cluster": cluster}).execute()
    assert caught.value.status_code == 400
    assert message in caught.value.reason


def test_a_creation_that_fails_leaves_a_cluster_in_error(google: Google, gke: Any) -> None:
    google.control(
        "POST",
        "operation-faults",
        {"type": "CREATE_CLUSTER", "message": "Insufficient regional quota: CPUS"},
    )
    body = {"cluster": {"name": "unlucky", "autopilot": {"enabled": True}}}
    done = ended(gke, gke.clusters().create(parent=PARENT, body=body).execute())
    assert "Insufficient regional quota" in done["error"]["message"]
    name = f"{PARENT}/clusters/unlucky"
    assert gke.clusters().get(name=name).execute()["status"] == "ERROR"
    ended(gke, gke.clusters().delete(name=name).execute())


def test_deleting_stops_the_cluster(google: Google, gke: Any, tmp_path: Path) -> None:
    body = {"cluster": {"name": "short", "initialNodeCount": 1}}
    ended(gke, gke.clusters().create(parent=PARENT, body=body).execute())
    name = f"{PARENT}/clusters/short"
    described = gke.clusters().get(name=name).execute()
    assert [pool["name"] for pool in described["nodePools"]] == ["default-pool"]
    ended(gke, gke.clusters().delete(name=name).execute())
    with pytest.raises(HttpError, match="Not found"):
        gke.clusters().get(name=name).execute()
    configuration = client.Configuration(host=f"https://{described['endpoint']}")
    configuration.retries = False
    with pytest.raises(Exception, match="refused"):
        client.VersionApi(client.ApiClient(configuration)).get_code()
