"""Recent search of X's stand-in, through unmodified tweepy."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests
import tweepy
from support.producer import SHARED, Kit, X

RECORDED = SHARED / "recorded-posts.json"


def _recent(clients, **parameters):
    return clients.user().search_recent_tweets("post", user_auth=True, **parameters)


def test_signature_of_a_user_and_bearer_of_the_app_are_taken(x: X, clients) -> None:
    x.publish({"text": "a post"})
    assert len(clients.app().search_recent_tweets("post").data) == 1
    assert len(_recent(clients).data) == 1


@pytest.mark.parametrize("wrong", ["api_key", "api_secret", "access_key", "access_secret"])
def test_each_of_the_four_keys_is_verified(clients, wrong: str) -> None:
    with pytest.raises(tweepy.Unauthorized):
        clients.user(**{wrong: "wrong"}).search_recent_tweets("post", user_auth=True)


def test_wrong_bearer_and_none_are_refused(x: X, clients) -> None:
    with pytest.raises(tweepy.Unauthorized):
        clients.app("wrong").search_recent_tweets("post")
    assert requests.get(x.url + "/2/tweets/search/recent?query=post", timeout=60).status_code == 401


def test_changed_query_does_not_fit_the_signature(x: X, clients) -> None:
    _recent(clients)
    session = requests.Session()
    signed = clients.user()
    captured: list[requests.PreparedRequest] = []
    adapter = signed.session.get_adapter("https://api.twitter.com/")
    send = adapter.send
    adapter.send = lambda request, **kwargs: captured.append(request) or send(request, **kwargs)
    signed.search_recent_tweets("post", user_auth=True)
    headers = {"Authorization": captured[0].headers["Authorization"]}
    replay = session.get(captured[0].url, headers=headers, timeout=60)
    assert (replay.status_code, "nonce" in replay.text) == (401, True)
    forged = captured[0].url.replace("query=post", "query=other")
    assert session.get(forged, headers=headers, timeout=60).status_code == 401


def test_newest_first_in_pages(x: X, clients) -> None:
    ids = [int(i) for i in x.publish_many(25)]
    first = _recent(clients, max_results=10)
    assert [post.id for post in first.data] == ids[:-11:-1]
    assert first.meta["newest_id"] == str(ids[-1])
    assert first.meta["result_count"] == 10
    second = _recent(clients, max_results=10, next_token=first.meta["next_token"])
    third = _recent(clients, max_results=10, next_token=second.meta["next_token"])
    assert [p.id for page in (first, second, third) for p in page.data] == ids[::-1]
    assert "next_token" not in third.meta


def test_paginator_of_tweepy_works(x: X, clients) -> None:
    x.publish_many(35)
    pages = tweepy.Paginator(clients.app().search_recent_tweets, "post", max_results=10)
    assert sum(1 for _ in pages.flatten()) == 35


def test_bounds_are_exclusive(x: X, clients) -> None:
    ids = x.publish_many(5)
    found = _recent(clients, since_id=ids[0], until_id=ids[4]).data
    assert [str(post.id) for post in found] == [ids[3], ids[2], ids[1]]


def test_nothing_found_has_no_data(clients) -> None:
    answer = _recent(clients)
    assert answer.data is None
    assert answer.meta == {"result_count": 0}


@pytest.mark.parametrize(
    ("parameters", "part"),
    [
        ({"max_results": 9}, "between 10 and 100"),
        ({"max_results": 101}, "between 10 and 100"),
        ({"since_id": "abc"}, "does not match"),
        ({"next_token": "???"}, "Invalid 'next_token'"),
        ({"since_id": 1}, "larger than"),
        ({"tweet_fields": ["nonsense"]}, "not valid"),
        ({"nonsense": "1"}, "is not one of"),
        ({"since_id": 1 << 62, "start_time": "2026-01-01T00:00:00Z"}, "At most one of"),
        ({"start_time": "2020-01-01T00:00:00Z"}, "on or after"),
        ({"start_time": "yesterday"}, "RFC3339"),
        ({"end_time": "2099-01-01T00:00:00Z"}, "10 seconds prior"),
    ],
)
def test_what_x_refuses(clients, parameters: dict[str, object], part: str) -> None:
    with pytest.raises(tweepy.BadRequest, match=part):
        _recent(clients, **parameters)


@pytest.mark.parametrize(
    ("query", "part"),
    [
        ("a" * 513, "less than or equal to 512"),
        ("-spam", "at least one positive"),
        ("(a", "unbalanced"),
        ("a)", "unbalanced"),
        ('"a', "unbalanced quotes"),
        ("a OR", "clause is missing"),
        ("foo:bar", "unknown operator"),
    ],
)
def test_queries_that_x_refuses(clients, query: str, part: str) -> None:
    with pytest.raises(tweepy.BadRequest) as error:
        clients.app().search_recent_tweets(query)
    assert part in str(error.value)


def test_what_is_not_modelled_is_said(x: X, clients) -> None:
    for call in (
        lambda: clients.app().search_recent_tweets("knative url:example.com"),
        lambda: clients.app().search_recent_tweets("knative", expansions=["geo.place_id"]),
        lambda: clients.app().search_recent_tweets("knative", sort_order="relevancy"),
        lambda: clients.app().get_tweet(1),
    ):
        with pytest.raises(tweepy.TwitterServerError, match="501"):
            call()


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("knative", "abf"),
        ("KNATIVE -eventing", "bf"),
        ("knative eventing", "a"),
        ("#k8s", "c"),
        ('"scale to zero"', "d"),
        ("k8s", "c"),
        ("(knative OR k8s) -has:links", "acf"),
        ("zero OR knative lang:de", "df"),
        ("knative -is:retweet", "af"),
        ("from:42", "d"),
        ("@knativeproject", "f"),
    ],
)
def test_queries_match(x: X, clients, query: str, expected: str) -> None:
    x.publish(
        {"text": "Knative Eventing rocks", "username": "a"},
        {
            "text": "RT Knative https://t.co/x",
            "username": "b",
            "referenced_tweets": [{"type": "retweeted", "id": "1"}],
        },
        {"text": "all the #k8s things", "username": "c"},
        {"text": "we scale to zero", "username": "d", "author_id": "42"},
        {"text": "knatives are not it", "username": "e"},
        {"text": "knative, sagt @knativeproject", "lang": "de", "username": "f"},
        matching="text",
    )
    found = clients.app().search_recent_tweets(query, tweet_fields=["username"]).data or []
    assert "".join(sorted(post.data["username"] for post in found)) == expected


def test_fields_are_shown_as_asked_for_in_both_spellings(x: X, clients) -> None:
    x.publish({"text": "a post", "lang": "en"})
    assert set(clients.app().search_recent_tweets("post").data[0].data) == {
        *("id", "text", "edit_history_tweet_ids")
    }
    for name in ("post.fields", "tweet.fields"):
        [post] = clients.app().search_recent_tweets("post", **{name: ["lang", "created_at"]}).data
        assert post.data["lang"] == "en"
        assert "created_at" in post.data


def test_rate_limit_counts_down_and_ends_in_429(x: X, clients) -> None:
    x.control("PUT", "/limits", {"search/user": 2, "search/app": 1})
    client = clients.user()
    client.return_type = requests.Response
    left = [
        client.search_recent_tweets("post", user_auth=True).headers["x-rate-limit-remaining"]
        for _ in range(2)
    ]
    assert left == ["1", "0"]
    with pytest.raises(tweepy.TooManyRequests) as error:
        client.search_recent_tweets("post", user_auth=True)
    assert 0 < error.value.reset_time - time.time() <= 900
    assert clients.app().search_recent_tweets("post").meta["result_count"] == 0


def test_default_rate_limits_are_xs(clients) -> None:
    for client, user_auth, limit in ((clients.user(), True, "300"), (clients.app(), False, "450")):
        client.return_type = requests.Response
        answer = client.search_recent_tweets("post", user_auth=user_auth)
        assert answer.headers["x-rate-limit-limit"] == limit


def test_a_post_is_billed_once_per_utc_day(x: X, clients) -> None:
    x.publish_many(20)
    for _ in range(3):
        _recent(clients, max_results=20)
    bill = x.bill()
    assert (bill["reads"], bill["billed"], bill["dollars"]) == (60, 20, 0.1)
    x.control("PUT", "/clock", {"ahead_seconds": 24 * 3600})
    _recent(clients, max_results=10)
    assert sorted(x.bill()["by_day"].values()) == [10, 20]


def test_without_credits_402(x: X, clients) -> None:
    x.publish_many(10)
    x.control("PUT", "/credits", {"dollars": 0.05})
    _recent(clients)
    with pytest.raises(tweepy.HTTPException) as error:
        _recent(clients)
    assert error.value.response.status_code == 402
    assert error.value.response.json()["title"] == "CreditsDepleted"


def test_since_id_is_checked_against_seven_days(x: X, clients) -> None:
    limit = (int((time.time() - 7 * 86400) * 1000) - 1288834974657) << 22
    with pytest.raises(tweepy.BadRequest) as error:
        _recent(clients, since_id=limit - (60_000 << 22))
    smallest = int(str(error.value).rsplit("larger than ", 1)[1])
    assert abs((smallest - limit) >> 22) < 30_000
    assert _recent(clients, since_id=smallest + (60_000 << 22)).meta["result_count"] == 0


def test_posts_are_forgotten_after_seven_days(x: X, clients) -> None:
    x.publish_many(3)
    x.control("PUT", "/clock", {"ahead_seconds": 7 * 86400 + 5})
    assert _recent(clients).data is None


def test_times_bound_the_search(x: X, clients) -> None:
    now = datetime.now(UTC)
    for hours in (3, 2, 1):
        made = now - timedelta(hours=hours)
        post_id = (int(made.timestamp() * 1000) - 1288834974657) << 22
        x.publish({"id": str(post_id), "text": f"{hours}h", "created_at": made.isoformat()})
    found = _recent(
        clients, start_time=now - timedelta(hours=2.5), end_time=now - timedelta(hours=1.5)
    )
    assert [post.text for post in found.data] == ["2h"]


def test_deleted_posts_are_gone(x: X, clients) -> None:
    ids = x.publish_many(2)
    x.control("DELETE", f"/posts/{ids[0]}")
    assert [str(post.id) for post in _recent(clients).data] == ids[1:]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, tweepy.BadRequest),
        (401, tweepy.Unauthorized),
        (402, tweepy.HTTPException),
        (403, tweepy.Forbidden),
        (429, tweepy.TooManyRequests),
        (503, tweepy.TwitterServerError),
    ],
)
def test_faults_on_demand(x: X, clients, status: int, kind: type[Exception]) -> None:
    x.fault("status", status=status)
    with pytest.raises(kind):
        _recent(clients)
    _recent(clients)


@pytest.mark.parametrize("kind", ["drop", "truncate"])
def test_connections_break_on_demand(x: X, clients, kind: str) -> None:
    x.publish_many(5)
    x.fault(kind)
    with pytest.raises(requests.RequestException):
        _recent(clients)
    assert len(_recent(clients).data) == 5


@pytest.mark.skipif(not RECORDED.is_file(), reason=f"no recorded posts at {RECORDED}")
def test_recorded_posts_are_served_as_they_are_whatever_the_query(kit: Kit, clients_of) -> None:
    x = kit.x(RECORDED)
    clients = clients_of(x)
    pages = tweepy.Paginator(clients.app().search_recent_tweets, "anything", max_results=100)
    served = [post.data for post in pages.flatten()]
    recorded = json.loads(RECORDED.read_text())["data"]
    assert sorted(served, key=lambda p: p["id"]) == sorted(recorded, key=lambda p: p["id"])
