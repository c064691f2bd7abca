"""The stand-in's answers, held against X's own OpenAPI document."""

from __future__ import annotations

import json

import pytest
import requests
from support import x_openapi
from support.producer import SHARED, X, wait_for

pytestmark = pytest.mark.skipif(
    not x_openapi.DOCUMENT.is_file(), reason=f"no OpenAPI document of X's at {x_openapi.DOCUMENT}"
)

SEARCH = "/2/tweets/search/recent"
STREAM = "/2/tweets/search/stream"
RULES = STREAM + "/rules"
JOBS = "/2/compliance/jobs"


def _call(x: X, method: str, path: str, *, valid: bool = True, bearer: str = "", **options):
    """Make a request that the document allows (unless said), check the answer against it."""
    body = options.get("json")
    if valid:
        x_openapi.check_request(method, path, body)
    headers = {"Authorization": f"Bearer {bearer or x.keys['bearer_token']}"}
    answer = requests.request(method, x.url + path, headers=headers, timeout=60, **options)
    content_type = answer.headers["Content-Type"].partition(";")[0]
    x_openapi.check_answer(method, path, answer.status_code, content_type, answer.json())
    return answer


def test_the_judge_refuses_what_is_wrong() -> None:
    for path in (
        f"{SEARCH}?max_results=10",
        f"{SEARCH}?query=a&max_results=5",
        f"{SEARCH}?query=a&tweet.fields=lang",
        f"{SEARCH}?query=a&post.fields=nonsense",
        f"{SEARCH}?query=a&since_id=x",
        "/2/nonsense",
    ):
        with pytest.raises(x_openapi.Invalid):
            x_openapi.check_request("GET", path)
    with pytest.raises(x_openapi.Invalid):
        x_openapi.check_answer("GET", SEARCH, 200, "application/json", {"data": [{"id": 5}]})
    with pytest.raises(x_openapi.Invalid):
        x_openapi.check_answer("GET", SEARCH, 400, "application/problem+json", {"title": "a"})


def test_search(x: X) -> None:
    x.publish_many(15)
    first = _call(x, "GET", f"{SEARCH}?query=post&post.fields=created_at,lang").json()
    token = first["meta"]["next_token"]
    assert len(_call(x, "GET", f"{SEARCH}?query=post&next_token={token}").json()["data"]) == 5
    assert (
        "data"
        not in _call(x, "GET", f"{SEARCH}?query=post&since_id={first['meta']['newest_id']}").json()
    )


def test_recorded_answer_of_x_is_one_of_the_same_kind(x: X) -> None:
    recorded = json.loads((SHARED / "recorded-search-recent.json").read_text())
    x_openapi.check_answer("GET", SEARCH, 200, "application/json", recorded["body"])
    x.publish(*recorded["body"]["data"])
    ours = _call(x, "GET", f"{SEARCH}?query=tweepy").json()
    assert ours["data"] == recorded["body"]["data"]
    names = set(recorded["body"]["meta"]) - {"next_token"}
    assert {n: ours["meta"][n] for n in names} == {n: recorded["body"]["meta"][n] for n in names}


@pytest.mark.parametrize(
    "query",
    [
        "query=post&max_results=5",
        "query=-post",
        "query=post&since_id=1",
        "query=post&start_time=2020-01-01T00:00:00Z",
        "query=post&nonsense=1",
        "query=post&next_token=%3F",
    ],
)
def test_refusals_are_problems_of_xs_own_types(x: X, query: str) -> None:
    answer = _call(x, "GET", f"{SEARCH}?{query}", valid=False)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("application/problem+json")


@pytest.mark.parametrize("status", [400, 401, 402, 403, 429, 500, 503])
def test_faults_are_answers_that_x_may_give(x: X, status: int) -> None:
    x.fault("status", status=status)
    assert _call(x, "GET", f"{SEARCH}?query=post").status_code == status


def test_wrong_bearer(x: X) -> None:
    assert _call(x, "GET", f"{SEARCH}?query=post", bearer="wrong").status_code == 401


def test_rules(x: X) -> None:
    added = _call(
        x, "POST", RULES, json={"add": [{"value": "knative", "tag": "k"}, {"value": "("}]}
    )
    assert (added.status_code, len(added.json()["errors"])) == (201, 1)
    rule = _call(x, "GET", RULES).json()["data"][0]
    assert _call(x, "GET", f"{RULES}?ids={rule['id']}").status_code == 501
    dry = f"{RULES}?dry_run=true"
    assert _call(x, "POST", dry, json={"delete": {"ids": [rule["id"]]}}).status_code == 501
    by_value = {"delete": {"values": ["knative"]}}
    assert _call(x, "POST", RULES, json=by_value).status_code == 501
    _call(x, "POST", RULES, json={"delete": {"ids": [rule["id"]]}})
    assert "data" not in _call(x, "GET", RULES).json()
    assert _call(x, "POST", RULES, json={}).status_code == 400


def test_stream(x: X) -> None:
    _call(x, "POST", RULES, json={"add": [{"value": "knative"}]})
    path = f"{STREAM}?tweet.fields=created_at,lang"
    x_openapi.check_request("GET", path)
    headers = {"Authorization": f"Bearer {x.keys['bearer_token']}"}
    with requests.get(x.url + path, headers=headers, stream=True, timeout=60) as answer:
        wait_for(lambda: x.control("GET")["stream"])
        x.publish({"text": "knative", "lang": "en"}, matching="text")
        line = next(line for line in answer.iter_lines() if line)
    content_type = answer.headers["Content-Type"].partition(";")[0]
    x_openapi.check_answer("GET", path, 200, content_type, json.loads(line))


def test_compliance_job(x: X) -> None:
    kept, gone = x.publish_many(2)
    x.control("DELETE", f"/posts/{gone}?reason=suspended")
    x.control("PUT", "/compliance", {"seconds": 600})
    job = _call(x, "POST", JOBS, json={"type": "tweets"}).json()["data"]
    assert job["status"] == "created"
    assert _call(x, "POST", JOBS, json={"type": "tweets"}).status_code == 400, "one at a time"
    ids = f"{kept}\n{gone}\n"
    assert requests.put(job["upload_url"], ids, timeout=60).status_code == 403, "no text/plain"
    headers = {"Content-Type": "text/plain"}
    assert requests.put(job["upload_url"], ids, headers=headers, timeout=60).status_code == 200
    place = f"{JOBS}/{job['id']}"
    assert _call(x, "GET", place).json()["data"]["status"] == "in_progress"
    assert requests.get(job["download_url"], timeout=60).status_code == 404
    x.control("PUT", "/compliance", {"seconds": 0})
    assert _call(x, "GET", place).json()["data"]["status"] == "complete"
    [line] = requests.get(job["download_url"], timeout=60).text.splitlines()
    entry = json.loads(line)
    assert (entry["id"], entry["action"], entry["reason"]) == (gone, "delete", "suspended")
    assert requests.get(job["download_url"] + "0", timeout=60).status_code == 403
    assert _call(x, "GET", f"{JOBS}?type=tweets").status_code == 501
    assert _call(x, "GET", f"{JOBS}/1").status_code == 404


def test_compliance_job_without_a_list_expires(x: X) -> None:
    job = _call(x, "POST", JOBS, json={"type": "tweets"}).json()["data"]
    x.control("PUT", "/clock", {"ahead_seconds": 16 * 60})
    assert _call(x, "GET", f"{JOBS}/{job['id']}").json()["data"]["status"] == "expired"
    headers = {"Content-Type": "text/plain"}
    assert requests.put(job["upload_url"], "1", headers=headers, timeout=60).status_code == 400
    assert _call(x, "POST", JOBS, json={"type": "tweets"}).status_code == 200
    assert _call(x, "POST", JOBS, valid=False, json={"type": "posts"}).status_code == 400


def test_authors_come_with_the_posts_and_are_billed_once_a_day(x: X) -> None:
    x.publish(*({"text": "post", "author_id": author} for author in ("7", "7", "8")))
    query = f"{SEARCH}?query=post&expansions=author_id&user.fields=name,username,created_at"
    users = _call(x, "GET", query).json()["includes"]["users"]
    assert [user["id"] for user in users] == ["8", "7"]
    assert set(users[0]) >= {"id", "name", "username"}
    _call(x, "GET", query)
    assert (x.bill()["users"], x.bill()["dollars"]) == (2, 0.035)
    assert "includes" not in _call(x, "GET", f"{SEARCH}?query=post").json()
    bad = f"{SEARCH}?query=post&expansions=author_id&user.fields=secrets"
    assert _call(x, "GET", bad, valid=False).status_code == 400
    media = f"{SEARCH}?query=post&expansions=attachments.media_keys"
    assert _call(x, "GET", media).status_code == 501
