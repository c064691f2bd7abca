"""The loop of the original demo, written down from its description: the producer's peer.

It polls without since_id, formats JSON with %s, and posts each event on a connection of its own,
without timeout, retry or a look at the answer.
"""

from __future__ import annotations

import os
import time

import requests
import tweepy
from requests.adapters import HTTPAdapter


class _Redirect(HTTPAdapter):
    """The one change: tweepy's address leads to the stand-in."""

    def send(self, request: requests.PreparedRequest, **options: object) -> requests.Response:
        url = os.environ["X_API_URL"]
        request.url = str(request.url).replace("https://api.twitter.com", url)
        return super().send(request, **options)


def make_msg(post: tweepy.Tweet) -> str:
    """Return the event as the original put it together."""
    return '[{"id": "%s", "text": "%s"}]' % (post.id, post.text)  # noqa: UP031 - that is the point


def poll(client: tweepy.Client) -> None:
    """Read the newest page and send it on."""
    posts = client.search_recent_tweets("knative", user_auth=True, max_results=100).data or []
    for post in posts:
        requests.post(
            os.environ["K_SINK"],
            data=make_msg(post).encode(),
            headers={"Content-Type": "application/cloudevents+json"},
        )


def main() -> None:
    """Poll as often as asked for; prints the seconds that each poll took."""
    names = ("X_API_KEY", "X_API_SECRET", "X_ACCESS_KEY", "X_ACCESS_SECRET")
    client = tweepy.Client(None, *(os.environ[name] for name in names))
    client.session.mount("https://api.twitter.com/", _Redirect())
    for _ in range(int(os.environ["POLLS"])):
        began = time.monotonic()
        poll(client)
        print(time.monotonic() - began, flush=True)


if __name__ == "__main__":
    main()
