"""The filtered stream of X's stand-in, through unmodified tweepy."""

from __future__ import annotations

import json

import pytest
import requests
import tweepy
from support.producer import X, wait_for


class Listener(tweepy.StreamingClient):
    """Keeps what arrives."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.lines: list[dict] = []
        self.statuses: list[int] = []
        self.open = False
        self.closed = False

    def on_connect(self) -> None:
        self.open = True

    def on_data(self, raw_data: bytes) -> None:
        self.lines.append(json.loads(raw_data))

    def on_request_error(self, status_code: int) -> None:
        self.statuses.append(status_code)
        self.disconnect()

    def on_closed(self, response: requests.Response) -> None:
        self.closed = True
        self.disconnect()

    def on_connection_error(self) -> None:
        self.disconnect()


@pytest.fixture
def listener(clients, x: X):
    made = clients.stream(Listener)
    yield made
    made.disconnect()
    x.control("POST", "/disconnect")
    if made.thread is not None:
        made.thread.join(60)


def _listen(listener: Listener, **parameters: object) -> None:
    listener.filter(threaded=True, **parameters)
    wait_for(lambda: listener.open)


def test_rules_are_added_listed_and_deleted(listener: Listener) -> None:
    answer = listener.add_rules([tweepy.StreamRule("knative", "a"), tweepy.StreamRule("(bad")])
    assert [rule.value for rule in answer.data] == ["knative"]
    assert answer.meta["summary"] == {"created": 1, "not_created": 1, "valid": 1, "invalid": 1}
    assert "unbalanced" in answer.errors[0]["detail"]
    again = listener.add_rules(tweepy.StreamRule("knative", "a"))
    assert again.errors[0]["title"] == "DuplicateRule"
    [rule] = listener.get_rules().data
    assert (rule.value, rule.tag) == ("knative", "a")
    assert listener.delete_rules(rule.id).meta["summary"] == {"deleted": 1, "not_deleted": 0}
    assert listener.get_rules().data is None


def test_matching_posts_arrive_with_their_rules_and_are_billed(x: X, listener: Listener) -> None:
    listener.add_rules([tweepy.StreamRule("knative", "k"), tweepy.StreamRule("cats", "c")])
    _listen(listener, tweet_fields=["lang"])
    ids = x.publish(
        {"text": "knative and cats", "lang": "en"},
        {"text": "dogs"},
        {"text": "more cats"},
        matching="text",
    )
    wait_for(lambda: len(listener.lines) == 2)
    first, second = listener.lines
    assert first["data"]["id"] == ids[0]
    assert first["data"]["lang"] == "en"
    assert "created_at" not in first["data"]
    assert [rule["tag"] for rule in first["matching_rules"]] == ["k", "c"]
    assert [rule["tag"] for rule in second["matching_rules"]] == ["c"]
    assert x.bill()["billed"] == 2


def test_one_connection_at_a_time(clients, listener: Listener) -> None:
    _listen(listener)
    other = clients.stream(Listener)
    other.filter()
    assert other.statuses == [429]


def test_the_stream_is_for_apps_only(x: X, clients) -> None:
    session = requests.Session()
    auth = tweepy.OAuth1UserHandler(
        *(x.keys[name] for name in ("api_key", "api_secret", "access_key", "access_secret"))
    ).apply_auth()
    answer = session.get(x.url + "/2/tweets/search/stream", auth=auth, timeout=60)
    assert answer.status_code == 403
    assert "Application-Only" in answer.json()["detail"]


def test_x_may_close_the_stream(x: X, listener: Listener) -> None:
    _listen(listener)
    x.control("POST", "/disconnect")
    wait_for(lambda: not listener.thread.is_alive())
    wait_for(lambda: not x.control("GET")["stream"])


def test_connecting_is_limited(x: X, clients) -> None:
    x.control("PUT", "/limits", {"stream/app": 0})
    listener = clients.stream(Listener)
    listener.filter()
    assert listener.statuses == [429]


def test_bearer_is_exchanged_for_the_apps_keys(x: X) -> None:
    def exchange(key: str, secret: str, **form: str) -> requests.Response:
        return requests.post(x.url + "/oauth2/token", auth=(key, secret), data=form, timeout=60)

    keys = x.keys
    answer = exchange(keys["api_key"], keys["api_secret"], grant_type="client_credentials")
    assert answer.json() == {"token_type": "bearer", "access_token": keys["bearer_token"]}
    wrong = exchange(keys["api_key"], "wrong", grant_type="client_credentials")
    assert wrong.status_code == 403
    assert exchange(keys["api_key"], keys["api_secret"]).status_code == 403
