"""Google's stand-in, used by Google's own clients, unmodified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import google_crc32c
import pytest
from google.api_core import exceptions
from google.auth import impersonated_credentials
from google.auth.exceptions import RefreshError
from google.auth.transport.requests import AuthorizedSession, Request
from google.cloud import secretmanager
from google.oauth2 import service_account
from google.oauth2.credentials import Credentials
from googleapiclient.errors import HttpError
from support.google import Google
from support.google_clients import EMAIL_SCOPE, SCOPES, api, finished, key, secrets_as

from streamops_sandbox.google.app import ACCOUNT, PROJECT

PARENT = f"projects/{PROJECT}"


@pytest.fixture
def secrets(google: Google) -> secretmanager.SecretManagerServiceClient:
    return secrets_as(google, key(google))


def test_a_service_account_key_gets_tokens_from_the_sandbox(google: Google) -> None:
    credentials = key(google)
    credentials.refresh(Request())
    assert credentials.token.startswith("ya29.")
    with AuthorizedSession(credentials) as session:
        answer = session.get(f"{google.url}/v1/{PARENT}/secrets")
    assert answer.status_code == 200


def test_a_self_signed_jwt_is_an_access_token(google: Google) -> None:
    credentials = key(google).with_always_use_jwt_access(True)
    with AuthorizedSession(credentials) as session:
        assert session.get(f"{google.url}/v1/{PARENT}/secrets").status_code == 200
    assert credentials.token.count(".") == 2


def test_a_key_of_somebody_else_is_refused(google: Google, tmp_path: Path) -> None:
    stranger = google.control(
        "POST",
        "principals",
        {"member": f"serviceAccount:{ACCOUNT}", "project": PROJECT},
    )
    own = json.loads(google.key_file.read_text())
    forged = {**own, "private_key": stranger["private_key"]}
    credentials = service_account.Credentials.from_service_account_info(forged, scopes=SCOPES)
    with pytest.raises(RefreshError, match="Invalid JWT Signature"):
        credentials.refresh(Request())


def test_a_users_login_is_refreshed(google: Google) -> None:
    info = google.control(
        "POST", "principals", {"member": "user:ada@example.com", "project": PROJECT}
    )
    credentials = Credentials(
        None,
        refresh_token=info["refresh_token"],
        client_id=info["client_id"],
        client_secret=info["client_secret"],
        token_uri=f"{google.url}/token",
    )
    credentials.refresh(Request())
    _, told = google.call("GET", f"tokeninfo?access_token={credentials.token}")
    assert told["email"] == "ada@example.com"
    assert "kubernetes_groups" not in told


def test_tokeninfo_names_the_account_only_with_the_email_scope(google: Google) -> None:
    plain, named = key(google), key(google, EMAIL_SCOPE)
    for credentials in (plain, named):
        credentials.refresh(Request())
    _, told = google.call("GET", f"tokeninfo?access_token={plain.token}")
    assert "email" not in told
    _, told = google.call("GET", f"tokeninfo?access_token={named.token}")
    assert told["email"] == ACCOUNT
    status, told = google.call("GET", "tokeninfo?access_token=nonsense")
    assert (status, told["error"]) == (400, "invalid_token")


def test_impersonation_needs_the_right_on_the_account(google: Google) -> None:
    iam = api(google, "iam", "v1").projects().serviceAccounts()
    account = iam.create(name=PARENT, body={"accountId": "worker"}).execute()

    def impersonated(source: Any) -> impersonated_credentials.Credentials:
        return impersonated_credentials.Credentials(
            source_credentials=source,
            target_principal=account["email"],
            target_scopes=[*SCOPES, EMAIL_SCOPE],
            iam_endpoint_override=(
                f"{google.url}/v1/projects/-/serviceAccounts/{account['email']}:generateAccessToken"
            ),
        )

    owner = impersonated(key(google))
    owner.refresh(Request())
    _, told = google.call("GET", f"tokeninfo?access_token={owner.token}")
    assert told["email"] == account["email"]

    stranger = Credentials(google.token("principal://example.com/stranger"))
    with pytest.raises(RefreshError, match="getAccessToken"):
        impersonated(stranger).refresh(Request())


def test_a_secrets_life(secrets: secretmanager.SecretManagerServiceClient) -> None:
    secret = secrets.create_secret(
        parent=PARENT,
        secret_id="life",
        secret={"replication": {"automatic": {}}, "labels": {"app": "test"}},
    )
    value = b"line\nwith \xf0\x9f\x94\x91"
    payload = {"data": value, "data_crc32c": google_crc32c.value(value)}
    first = secrets.add_secret_version(parent=secret.name, payload=payload)
    assert first.client_specified_payload_checksum
    second = secrets.add_secret_version(parent=secret.name, payload={"data": b"2"})

    latest = secrets.access_secret_version(name=f"{PARENT}/secrets/life/versions/latest")
    assert (latest.name, latest.payload.data) == (second.name, b"2")
    old = secrets.access_secret_version(name=first.name)
    assert old.payload.data == value
    assert old.payload.data_crc32c == google_crc32c.value(value)

    secrets.disable_secret_version(name=first.name)
    with pytest.raises(exceptions.BadRequest, match="DISABLED state"):
        secrets.access_secret_version(name=first.name)
    secrets.enable_secret_version(name=first.name)
    secrets.destroy_secret_version(name=first.name)
    with pytest.raises(exceptions.BadRequest, match="DESTROYED state"):
        secrets.enable_secret_version(name=first.name)
    states = [v.state.name for v in secrets.list_secret_versions(parent=secret.name)]
    assert states == ["ENABLED", "DESTROYED"]

    secrets.update_secret(
        secret={"name": secret.name, "version_aliases": {"current": 2}},
        update_mask={"paths": ["version_aliases"]},
    )
    by_alias = secrets.access_secret_version(name=f"{secret.name}/versions/current")
    assert by_alias.name == second.name

    secrets.delete_secret(name=secret.name)
    with pytest.raises(exceptions.NotFound):
        secrets.get_secret(name=secret.name)


def test_secrets_are_listed_in_pages_and_by_filter(
    secrets: secretmanager.SecretManagerServiceClient,
) -> None:
    for number in range(5):
        secrets.create_secret(
            parent=PARENT,
            secret_id=f"page-{number}",
            secret={"replication": {"automatic": {}}, "labels": {"number": str(number)}},
        )
    request = {"parent": PARENT, "page_size": 2, "filter": "name:page-"}
    found = [s.name.rpartition("/")[2] for s in secrets.list_secrets(request=request)]
    assert found == [f"page-{number}" for number in (4, 3, 2, 1, 0)]
    one = secrets.list_secrets(request={"parent": PARENT, "filter": "labels.number=3"})
    assert [s.labels["number"] for s in one] == ["3"]


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ({"data": b"x", "data_crc32c": 1}, "checksum"),
        ({"data": b"x" * 65537}, "65536 bytes"),
        ({"data": b""}, "empty"),
    ],
)
def test_a_payload_that_is_wrong_is_refused(
    secrets: secretmanager.SecretManagerServiceClient, payload: dict[str, Any], message: str
) -> None:
    name = f"bad-{message.split(maxsplit=1)[0]}"
    secret = secrets.create_secret(
        parent=PARENT, secret_id=name, secret={"replication": {"automatic": {}}}
    )
    with pytest.raises(exceptions.BadRequest, match=message):
        secrets.add_secret_version(parent=secret.name, payload=payload)
    assert list(secrets.list_secret_versions(parent=secret.name)) == []


def test_services_are_enabled_by_an_operation(new_google: Google) -> None:
    services = api(new_google, "serviceusage", "v1")
    body = {"serviceIds": ["secretmanager.googleapis.com", "container.googleapis.com"]}
    operation = services.services().batchEnable(parent=PARENT, body=body).execute()
    assert not operation.get("done")
    done = finished(lambda: services.operations().get(name=operation["name"]).execute())
    assert {s["state"] for s in done["response"]["services"]} == {"ENABLED"}
    listed = services.services().list(parent=PARENT, filter="state:ENABLED").execute()["services"]
    names = {s["config"]["name"] for s in listed}
    assert "compute.googleapis.com" in names, "what GKE needs comes with it"


def test_repositories(google: Google) -> None:
    api_ = api(google, "artifactregistry", "v1").projects().locations()
    repositories = api_.repositories()
    parent = f"{PARENT}/locations/europe-west1"
    create = repositories.create(parent=parent, repositoryId="images", body={"format": "DOCKER"})
    operation = create.execute()
    with pytest.raises(HttpError, match="already exists"):  # while it is being created, too
        create.execute()
    finished(lambda: api_.operations().get(name=operation["name"]).execute())
    name = f"{parent}/repositories/images"
    changed = repositories.patch(
        name=name, body={"description": "For tests"}, updateMask="description"
    ).execute()
    assert changed["description"] == "For tests"
    with pytest.raises(HttpError, match="immutable"):
        repositories.patch(name=name, body={"format": "MAVEN"}, updateMask="format").execute()
    operation = repositories.delete(name=name).execute()
    finished(lambda: api_.operations().get(name=operation["name"]).execute())
    assert repositories.list(parent=parent).execute().get("repositories", []) == []
