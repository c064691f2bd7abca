"""The posts that the stand-in brings along, and files of posts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from streamops_sandbox.x.posts import OWN_POSTS, Posts, PostsError, Script
from streamops_sandbox.x.query import parse

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)


def test_some_are_there_and_new_ones_appear() -> None:
    posts = Posts(Script.load(OWN_POSTS), NOW)
    assert len(posts) == 12
    assert all(post.published < NOW for post in posts)
    new = posts.appear(NOW + timedelta(seconds=35))
    assert [post.published for post in new] == [NOW + timedelta(seconds=s) for s in (10, 20, 30)]
    assert posts.seconds_to_next(NOW + timedelta(seconds=35)) == 5
    ids = [post.id for post in posts]
    assert ids == sorted(set(ids))


def test_most_of_them_match_what_the_demo_looks_for() -> None:
    matches = parse("knative", 512)
    entries = Script.load(OWN_POSTS).data
    assert sum(matches(entry) for entry in entries[:12]) >= 6
    assert sum(matches(entry) for entry in entries) < len(entries)


def test_they_repeat_with_new_ids_and_are_forgotten() -> None:
    posts = Posts(Script.load(OWN_POSTS), NOW)
    posts.appear(NOW + timedelta(hours=1))
    assert len(posts) == 12 + 360
    posts.appear(NOW + timedelta(days=8))
    assert all(post.published > NOW + timedelta(days=1) for post in posts)


@pytest.mark.parametrize(
    ("text", "part"),
    [("nonsense", "no JSON"), ("{}", "holds no posts"), ('[{"id": 5}]', "no id of digits")],
)
def test_file_that_holds_no_posts(tmp_path: Path, text: str, part: str) -> None:
    path = tmp_path / "posts.json"
    path.write_text(text)
    with pytest.raises(PostsError, match=part):
        Script.load(path)
    with pytest.raises(PostsError, match="no JSON"):
        Script.load(tmp_path / "missing.json")


def test_file_may_let_posts_appear_one_by_one(tmp_path: Path) -> None:
    path = tmp_path / "posts.json"
    path.write_text(json.dumps({"data": [{"text": "a"}, {"text": "b"}], "start": 1, "every": 60}))
    posts = Posts(Script.load(path), NOW)
    assert [post.data["text"] for post in posts] == ["a"]
    assert [p.data["text"] for p in posts.appear(NOW + timedelta(hours=1))] == ["b"]
    assert posts.seconds_to_next(NOW) is None
