"""Posts from a file: what trials without X begin with."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import requests
from support.producer import PATIENCE, Kit, Sink, wait_for

from twitter_producer.metrics import Metrics
from twitter_producer.progress import Progress
from twitter_producer.sources.replay import ReplayReader


def _file(kit: Kit, ids: list[int], *, wrapped: bool = True) -> Path:
    posts = [{"id": str(post_id), "text": f'"post"\n{post_id} 🐦'} for post_id in ids]
    path = kit.folder / "posts.json"
    path.write_text(json.dumps({"data": posts} if wrapped else posts))
    return path


def _settings(kit: Kit, sink: Sink, path: Path, **more: Any) -> dict[str, Any]:
    state = {"state": "file", "state_file": kit.folder / "state.json"}
    return {"k_sink": sink.url, "source": "replay", "replay_file": path, **state, **more}


def _ids(count: int) -> list[int]:
    return [(1 << 60) + n for n in range(count)]


@pytest.mark.parametrize("wrapped", [True, False])
def test_each_post_of_a_file_arrives_once_in_the_order_of_ids(kit: Kit, *, wrapped: bool) -> None:
    sink, ids = kit.sink(), _ids(250)
    path = _file(kit, [*reversed(ids), ids[7]], wrapped=wrapped)
    producer = kit.producer(**_settings(kit, sink, path, run_once="true"))
    assert producer.wait() == 0
    assert sink.ids == [str(post_id) for post_id in ids]
    assert sink.received[7].data["text"] == f'"post"\n{ids[7]} 🐦'


def test_it_goes_on_where_it_was_stopped(kit: Kit) -> None:
    sink, ids = kit.sink(answers=[(202, {})] * 30 + [(503, {"Retry-After": "60"})]), _ids(150)
    settings = _settings(kit, sink, _file(kit, ids))
    producer = kit.producer(**settings)
    wait_for(lambda: sink.refused)
    assert producer.stop() == 0
    assert len(sink.received) == 30
    kit.producer(**settings, run_once="true")
    wait_for(lambda: len(sink.received) == 150)
    assert sink.ids == [str(post_id) for post_id in ids]


def test_rate_spaces_the_posts(kit: Kit) -> None:
    sink = kit.sink()
    settings = _settings(kit, sink, _file(kit, _ids(5)), replay_rate=10, run_once="true")
    assert kit.producer(**settings).wait() == 0
    assert sink.received[-1].at - sink.received[0].at >= 0.4


def test_at_the_end_of_the_file_it_stays_up_and_rests(kit: Kit) -> None:
    sink, path = kit.sink(), _file(kit, _ids(3))
    producer = kit.producer(**_settings(kit, sink, path))
    wait_for(lambda: len(sink.received) == 3)
    requests.get(producer.url + "/healthz", timeout=PATIENCE).raise_for_status()
    assert producer.stop() == 0
    source = ReplayReader(path, 0, Metrics())
    read = source.read(Progress.begin(datetime.now(UTC)))
    assert (len(read.posts), read.ended) == (3, True)
    assert source.pause() >= 1, "it would run in circles"


def test_what_is_no_file_of_posts_is_named(kit: Kit) -> None:
    sink, path = kit.sink(), kit.folder / "posts.json"
    path.write_text('{"posts": []}')
    producer = kit.producer(**_settings(kit, sink, path))
    assert producer.wait() == 2
    assert f"{path} is not a file of posts" in producer.log[-1]["message"]
    producer = kit.producer(**_settings(kit, sink, kit.folder / "absent.json"))
    assert producer.wait() == 2
    assert "REPLAY_FILE" in producer.log[-1]["message"]
