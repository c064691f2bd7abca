"""What is sent again and what is not, and what errors say."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from support.http_server import Answer, AnsweringServer, answering
from support.ports import free_port

from ansible_collections.streamops.knative.plugins.module_utils._google.auth import AuthOptions
from ansible_collections.streamops.knative.plugins.module_utils._google.errors import (
    Aborted,
    ApiError,
    ConfigError,
    GcpError,
    NotFound,
    PermissionDenied,
    QuotaExceeded,
    ServiceDisabled,
    Unauthenticated,
    UnexpectedAnswer,
    Unreachable,
    from_answer,
)
from ansible_collections.streamops.knative.plugins.module_utils._google.gke.cluster import Clusters
from ansible_collections.streamops.knative.plugins.module_utils._google.http_client import Http
from ansible_collections.streamops.knative.plugins.module_utils._google.plan import (
    Plan,
    carry_out,
)
from ansible_collections.streamops.knative.plugins.module_utils._google.policy import (
    Policy,
    changed,
)
from ansible_collections.streamops.knative.plugins.module_utils._google.secret_manager import (
    Secrets,
)
from ansible_collections.streamops.knative.plugins.module_utils._google.session import (
    Session,
    Settings,
)

#: An answer that has what most of them have.
X = {"name": "x", "status": "DONE"}
OPERATION = {"name": "projects/p/locations/l/operations/1"}
SERVICE = {"name": "projects/12/services/x", "parent": "projects/12", "state": "ENABLED"}
VERSION = {
    "name": "projects/1/secrets/s/versions/1",
    "state": "ENABLED",
    "createTime": "2030-01-01T00:00:00Z",
    "etag": "1",
}
RPC = "type.googleapis.com/google.rpc."
Answers = list[tuple[int, Any, dict[str, str]]]


class Server:
    """Gives the answers it was told to, in turn; an answer of status 0 is a closed connection.

    A body that is not bytes is sent as JSON.
    """

    def __init__(self, running: AnsweringServer) -> None:
        self.answers: Answers = []
        self.asked, self.url = running.asked, running.url
        running.answer = self._next

    def _next(self, *_request: Any) -> Answer:
        status, body, headers = self.answers.pop(0) if self.answers else (200, X, {})
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        return (status, headers, data) if status else None


@pytest.fixture
def server() -> Iterator[Server]:
    with answering(lambda *_: None) as running:
        yield Server(running)


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def session(server: Server, waits: list[float]) -> Session:
    settings = Settings(project="p", endpoint=server.url, retries=3, timeout=60)
    auth = AuthOptions(auth_kind="accesstoken", scopes=(), access_token="t")
    return Session(settings, auth, sleep=waits.append)


def busy(status: int, **headers: str) -> tuple[int, dict[str, Any], dict[str, str]]:
    """An answer that says later."""
    error = {"error": {"code": status, "message": "later", "status": "UNAVAILABLE"}}
    return status, error, {name.replace("_", "-"): value for name, value in headers.items()}


def test_a_growing_pause_between_attempts(
    server: Server, session: Session, waits: list[float]
) -> None:
    server.answers = [busy(503), busy(500), busy(429), (200, X, {})]
    assert session.get("container", "v1/x") == X
    assert len(waits) == 3
    for number, wait in enumerate(waits):
        assert 0.25 * 2**number <= wait <= 0.5 * 2**number


def test_what_the_server_asks_for_is_waited(
    server: Server, session: Session, waits: list[float]
) -> None:
    server.answers = [busy(429, Retry_After="7"), (200, X, {})]
    session.get("container", "v1/x")
    assert waits == [7.0]


@pytest.mark.parametrize(
    ("answer", "wait"),
    [
        (busy(503, Retry_After="3600"), 120.0),
        (
            busy(
                503,
                Retry_After="Thu, 26 Nov 2026 11:00:30 GMT",
                Date="Thu, 26 Nov 2026 11:00:00 GMT",
            ),
            30.0,
        ),
        (
            (
                429,
                {"error": {"details": [{"@type": f"{RPC}RetryInfo", "retryDelay": "1.5s"}]}},
                {},
            ),
            1.5,
        ),
    ],
)
def test_forms_of_asking_for_a_pause(
    server: Server, session: Session, waits: list[float], answer: Any, wait: float
) -> None:
    server.answers = [answer, (200, X, {})]
    session.post("container", "v1/x")
    assert waits == [wait]


def test_a_limit_per_time_is_waited_for(
    server: Server, session: Session, waits: list[float]
) -> None:
    """Google's rate limits come with the same details as quotas that are used up."""
    info = {
        "@type": f"{RPC}ErrorInfo",
        "reason": "RATE_LIMIT_EXCEEDED",
        "metadata": {"quota_limit": "defaultPerMinutePerProject", "quota_unit": "1/min/{project}"},
    }
    error = {"status": "RESOURCE_EXHAUSTED", "details": [{"@type": f"{RPC}QuotaFailure"}, info]}
    server.answers = [(429, {"error": error}, {})] * 4
    with pytest.raises(QuotaExceeded, match="run this again later"):
        session.get("container", "v1/x")
    assert len(waits) == 3


def test_what_was_not_sent_is_sent_again_whatever_it_is(waits: list[float]) -> None:
    settings = Settings(endpoint=f"http://127.0.0.1:{free_port()}", retries=2, timeout=60)
    auth = AuthOptions(auth_kind="accesstoken", scopes=(), access_token="t")
    with pytest.raises(Unreachable, match="cannot be reached"):
        Session(settings, auth, sleep=waits.append).post("container", "v1/x", {})
    assert len(waits) == 2


def test_a_token_that_is_refused_is_renewed_once(server: Server, session: Session) -> None:
    class Renewable:
        token: str | None = "old"
        valid = True

        def refresh(self, request: Http) -> None:
            self.token = "new"

    session._credentials = Renewable()
    refused: Any = (401, {"error": {"status": "UNAUTHENTICATED", "message": "no"}}, {})
    server.answers = [refused, (200, X, {})]
    assert session.post("container", "v1/x", {}) == X
    server.answers = [refused, refused]
    server.asked.clear()
    with pytest.raises(Unauthenticated, match="has to be a new one"):
        session.get("container", "v1/x")
    assert len(server.asked) == 1, "there is no newer one"


def test_a_wrong_clock_is_named(server: Server, session: Session) -> None:
    error = {"error": {"status": "UNAUTHENTICATED", "message": "JWT expired"}}
    server.answers = [(401, error, {"Date": "Thu, 01 Jan 2099 00:00:00 GMT"})]
    with pytest.raises(Unauthenticated, match=r"\d+ s behind Google's"):
        session.get("container", "v1/x")
    assert session.now().year == 2099, "times are compared by Google's clock"


def test_an_api_that_was_enabled_a_moment_ago(server: Server, session: Session) -> None:
    info = {
        "@type": f"{RPC}ErrorInfo",
        "reason": "SERVICE_DISABLED",
        "metadata": {"service": "container.googleapis.com", "consumer": "projects/12"},
    }
    disabled: Any = (
        403,
        {"error": {"status": "PERMISSION_DENIED", "message": "not used.", "details": [info]}},
        {},
    )
    server.answers = [disabled, (200, SERVICE, {}), (200, X, {})]
    assert session.get("container", "v1/x") == X
    assert server.asked[1] == "GET /v1/projects/12/services/container.googleapis.com"
    server.answers = [disabled, (200, {**SERVICE, "state": "DISABLED"}, {})]
    with pytest.raises(ServiceDisabled, match="gcp_services"):
        session.get("container", "v1/x")


def test_what_may_have_been_carried_out_is_not_sent_again(server: Server, session: Session) -> None:
    for answer, error in ((busy(500), ApiError), ((0, {}, {}), Unreachable)):
        server.asked.clear()
        server.answers = [answer]
        with pytest.raises(error):
            session.post("secretmanager", "v1/projects/p/secrets/s:addVersion", {})
        assert len(server.asked) == 1
    server.answers = [busy(503), (200, VERSION, {})]
    session.post("secretmanager", "v1/projects/p/secrets/s:addVersion", {})


def test_it_ends_at_some_time(server: Server, session: Session, waits: list[float]) -> None:
    server.answers = [busy(503)] * 10
    with pytest.raises(ApiError, match="later"):
        session.get("container", "v1/x")
    assert len(waits) == 3


def test_a_quota_is_not_waited_for(server: Server, session: Session, waits: list[float]) -> None:
    failure = {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": []}
    error = {"message": "full", "status": "RESOURCE_EXHAUSTED", "details": [failure]}
    server.answers = [(429, {"error": error}, {})]
    with pytest.raises(QuotaExceeded, match="Quotas"):
        session.get("container", "v1/x")
    assert waits == []


def test_a_kept_connection_that_was_closed_costs_nothing(server: Server, session: Session) -> None:
    server.answers = [(200, X, {"Connection": "close"}), (200, X, {})]
    session.get("container", "v1/x")
    assert session.post("container", "v1/x", {}) == X


def test_pages(server: Server, session: Session) -> None:
    server.answers = [
        (200, {"secrets": [{"name": "a", "etag": "1"}], "nextPageToken": "2"}, {}),
        (200, {"secrets": [{"name": "b", "etag": "1"}]}, {}),
    ]
    found = session.pages("secretmanager", "v1/projects/p/secrets", "secrets", filter="name:x y")
    assert [secret["name"] for secret in found] == ["a", "b"]
    assert server.asked[0].endswith("?filter=name%3Ax+y")
    assert server.asked[1].endswith("&pageToken=2")


PAGE = b"<html><body>Please sign in to the network.</body></html>"
#: What a proxy, a captive portal or a broken connection puts in place of an answer.
NOT_GOOGLES: tuple[Any, ...] = (
    PAGE,
    b"",
    b"null",
    b'{"secrets": [{"name": "projects/1/secrets/a", "etag": "1"}, {"na',
    {"status": "ok"},
    {"error": "blocked"},
    [X],
)


@pytest.mark.parametrize("body", NOT_GOOGLES)
@pytest.mark.parametrize(
    ("method", "service", "path"),
    [
        ("GET", "secretmanager", "v1/projects/p/secrets/s"),
        ("POST", "secretmanager", "v1/projects/p/secrets"),
        ("POST", "secretmanager", "v1/projects/p/secrets/s:addVersion"),
        ("GET", "secretmanager", "v1/projects/p/secrets/s:getIamPolicy"),
        ("POST", "cloudresourcemanager", "v3/projects/p:setIamPolicy"),
        ("PATCH", "secretmanager", "v1/projects/p/secrets/s"),
        ("GET", "container", "v1/projects/p/locations/l/clusters/c"),
        ("PUT", "container", "v1/projects/p/locations/l/clusters/c"),
        ("DELETE", "artifactregistry", "v1/projects/p/locations/l/repositories/r"),
        ("POST", "iam", "v1/projects/p/serviceAccounts"),
    ],
)
def test_an_answer_of_another_shape_is_an_error(
    server: Server, session: Session, method: str, service: str, path: str, body: Any
) -> None:
    server.answers = [(200, body, {})] * 4
    payload = None if method in ("GET", "DELETE") else {}
    with pytest.raises((UnexpectedAnswer, Unreachable), match=r"option endpoint\.$"):
        session._call(method, service, path, payload, {})
    assert 1 <= len(server.asked) <= (1 if method in ("POST", "PATCH") else 4)


def test_an_answer_that_was_cut_is_asked_for_again(server: Server, session: Session) -> None:
    server.answers = [(200, NOT_GOOGLES[3], {}), (200, X, {})]
    assert session.get("container", "v1/x") == X


def test_a_redirect_is_an_error(server: Server, session: Session) -> None:
    server.answers = [(302, b"", {"Location": "http://portal/"})] * 4
    with pytest.raises(UnexpectedAnswer, match=r"redirect .HTTP 302. to http://portal/"):
        session.get("container", "v1/x")


@pytest.mark.parametrize(
    "body",
    [*NOT_GOOGLES, {"secrets": {}}, {"secrets": [{"name": "a"}]}, {"secrets": [], "page": 1}],
)
def test_a_list_of_another_shape_is_not_an_empty_list(
    server: Server, session: Session, body: Any
) -> None:
    server.answers = [(200, body, {})] * 4
    with pytest.raises((UnexpectedAnswer, Unreachable)):
        list(session.pages("secretmanager", "v1/projects/p/secrets", "secrets"))


def test_a_list_without_items_is_empty(server: Server, session: Session) -> None:
    server.answers = [(200, {}, {})]
    assert list(session.pages("secretmanager", "v1/projects/p/secrets", "secrets")) == []


def test_a_list_that_google_could_not_complete_is_an_error(
    server: Server, session: Session
) -> None:
    server.answers = [(200, {"unreachable": ["projects/p/locations/l"]}, {})]
    with pytest.raises(UnexpectedAnswer, match="incomplete"):
        list(session.pages("secretmanager", "v1/projects/p/secrets", "secrets"))


def test_pages_that_repeat_end(server: Server, session: Session) -> None:
    server.answers = [(200, {"nextPageToken": "2"}, {})] * 9
    with pytest.raises(UnexpectedAnswer, match="second time"):
        list(session.pages("secretmanager", "v1/projects/p/secrets", "secrets"))
    assert len(server.asked) == 2


@pytest.mark.parametrize("body", [b'{"name": "s", "payload": {"data": "c2VjcmV0', b'["c2Vj"'])
def test_a_value_that_was_cut_is_not_shown(server: Server, session: Session, body: bytes) -> None:
    server.answers = [(200, body, {})] * 4
    with pytest.raises((UnexpectedAnswer, Unreachable)) as caught:
        session.get("secretmanager", "v1/projects/p/secrets/s/versions/latest:access")
    assert "c2Vj" not in str(caught.value)


def test_a_policy_without_etag_is_never_written(server: Server, session: Session) -> None:
    """A policy written without the etag that was read replaces what others granted."""
    policy = Policy.of(session, {"secret": "s"})
    change = functools.partial(changed, role="roles/x", condition=None, add=["user:a"])
    for body in (PAGE, {}, {"bindings": []}, {"etag": ""}, {"etag": "1", "bindings": {}}):
        server.asked.clear()
        server.answers = [(200, body, {})] * 4
        with pytest.raises((UnexpectedAnswer, Unreachable)):
            policy.change(change)
        assert not [line for line in server.asked if "setIamPolicy" in line]


@pytest.mark.parametrize("body", [PAGE, b"", NOT_GOOGLES[3]])
def test_secrets_of_a_list_that_was_cut_are_not_taken_for_deleted(
    server: Server, session: Session, body: bytes
) -> None:
    server.answers = [(200, body, {})] * 4
    with pytest.raises((UnexpectedAnswer, Unreachable)):
        Secrets(session).plan_absent(["a", "b"])


def test_zones_that_are_missing_from_a_list_are_named(server: Server, session: Session) -> None:
    cluster = {"name": "a", "location": "europe-west1", "status": "RUNNING"}
    answer = {"clusters": [cluster], "missingZones": ["europe-west1-b"]}
    server.answers = [(200, answer, {})]
    assert Clusters(session, "-", wait_timeout=0).all() == [cluster]
    (warning,) = session.warnings
    assert "europe-west1-b are missing" in warning


def test_a_standard_operation_and_its_failure(server: Server, session: Session) -> None:
    server.answers = [
        (200, {"name": "operations/1"}, {}),
        (200, {"name": "operations/1", "done": True, "response": {"x": 1}}, {}),
    ]
    assert session.wait_lro("serviceusage", {"name": "operations/1"}, 5) == {"x": 1}
    failed = {"name": "operations/2", "done": True, "error": {"code": 9, "message": "no"}}
    with pytest.raises(Exception, match="operations/2 failed: no"):
        session.wait_lro("serviceusage", failed, 5)


def test_a_write_that_was_repeated_after_a_lost_answer_is_in_doubt(
    server: Server, session: Session
) -> None:
    refused = {"error": {"code": 400, "message": "running incompatible operation op"}}
    server.answers = [(0, "", {}), (400, refused, {})]
    plan = Plan()
    plan.add("change x", lambda: session.put("container", "v1/projects/p/locations/l/x", {}))
    with pytest.raises(ApiError, match="Whether this was done is not known: change x") as failed:
        carry_out(session, plan, lambda: plan)
    assert failed.value.result == {"changed": True, "changes": ["change x"]}


def test_a_reading_that_is_lost_before_a_write_changes_nothing(server: Server) -> None:
    auth = AuthOptions(auth_kind="accesstoken", scopes=(), access_token="t")
    session = Session(Settings(project="p", endpoint=server.url, retries=0), auth)
    server.answers = [(0, "", {})]
    plan = Plan()
    plan.add("change x", lambda: session.get("container", "v1/projects/p/locations/l/x"))
    with pytest.raises(Unreachable) as failed:
        carry_out(session, plan, lambda: plan)
    assert failed.value.result == {"changed": False, "changes": []}


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([(200, OPERATION, {}), busy(503)], "Whether the operation 1 succeeded is not known"),
        ([(200, {**OPERATION, "done": True}, {}), busy(503)], "UNAVAILABLE"),
        ([(200, {**OPERATION, "done": True}, {}), (0, "", {})], "cannot be reached"),
    ],
)
def test_a_step_counts_from_its_first_accepted_write_on(
    server: Server, answers: Answers, problem: str
) -> None:
    auth = AuthOptions(auth_kind="accesstoken", scopes=(), access_token="t")
    session = Session(Settings(project="p", endpoint=server.url, retries=0), auth)
    server.answers = answers

    def create() -> None:
        path = "v1/projects/p/locations/l/repositories"
        session.wait_lro("artifactregistry", session.post("artifactregistry", path, {}), 5)
        session.get("artifactregistry", f"{path}/x")

    plan = Plan()
    plan.add("create x", create)
    with pytest.raises(GcpError, match=problem) as failed:
        carry_out(session, plan, lambda: plan)
    assert failed.value.result == {"changed": True, "changes": ["create x"]}


def test_one_service_can_be_elsewhere() -> None:
    settings = Settings(endpoint="http://all/", endpoints={"container": "http://gke"})
    assert settings.base("container") == "http://gke"
    assert settings.base("iam") == "http://all"
    assert Settings().base("iam") == "https://iam.googleapis.com"
    auth = AuthOptions(auth_kind="accesstoken", scopes=(), access_token="t")
    with pytest.raises(ConfigError, match="gke is none of"):
        Session(Settings(endpoints={"gke": "x"}), auth)


def test_errors_of_any_form() -> None:
    foreign = from_answer(404, "<html>nginx</html>", "GET x")
    assert "HTTP 404: <html>" in str(foreign)
    assert "check option endpoint" in str(foreign)
    assert not isinstance(foreign, NotFound), "who says that is not Google"
    assert isinstance(from_answer(412, {}, "POST x"), Aborted)
    etag = {"error": {"status": "FAILED_PRECONDITION", "message": "The etag does not match."}}
    assert isinstance(from_answer(400, etag, "POST x"), Aborted)
    full = {"error": {"status": "PERMISSION_DENIED", "message": "Insufficient regional quota."}}
    assert isinstance(from_answer(403, full, "POST x"), QuotaExceeded)


@pytest.mark.parametrize(
    ("message", "metadata", "permission", "resource"),
    [
        (
            "no.",
            {
                "permission": "container.clusters.create",
                "resource": "//container.googleapis.com/projects/p/locations/l",
            },
            "container.clusters.create",
            "projects/p/locations/l",
        ),
        (
            'Required "container.clusters.create" permission(s) for "projects/p".',
            {},
            "container.clusters.create",
            "projects/p",
        ),
        (
            "Permission iam.serviceAccounts.get is required to perform this operation on service"
            " account projects/p/serviceAccounts/a@p.iam.gserviceaccount.com.",
            {},
            "iam.serviceAccounts.get",
            "projects/p/serviceAccounts/a@p.iam.gserviceaccount.com",
        ),
    ],
)
def test_which_permission_is_missing_on_what(
    message: str, metadata: dict[str, str], permission: str, resource: str
) -> None:
    """With Google's details, or where a service gives none by its message."""
    info = {
        "@type": f"{RPC}ErrorInfo",
        "reason": "IAM_PERMISSION_DENIED",
        "metadata": metadata,
    }
    error = {"status": "PERMISSION_DENIED", "message": message, "details": [info]}
    denied = from_answer(403, {"error": error}, "POST x", "ada@example.com")
    assert isinstance(denied, PermissionDenied)
    assert f"Grant ada@example.com {permission} on " in str(denied)
    assert resource in str(denied)
    assert "projects add-iam-policy-binding p --member=user:ada@example.com" in str(denied)
    assert "--role=roles/" in str(denied)
