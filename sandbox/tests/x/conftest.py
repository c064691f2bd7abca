"""Fixtures of the tests of X's stand-in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
import tweepy
from requests.adapters import HTTPAdapter
from support.producer import Kit, X
from support.producer import kit as make_kit


class Redirect(HTTPAdapter):
    """Sends what tweepy addresses to X to the stand-in; tweepy itself is as it is."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def send(self, request: requests.PreparedRequest, **kwargs: object) -> requests.Response:
        request.url = request.url.replace("https://api.twitter.com", self._url)
        kwargs["timeout"] = kwargs.get("timeout") or 60
        return super().send(request, **kwargs)


class Clients:
    """tweepy's clients, with the stand-in's keys."""

    def __init__(self, x: X) -> None:
        self._x = x

    def _mounted(self, client: tweepy.Client) -> tweepy.Client:
        client.session.mount("https://api.twitter.com/", Redirect(self._x.url))
        client.session.trust_env = False
        return client

    def app(self, bearer: str = "") -> tweepy.Client:
        return self._mounted(tweepy.Client(bearer or self._x.keys["bearer_token"]))

    def user(self, **changed: str) -> tweepy.Client:
        keys = {**self._x.keys, **changed}
        names = ("api_key", "api_secret", "access_key", "access_secret")
        return self._mounted(tweepy.Client(None, *(keys[name] for name in names)))

    def stream(self, kind: type[tweepy.StreamingClient]) -> tweepy.StreamingClient:
        return self._mounted(kind(self._x.keys["bearer_token"], max_retries=0, daemon=True))


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with make_kit(tmp_path) as made:
        yield made


@pytest.fixture
def x(kit: Kit) -> X:
    return kit.x()


@pytest.fixture
def clients_of() -> Callable[[X], Clients]:
    return Clients


@pytest.fixture
def clients(x: X) -> Clients:
    return Clients(x)
