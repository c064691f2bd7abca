"""Identity and authorisation: tokens, certificates, impersonation, RBAC, Google's tokens."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from google.auth import crypt, jwt

from streamops_sandbox.kube.tls import Authority

REVIEW = "/apis/authentication.k8s.io/v1/tokenreviews"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


@pytest.fixture
def pods(namespace: str) -> str:
    return f"/api/v1/namespaces/{namespace}/pods"


def allow(cluster, namespace, rules, *, subject, cluster_wide=False):
    """A role of its own for a subject."""
    where = RBAC if cluster_wide else f"{RBAC}/namespaces/{namespace}"
    kind = "ClusterRole" if cluster_wide else "Role"
    role = cluster.call(
        "POST",
        f"{where}/{kind.lower()}s",
        {"metadata": {"generateName": f"{namespace}-"}, "rules": rules},
    )
    name = role["metadata"]["name"]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name}
    cluster.call(
        "POST",
        f"{where}/{kind.lower()}bindings",
        {"metadata": {"name": name}, "roleRef": reference, "subjects": [subject]},
    )
    return f"{where}/{kind.lower()}s/{name}"


def test_nobody_and_strangers(cluster, pods):
    status = cluster.call("GET", pods, token="wrong", code=401)
    assert (status["reason"], status["message"]) == ("Unauthorized", "Unauthorized")
    answer = requests.get(cluster.server.url + pods, verify=str(cluster.server.ca_file), timeout=60)
    assert answer.status_code == 403
    assert 'User "system:anonymous" cannot list resource "pods"' in answer.json()["message"]
    public = requests.get(
        cluster.server.url + "/version", verify=str(cluster.server.ca_file), timeout=60
    )
    assert public.status_code == 200


def test_roles_decide_and_changes_count_at_once(cluster, namespace, pods):
    token = cluster.service_account_token(namespace)
    account = {"kind": "ServiceAccount", "name": "default", "namespace": namespace}
    status = cluster.call("GET", pods, token=token, code=403)
    assert status["message"] == (
        f'pods is forbidden: User "system:serviceaccount:{namespace}:default" cannot list '
        f'resource "pods" in API group "" in the namespace "{namespace}"'
    )
    read = {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]}
    one = {
        "apiGroups": [""],
        "resources": ["configmaps"],
        "resourceNames": ["mine"],
        "verbs": ["get"],
    }
    role = allow(cluster, namespace, [read, one], subject=account)
    cluster.call("GET", pods, token=token)
    cluster.call("GET", "/api/v1/pods", token=token, code=403)
    cluster.call("GET", f"{pods}/x/log", token=token, code=403)
    configmaps = f"/api/v1/namespaces/{namespace}/configmaps"
    cluster.call("GET", f"{configmaps}/mine", token=token, code=404)
    cluster.call("GET", f"{configmaps}/other", token=token, code=403)
    cluster.call("DELETE", role)
    cluster.call("GET", pods, token=token, code=403)


def test_groups_and_aggregation(cluster, namespace, pods):
    token = cluster.service_account_token(namespace)
    group = {"kind": "Group", "name": f"system:serviceaccounts:{namespace}"}
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    cluster.call(
        "POST",
        f"{RBAC}/namespaces/{namespace}/rolebindings",
        {"metadata": {"name": "viewers"}, "roleRef": reference, "subjects": [group]},
    )
    cluster.call("GET", pods, token=token)
    cluster.call("POST", pods, {}, token=token, code=403)
    leases = f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    cluster.call("GET", leases, token=token, code=403)
    extra = cluster.call(
        "POST",
        f"{RBAC}/clusterroles",
        {
            "metadata": {
                "name": f"{namespace}-leases",
                "labels": {"rbac.authorization.k8s.io/aggregate-to-view": "true"},
            },
            "rules": [
                {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["list"]}
            ],
        },
    )
    cluster.call("GET", leases, token=token)
    cluster.call("DELETE", f"{RBAC}/clusterroles/{extra['metadata']['name']}")
    cluster.call("GET", leases, token=token, code=403)


def test_role_reference_cannot_change(cluster, namespace):
    path = f"{RBAC}/namespaces/{namespace}/rolebindings"
    body = {"metadata": {"name": "b"}, "roleRef": {"kind": "ClusterRole", "name": "view"}}
    made = cluster.call("POST", path, body)
    made["roleRef"]["name"] = "edit"
    status = cluster.call("PUT", f"{path}/b", made, code=422)
    assert "cannot change roleRef" in status["message"]


def test_token_review_honours_audiences(cluster, namespace):
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    body = {"spec": {"audiences": ["pool"], "expirationSeconds": 600}}
    token = cluster.call("POST", path, body)["status"]["token"]
    good = cluster.call("POST", REVIEW, {"spec": {"token": token, "audiences": ["pool", "x"]}})
    assert good["status"]["authenticated"] is True
    assert good["status"]["audiences"] == ["pool"]
    assert good["status"]["user"]["username"] == f"system:serviceaccount:{namespace}:default"
    other = cluster.call("POST", REVIEW, {"spec": {"token": token, "audiences": ["other"]}})
    assert other["status"].get("authenticated") is None
    cluster.call("GET", "/api/v1/namespaces", token=token, code=401)
    body["spec"]["expirationSeconds"] = 5
    status = cluster.call("POST", path, body, code=422)
    assert "may not specify a duration less than 10 minutes" in status["message"]


def test_tokens_end_with_what_they_are_bound_to(cluster, namespace, pods):
    cluster.call(
        "POST",
        pods,
        {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "a", "image": "b"}]}},
    )
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/default/token"
    body = {"spec": {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p"}}}
    token = cluster.call("POST", path, body)["status"]["token"]
    review = cluster.call("POST", REVIEW, {"spec": {"token": token}})["status"]
    assert review["user"]["extra"]["authentication.kubernetes.io/pod-name"] == ["p"]
    cluster.call("DELETE", f"{pods}/p")
    assert "error" in cluster.call("POST", REVIEW, {"spec": {"token": token}})["status"]


def decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_keys_of_the_issuer_verify_tokens(cluster, namespace):
    """A verifier that has only the published keys accepts the token (google-auth's)."""
    (key,) = cluster.call("GET", "/openid/v1/jwks")["keys"]
    number = {name: int.from_bytes(decode(key[name]), "big") for name in "ne"}
    public = rsa.RSAPublicNumbers(number["e"], number["n"]).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    token = cluster.service_account_token(namespace)
    signed, _, signature = token.rpartition(".")
    assert crypt.verify_signature(signed.encode(), decode(signature), pem)
    claims = jwt.decode(token, verify=False)
    assert claims["sub"] == f"system:serviceaccount:{namespace}:default"
    assert claims["kubernetes.io"]["namespace"] == namespace


def test_client_certificates(cluster, tmp_path):
    authority = Authority(cluster.server.ca_file.parent)
    cert, key = authority.issue("jane", organization="system:masters")
    (tmp_path / "c").write_bytes(cert)
    (tmp_path / "k").write_bytes(key)
    answer = requests.post(
        cluster.server.url + "/apis/authentication.k8s.io/v1/selfsubjectreviews",
        json={},
        cert=(str(tmp_path / "c"), str(tmp_path / "k")),
        verify=str(cluster.server.ca_file),
        timeout=60,
    )
    assert answer.json()["status"]["userInfo"] == {
        "username": "jane",
        "groups": ["system:masters", "system:authenticated"],
    }


def test_impersonation_needs_a_right(cluster, namespace, pods):
    headers = {"Impersonate-User": "jane", "Impersonate-Group": "devs"}
    status = cluster.call("GET", pods, headers=headers, code=403)
    assert 'User "jane" cannot list resource "pods"' in status["message"]
    token = cluster.service_account_token(namespace)
    status = cluster.call("GET", pods, headers=headers, token=token, code=403)
    assert 'cannot impersonate resource "users"' in status["message"]


def test_access_reviews(cluster, namespace):
    wanted = {"namespace": namespace, "verb": "get", "resource": "pods"}
    review = cluster.call(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"spec": {"user": "jane", "resourceAttributes": wanted}},
    )
    assert review["status"] == {"allowed": False}
    allow(
        cluster,
        namespace,
        [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
        subject={"kind": "User", "name": "jane"},
    )
    review = cluster.call(
        "POST",
        "/apis/authorization.k8s.io/v1/subjectaccessreviews",
        {"spec": {"user": "jane", "resourceAttributes": wanted}},
    )
    assert review["status"]["allowed"] is True
    assert review["status"]["reason"].startswith("RBAC: allowed by RoleBinding")
    own = cluster.call(
        "POST",
        "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
        {"spec": {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}},
    )
    assert own["status"]["allowed"] is True


class TokenInfo(BaseHTTPRequestHandler):
    """Google's tokeninfo endpoint for two tokens."""

    def do_GET(self) -> None:
        token = parse_qs(urlsplit(self.path).query)["access_token"][0]
        known = {
            "ya29.admin": {
                "email": "a@b.iam.gserviceaccount.com",
                "sub": "1",
                "kubernetes_groups": ["system:masters"],
            },
            "ya29.plain": {"sub": "principal://pool/subject/x"},
        }
        self.server.asked += 1  # type: ignore[attr-defined]  # counted for the test
        content = json.dumps({**known.get(token, {}), "expires_in": "600"}).encode()
        self.send_response(200 if token in known else 400)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def tokeninfo() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), TokenInfo)
    server.asked = 0  # type: ignore[attr-defined]  # counted for the test
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_google_access_tokens(tokeninfo, start_cluster):
    url = f"http://127.0.0.1:{tokeninfo.server_address[1]}/tokeninfo"
    cluster = start_cluster(google_tokeninfo_url=url)
    for _ in range(3):
        cluster.call("GET", "/api/v1/nodes", token="ya29.admin")
    assert tokeninfo.asked == 1, "remembered"
    status = cluster.call("GET", "/api/v1/nodes", token="ya29.plain", code=403)
    assert 'User "principal://pool/subject/x" cannot list' in status["message"]
    cluster.call("GET", "/api/v1/nodes", token="ya29.unknown", code=401)


def test_expired_tokens_are_refused(cluster, namespace, monkeypatch):
    token = cluster.service_account_token(namespace)
    cluster.call("GET", "/api", token=token)
    now = time.time()
    monkeypatch.setattr("streamops_sandbox.kube.tokens.time.time", lambda: now + 7200)
    cluster.call("GET", "/api", token=token, code=401)
