"""What Google would refuse, the stand-in refuses in Google's words; what it lacks, it says."""

from __future__ import annotations

from typing import Any

import pytest
from support.google import Google

from streamops_sandbox.google.app import PROJECT

SECRETS = f"v1/projects/{PROJECT}/secrets"


@pytest.fixture(scope="module")
def owner(google: Google) -> str:
    """A token of the project's owner."""
    number = google.control("POST", "projects", {"projectId": "requests", "owners": []})
    assert number["projectId"] == "requests"
    return google.token_of_owner()


def error(answer: tuple[int, dict[str, Any]]) -> dict[str, Any]:
    """The error of an answer."""
    status, body = answer
    assert body["error"]["code"] == status
    found: dict[str, Any] = body["error"]
    return found


def reason(found: dict[str, Any]) -> dict[str, Any]:
    """Its google.rpc.ErrorInfo."""
    return next(d for d in found["details"] if d["@type"].endswith("ErrorInfo"))


def test_a_misspelt_field_is_refused(google: Google, owner: str) -> None:
    body = {"replication": {"automatik": {}}, "lables": {"a": "b"}}
    found = error(google.call("POST", f"{SECRETS}?secretId=x", body, token=owner))
    assert found["status"] == "INVALID_ARGUMENT"
    violations = {v["description"] for v in found["details"][0]["fieldViolations"]}
    assert violations == {
        "Invalid JSON payload received. Unknown name \"automatik\" at 'replication': Cannot find field.",
        'Invalid JSON payload received. Unknown name "lables": Cannot find field.',
    }


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("POST", f"{SECRETS}?secretID=x", {}, 'Unknown name "secretID": Cannot bind query'),
        ("POST", f"{SECRETS}?secretId=x", {"labels": ["a"]}, "an object is expected"),
        ("POST", f"{SECRETS}?secretId=x", {"createTime": "2026-01-01T00:00:00Z"}, "output only"),
        ("POST", f"{SECRETS}?secretId=x", {"expireTime": "tomorrow"}, "protobuf.Timestamp"),
        ("POST", f"{SECRETS}?secretId=x", {"secretType": "PASSWORD"}, "TYPE_ENUM"),
        ("POST", f"{SECRETS}?secretId=a b", {"replication": {"automatic": {}}}, "expected format"),
        ("POST", f"{SECRETS}?secretId=x", {}, "replication must be provided"),
        (
            "POST",
            f"{SECRETS}?secretId=x",
            {"replication": {"userManaged": {"replicas": []}}},
            "one replica",
        ),
        (
            "POST",
            f"{SECRETS}?secretId=x",
            {"annotations": {"a b": "c"}},
            "Invalid name: a b",
        ),
        ("POST", f"{SECRETS}?secretId=x", {"topics": [{"name": "t"}]}, "Invalid name: t"),
        (
            "POST",
            f"{SECRETS}?secretId=x",
            {"rotation": {"rotationPeriod": "3600s", "nextRotationTime": "2030-01-01T00:00:00Z"}},
            "needs at least one topic",
        ),
        ("GET", f"{SECRETS}?pageSize=many", None, "TYPE_INT32"),
        (
            "POST",
            f"v1/projects/{PROJECT}/services:batchEnable",
            {"serviceIds": [f"s{n}.googleapis.com" for n in range(21)]},
            "1 to 20 services",
        ),
        (
            "POST",
            f"v1/projects/{PROJECT}/locations/europe-west1/repositories?repositoryId=r",
            {"format": "DOCKERR"},
            "TYPE_ENUM",
        ),
        (
            "POST",
            f"v1/projects/{PROJECT}/serviceAccounts",
            {"accountId": "tiny"},
            "length between 6 and 30",
        ),
    ],
)
def test_what_does_not_fit_googles_own_description(
    google: Google, owner: str, method: str, path: str, body: Any, message: str
) -> None:
    found = error(google.call(method, path.replace(" ", "%20"), body, token=owner))
    assert (found["code"], found["status"]) == (400, "INVALID_ARGUMENT")
    assert message in found["message"]


@pytest.mark.parametrize(
    ("location", "cluster", "message"),
    [
        ("europe-west1-b", {"autopilot": {"enabled": True}}, "must be regional"),
        (
            "europe-west1",
            {"nodePools": [{"name": "p", "autoscaling": {"enabled": True, "minNodeCount": 3}}]},
            "must be >= min_node_count",
        ),
        (
            "europe-west1",
            {
                "initialNodeCount": 1,
                "masterAuthorizedNetworksConfig": {"cidrBlocks": [{"cidrBlock": "everywhere"}]},
            },
            "Invalid CIDR block: 'everywhere'",
        ),
    ],
)
def test_clusters_that_gke_refuses(
    google: Google, owner: str, location: str, cluster: dict[str, Any], message: str
) -> None:
    service = {"serviceIds": ["container.googleapis.com"]}
    google.call("POST", f"v1/projects/{PROJECT}/services:batchEnable", service, token=owner)
    path = f"v1/projects/{PROJECT}/locations/{location}/clusters"
    body = {"cluster": {"name": "refused", **cluster}}
    found = error(google.call("POST", path, body, token=owner))
    assert (found["code"], found["status"]) == (400, "INVALID_ARGUMENT")
    assert message in found["message"]


def test_what_google_has_and_the_stand_in_has_not_is_501(google: Google, owner: str) -> None:
    for path in (
        f"v1/projects/{PROJECT}/locations/europe-west1/secrets",
        f"v1/projects/{PROJECT}/serviceAccounts/x@y/keys",
        f"{SECRETS}?filter=create_time>0",
        f"v3/projects/{PROJECT}",
    ):
        found = error(google.call("GET", path, token=owner))
        assert (found["code"], found["status"]) == (501, "UNIMPLEMENTED"), path


def test_what_google_has_not_is_404(google: Google, owner: str) -> None:
    assert error(google.call("GET", "v1/projects/x/sekrets", token=owner))["code"] == 404


def test_without_credentials(google: Google) -> None:
    found = error(google.call("GET", SECRETS))
    assert (found["code"], reason(found)["reason"]) == (401, "CREDENTIALS_MISSING")
    found = error(google.call("GET", SECRETS, token="ya29.never-issued"))
    assert (found["code"], reason(found)["reason"]) == (401, "ACCESS_TOKEN_TYPE_UNSUPPORTED")


def test_an_expired_token(google: Google) -> None:
    google.control("PUT", "tokens", {"lifetime": 0})
    try:
        token = google.token("principal://example.com/late")
    finally:
        google.control("PUT", "tokens", {"lifetime": 3600})
    found = error(google.call("GET", SECRETS, token=token))
    assert (found["code"], reason(found)["reason"]) == (401, "ACCESS_TOKEN_EXPIRED")


def test_a_missing_permission_names_itself_and_the_resource(google: Google) -> None:
    found = error(google.call("GET", SECRETS, token=google.token("principal://example.com/x")))
    told = reason(found)
    assert (found["status"], told["reason"]) == ("PERMISSION_DENIED", "IAM_PERMISSION_DENIED")
    assert told["metadata"]["permission"] == "secretmanager.secrets.list"
    assert told["metadata"]["resource"].startswith("projects/")


def test_a_project_that_does_not_exist(google: Google, owner: str) -> None:
    found = error(google.call("GET", "v1/projects/nowhere/secrets", token=owner))
    assert (found["code"], reason(found)["reason"]) == (403, "CONSUMER_INVALID")


def test_an_api_that_is_not_enabled(google: Google) -> None:
    member = "principal://example.com/o"
    google.control("POST", "projects", {"projectId": "empty", "owners": [member]})
    found = error(google.call("GET", "v1/projects/empty/secrets", token=google.token(member)))
    told = reason(found)
    assert (found["code"], told["reason"]) == (403, "SERVICE_DISABLED")
    assert told["metadata"]["service"] == "secretmanager.googleapis.com"


def test_policies_keep_their_etag_and_conditions(google: Google, owner: str) -> None:
    body = {"replication": {"automatic": {}}}
    google.call("POST", f"{SECRETS}?secretId=policy", body, token=owner)
    path = f"{SECRETS}/policy"
    role = "roles/secretmanager.secretAccessor"
    member = "principal://example.com/guest"

    def write(policy: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        return google.call("POST", f"{path}:setIamPolicy", {"policy": policy}, token=owner)

    _, policy = google.call("GET", f"{path}:getIamPolicy", token=owner)
    past = {"title": "over", "expression": 'request.time < timestamp("2001-01-01T00:00:00Z")'}
    binding = {"role": role, "members": [member], "condition": past}
    assert "version 3" in error(write({**policy, "bindings": [binding]}))["message"]
    status, written = write({**policy, "version": 3, "bindings": [binding]})
    assert status == 200

    google.call("POST", f"{path}:addVersion", {"payload": {"data": "eA=="}}, token=owner)
    access = f"{path}/versions/latest:access"
    assert google.call("GET", access, token=google.token(member))[0] == 403, "not evaluated"
    status, _ = write({**written, "version": 3})
    assert status == 200

    found = error(write({**written, "version": 3}))
    assert (found["code"], found["status"]) == (409, "ABORTED"), "the etag is an old one"
    assert google.call("GET", f"{path}:getIamPolicy", token=owner)[0] == 501, "as version 1"
    read = f"{path}:getIamPolicy?options.requestedPolicyVersion=3"
    _, seen = google.call("GET", read, token=owner)
    assert seen["bindings"] == [binding]


@pytest.mark.parametrize(
    ("role", "allowed", "denied"),
    [
        ("roles/secretmanager.secretAccessor", "versions/latest:access", ""),
        ("roles/secretmanager.viewer", "", "versions/latest:access"),
        ("roles/editor", "versions/1", "versions/latest:access"),
        ("roles/viewer", "", "versions/latest:access"),
    ],
)
def test_roles_permit_what_googles_do(
    google: Google, owner: str, role: str, allowed: str, denied: str
) -> None:
    name = f"{SECRETS}/{role.replace('/', '-').replace('.', '-')}"
    body = {"replication": {"automatic": {}}}
    google.call("POST", f"{SECRETS}?secretId={name.rpartition('/')[2]}", body, token=owner)
    google.call("POST", f"{name}:addVersion", {"payload": {"data": "eA=="}}, token=owner)
    member = f"principal://example.com/{role}"
    policy = {"bindings": [{"role": role, "members": [member]}]}
    google.call("POST", f"{name}:setIamPolicy", {"policy": policy}, token=owner)
    token = google.token(member)
    for path, status in ((allowed, 200), (denied, 403)):
        if path or status == 200:
            target = f"{name}/{path}" if path else name
            if role.endswith("Accessor") and not path:
                continue
            assert google.call("GET", target, token=token)[0] == status, target


def test_faults_that_a_test_plans(google: Google, owner: str) -> None:
    fault = {"method": "secretmanager.projects.secrets.list", "status": "UNAVAILABLE", "times": 2}
    google.control("POST", "faults", fault)
    assert [google.call("GET", SECRETS, token=owner)[0] for _ in range(3)] == [503, 503, 200]
