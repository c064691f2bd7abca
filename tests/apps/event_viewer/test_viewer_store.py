"""What every store does, and what goes wrong with files and servers."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import resource
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from apps.event_viewer.viewer_support import (
    PATIENCE,
    OpenStore,
    Start,
    Stream,
    redis_server,
    wait_until,
    workers,
)
from support.ports import free_port

from event_viewer.cloudevents import Event
from event_viewer.reading import MAX_SEARCHES, Reader
from event_viewer.settings import load
from event_viewer.store import open_store
from event_viewer.store.interface import Query, Rejection, Store, StoreBusy

Make = Callable[..., dict[str, Any]]


def events(count: int, start: int = 1, **members: Any) -> list[Event]:
    """Events 1, 2, … of one source."""
    made = []
    for number in range(start, start + count):
        event = {"specversion": "1.0", "id": str(number), "source": "/s", "type": "t", **members}
        made.append(Event("/s", str(number), event["type"], "", json.dumps(event).encode(), "text"))
    return made


def ids(store: Store, **query: Any) -> list[int]:
    return [int(json.loads(record.event)["id"]) for record in store.page(Query(**query)).records]


def test_order_and_positions(opened: OpenStore) -> None:
    store = opened()
    assert store.last() == 0
    assert store.append(events(5), []) == [True] * 5
    assert store.last() == 5
    assert [record.seq for record in store.after(2, 2)] == [3, 4]
    assert ids(store) == [5, 4, 3, 2, 1]


def test_duplicates_within_and_across(opened: OpenStore) -> None:
    store = opened()
    assert store.append([*events(2), *events(1)], []) == [True, True, False]
    assert opened().append(events(3), []) == [False, False, True]
    assert [record.seq for record in store.after(0, 10)] == [1, 2, 3]


def test_paging_to_the_end(opened: OpenStore) -> None:
    store = opened()
    store.append(events(1250), [])
    seen, cursor = [], None
    while True:
        page = store.page(Query(limit=100, cursor=cursor))
        seen += [record.seq for record in page.records]
        cursor = page.next
        if cursor is None:
            break
    assert seen == list(range(1250, 0, -1))


def test_bounded_by_count(opened: OpenStore) -> None:
    store = opened(KEEP_EVENTS=10)
    for first in range(1, 400, 7):
        store.append(events(7, first), [])
    last = store.last()
    assert ids(store, limit=100) == list(range(last, last - 10, -1))
    assert store.total() == 10
    assert [record.seq for record in store.after(0, 100)] == list(range(last - 9, last + 1))


def test_an_event_may_come_again_once_it_is_gone(opened: OpenStore) -> None:
    store = opened(KEEP_EVENTS=10)
    store.append(events(300), [])
    assert store.append(events(1), []) == [True]


def test_bounded_by_age(opened: OpenStore, monkeypatch: pytest.MonkeyPatch) -> None:
    store = opened(KEEP_SECONDS=3600)
    store.append(events(3), [])
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + 3601 * 1_000_000_000)
    store.append(events(1, 4), [])
    store.maintain()
    assert ids(store) == [4]
    assert store.total() == 1
    assert [record.seq for record in store.after(0, 10)] == [4]


def test_large_events_come_in_smaller_pages(opened: OpenStore) -> None:
    """Ten events of 1 MB: no answer holds more than some of them, and following finds all."""
    store = opened()
    store.append(events(10, data="x" * 1_000_000), [])
    page = store.page(Query(limit=100))
    assert len(page.records) == 4
    assert page.next == page.records[-1].seq
    seen, cursor = [], None
    while True:
        page = store.page(Query(limit=100, cursor=cursor, text="xxx"))
        seen += [record.seq for record in page.records]
        cursor = page.next
        if cursor is None:
            break
    assert seen == list(range(10, 0, -1))
    assert [record.seq for record in store.after(4, 100)] == [5, 6, 7, 8]
    assert [record.seq for record in store.after(4, 100, 1)] == [5]


def test_filters(opened: OpenStore) -> None:
    store = opened()
    store.append(events(2, type="a"), [])
    store.append(events(2, 3, type="b"), [])
    store.append(events(1, 5, data={"text": 'Grüße & "quotes"\nÀ LA CARTE 😀'}), [])
    assert ids(store, type="a") == [2, 1]
    assert ids(store, type="a", limit=1) == [2]
    assert ids(store, id="3") == [3]
    assert ids(store, source="/s", id="3") == [3]
    assert ids(store, source="/other") == []
    for text in ("grüsse", "GRÜẞE", '"quotes"', "à la carte", "😀"):
        assert ids(store, text=text) == [5], text
    middle = store.after(2, 1)[0].received
    assert set(ids(store, since=middle)) >= {3, 4, 5}
    assert ids(store, since=int(time.time() * 1000) + 10_000) == []


def test_a_search_ends_with_its_time(opened: OpenStore) -> None:
    """It returns how far it got, and whoever continues there comes to the end."""
    store = opened()
    store.append(events(300, data="hay"), [])
    store.append(events(1, 301, data="needle"), [])
    store.append(events(300, 302, data="hay"), [])
    found, cursor, pages = [], None, 0
    while True:
        page = store.page(Query(text="needle", cursor=cursor), deadline=0)
        found += [record.seq for record in page.records]
        pages += 1
        if page.next is None:
            break
        assert cursor is None or page.next < cursor
        assert page.expired
        cursor = page.next
    assert found == [301]
    assert pages > 1


def test_a_page_ends_early_where_too_many_searches_run(opened: OpenStore) -> None:
    """It is complete JSON all the same, and says where it continues."""
    store = opened()
    store.append(events(200, data="x" * 1000), [])

    async def read() -> Any:
        reader = Reader(store, 5)
        query = Query(type="t")
        first = await reader.page(query, 10_000)
        busy = [asyncio.create_task(reader.search(until)) for _ in range(MAX_SEARCHES)]
        await asyncio.sleep(0)
        parts = [part async for part in reader.page_parts(query, first)]
        done.set()
        await asyncio.gather(*busy)
        reader.close()
        return json.loads(b'{"events":[' + b"".join(parts) + b"}")

    def until(_deadline: float) -> None:
        done.wait(PATIENCE)

    done = threading.Event()
    page = asyncio.run(read())
    seqs = [record["seq"] for record in page["events"]]
    assert seqs == list(range(200, page["next"] - 1, -1))
    assert 1 < len(seqs) < 100


def test_parts_of_an_event(opened: OpenStore) -> None:
    store = opened()
    store.append(events(3, data="x" * 1000), [])
    (record,) = store.after(1, 1)
    parts = [store.part(2, offset, 300) for offset in range(0, len(record.event), 300)]
    assert b"".join(parts) == record.event
    assert store.part(99, 0, 300) == b""


def test_rejections_and_counts(opened: OpenStore) -> None:
    store = opened(KEEP_REJECTED=3)
    for number in range(5):
        rejection = Rejection("t", 400, f"reason {number}", "", {}, 0, "")
        store.append(events(1, 1), [rejection])
    assert [one.reason for one in store.rejected(10)] == ["reason 4", "reason 3", "reason 2"]
    assert [one.reason for one in store.rejected(10, 1)] == ["reason 3", "reason 2"]
    assert store.rejected(10, 3) == []
    assert store.rejected_total() == 3
    (minute,) = store.minutes(0)[-1:]
    total = [sum(values) for values in zip(*(one[1:] for one in store.minutes(0)), strict=True)]
    assert total == [1, 4, 5]
    assert abs(minute.minute - time.time() / 60) < 2


def test_racing_writers_see_one_order(opened: OpenStore) -> None:
    stores = [opened(WORKERS=2) for _ in range(2)]

    def write(store: Store) -> int:
        count = 0
        for number in range(20):
            count += sum(wait_until(lambda number=number: append(store, number)))
        return count

    def append(store: Store, number: int) -> list[bool]:
        try:
            return store.append(events(20, number * 10 + 1), [])
        except StoreBusy:
            return []

    with ThreadPoolExecutor(2) as pool:
        new = list(pool.map(write, stores))
    records = stores[0].after(0, 1000)
    assert sum(new) == len(records) == 210
    assert [record.seq for record in records] == sorted(record.seq for record in records)
    assert records == stores[1].after(0, 1000)


# Files


def test_the_history_survives_a_restart(start: Start, event: Make, tmp_path: Path) -> None:
    first = start(STORE=tmp_path / "events.db")
    first.send(event(1))
    first.post(data=b"bad")
    wait_until(first.rejected)
    assert first.stop() == 0
    second = start(STORE=tmp_path / "events.db")
    assert [record["event"] for record in second.events()] == [event(1)]
    assert second.rejected()[0]["body"] == "bad"


TEXTS = ["Grüße", 'a "quoted" word', "line\nbreak", "日本語のテキスト", "NULL \0 inside", "100% _ ok",
         "emoji 😀 here", "plain words", "x" * 100_000 + "beyond"]  # fmt: skip


def test_the_index_finds_what_reading_finds(tmp_path: Path) -> None:
    needles = ["grüsse", "ÜSS", '"quoted" w', "line\nb", "日本語", "本語の", "日", "NULL \0 in", "% _",
               "😀 he", "plain words", "lain wor", "absent", "xxxx", "beyond", '" OR "', "*", "word* AND"]  # fmt: skip
    with contextlib.closing(open_store(load(store=str(tmp_path / "events.db")))) as store:
        for number, text in enumerate(TEXTS, 1):
            store.append(events(1, number, data=text), [])
        before = {needle: ids(store, text=needle) for needle in needles}
        assert before["grüsse"] == [1]
        assert before["日"] == [4]
        assert before["beyond"] == []  # only the start of an event is searched
        store.maintain()
        with sqlite3.connect(tmp_path / "events.db") as look:
            assert look.execute("SELECT value FROM meta WHERE key = 'indexed'").fetchone() == (
                "1 9",
            )
            search = 'SELECT count(*) FROM search WHERE search MATCH \'"pla" AND "lai"\''
            assert look.execute(search).fetchone() == (1,)
        assert {needle: ids(store, text=needle) for needle in needles} == before
        store.append(events(1, 10, data="plain and not indexed yet"), [])
        assert ids(store, text="plain") == [10, 8]


def test_the_index_follows_the_history(tmp_path: Path) -> None:
    """What is not kept any more leaves the index once it is the larger half."""
    path = tmp_path / "events.db"
    with contextlib.closing(open_store(load(store=str(path), keep_events="100"))) as store:
        for first in range(1, 1000, 5):
            store.append(events(5, first, data=f"words {first}"), [])
            store.maintain()
        assert ids(store, text="words 996") == [1000, 999, 998, 997, 996]
        assert ids(store, text="words 6") == []
        with sqlite3.connect(path) as look:
            (indexed,) = look.execute("SELECT value FROM meta WHERE key = 'indexed'").fetchone()
            first, last = map(int, indexed.split())
            (rows,) = look.execute(
                "SELECT count(*) FROM search WHERE search MATCH 'wor'"
            ).fetchone()
        assert last == 1000
        assert rows == last - first + 1 <= 300


def test_bounded_by_size(tmp_path: Path) -> None:
    """The file does not grow beyond KEEP_BYTES, the oldest events go."""
    path = tmp_path / "events.db"
    with contextlib.closing(open_store(load(store=str(path), keep_bytes="2000000"))) as store:
        for number in range(100):
            store.append(events(1, number, data="x" * 50_000), [])
            store.maintain()
        kept = [record.seq for record in store.after(0, 1000)]
        assert kept == list(range(101 - len(kept), 101))
        assert 25 < len(kept) < 45
        assert path.stat().st_size < 3_000_000


def test_a_worker_follows_another_that_moved_the_file_aside(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    settings = load(store=str(path), workers="2")
    with contextlib.closing(open_store(settings)) as slow:
        slow.append(events(3), [])
        path.rename(tmp_path / "aside")
        with contextlib.closing(open_store(settings)) as quick:
            quick.append(events(1, 10), [])
            slow.append(events(1, 20), [])
            assert ids(quick) == ids(slow) == [20, 10]
            assert slow.epoch == quick.epoch


@pytest.mark.parametrize("damage", ["no database", "torn"])
def test_a_damaged_file_is_moved_aside(
    start: Start, event: Make, tmp_path: Path, damage: str
) -> None:
    store = tmp_path / "events.db"
    first = start(STORE=store)
    first.send_batch([event(number, data="x" * 1000) for number in range(200)])
    first.stop()
    content = store.read_bytes()
    if damage == "no database":
        store.write_bytes(b"this is no database at all" * 1000)
    else:
        store.write_bytes(content[: len(content) // 2] + b"\xff" * (len(content) // 2))
    second = start(STORE=store)
    assert second.events() == []
    assert second.send(event(1)).status_code == 202
    assert list(tmp_path.glob("events.db.corrupt-*"))
    assert re.search(
        r"the store .*events.db is damaged .* moved to .*, starting afresh", second.log
    )


def test_damage_while_it_runs(start: Start, event: Make, tmp_path: Path) -> None:
    store = tmp_path / "events.db"
    viewer = start(STORE=store)
    viewer.send_batch([event(number, data="x" * 3000) for number in range(500)])
    with sqlite3.connect(store, timeout=PATIENCE) as connection:
        # Busy while the viewer makes its index; what is left in the log would hide the damage.
        wait_until(lambda: connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0)
    with store.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (store.stat().st_size - 8192))

    def recovered() -> bool:
        taken = viewer.send(event(f"new-{time.time()}")).status_code == 202
        return taken and bool(list(tmp_path.glob("events.db.corrupt-*")))

    wait_until(recovered)
    assert viewer.events()
    assert viewer.get("/readyz").status_code == 200


def test_a_full_disk(start: Start, event: Make, tmp_path: Path) -> None:
    """Events are refused, not lost or held in memory, and taken again once there is room."""
    viewer = start(STORE=tmp_path / "events.db")
    (worker,) = workers(viewer)
    unlimited = resource.prlimit(worker, resource.RLIMIT_FSIZE)
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (200_000, unlimited[1]))
    statuses = [
        viewer.send_batch([event(f"{batch}-{n}", data="x" * 1000) for n in range(20)]).status_code
        for batch in range(30)
    ]
    assert statuses[0] == 202
    assert statuses[-1] == 503
    answer = viewer.send(event("large", data="x" * 300_000))
    assert answer.headers["retry-after"]
    assert "cannot be stored" in answer.json()["error"]
    resource.prlimit(worker, resource.RLIMIT_FSIZE, (4096, unlimited[1]))
    assert viewer.send(event("small")).status_code == 503
    assert viewer.get("/readyz").status_code == 503
    assert viewer.get("/healthz").status_code == 200
    kept = len(viewer.events(limit=1000))
    assert kept == 20 * statuses.count(202)
    assert "the store cannot be written" in viewer.log
    resource.prlimit(worker, resource.RLIMIT_FSIZE, unlimited)
    assert viewer.get("/readyz").status_code == 200
    assert viewer.send(event("late")).status_code == 202
    assert len(viewer.events(limit=1000)) == kept + 1


def test_back_pressure(start: Start, event: Make, tmp_path: Path) -> None:
    """While the store is held by somebody else events wait, up to a limit; then it is 429."""
    store = tmp_path / "events.db"
    viewer = start(
        STORE=store,
        MAX_PENDING_BYTES=100_000,
        MAX_BODY_BYTES=50_000,
        STORE_TIMEOUT_SECONDS=2 * PATIENCE,
    )
    other = sqlite3.connect(store, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    def send(number: int) -> Any:
        return viewer.send(event(number, data="x" * 20_000))

    with ThreadPoolExecutor(12) as pool:
        pending = [pool.submit(send, number) for number in range(12)]
        wait_until(lambda: sum(one.done() for one in pending) >= 8)
        refused = [one.result() for one in pending if one.done()]
        assert {answer.status_code for answer in refused} == {429}
        assert all(answer.headers["retry-after"] == "1" for answer in refused)
        assert viewer.get("/healthz").status_code == 200
        other.execute("ROLLBACK")
        taken = [one.result() for one in pending]
    assert sum(answer.status_code == 202 for answer in taken) == 12 - len(refused) == 4
    assert len(viewer.events()) == 4
    assert "event_viewer_requests_throttled_total 8.0" in viewer.get("/metrics").text
    other.close()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (
            {"STORE": "/nowhere/at/all.db"},
            "STORE=/nowhere/at/all.db: there is no folder /nowhere/at",
        ),
        ({"STORE": "mysql://db"}, "STORE=mysql://db: has to be"),
        (
            {"PORT": "http", "KEEP_EVENTS": "0"},
            "KEEP_EVENTS=0: Input should be greater than or equal to 1",
        ),
        ({"USER_HEADER": "X-User"}, "USER_HEADER=X-User: needs PROXY_TOKEN_FILE"),
        ({"READ_TOKEN_FILE": "/dev/null"}, "READ_TOKEN_FILE=/dev/null: /dev/null is empty"),
        ({"READ_TOKEN": "a", "READ_TOKEN_FILE": __file__}, "and READ_TOKEN are both set"),
        ({"WRITE_USERS": "a@example.com"}, "needs USER_HEADER"),
        ({"PORT": "8081", "TRIGGER_PORT": "8081"}, "and TRIGGER_PORT have to differ"),
        ({"MAX_BODY_BYTES": "100000", "MAX_PENDING_BYTES": "70000"}, "at most MAX_PENDING_BYTES"),
        ({"STORE": "postgres://user:secret@db"}, "STORE: has to be a file's path"),
        ({"REPLAY_SINKS": "ftp://x"}, "REPLAY_SINKS=ftp://x: is not a valid http or https URL"),
        ({"TRUSTED_PROXIES": "10.0.0.0/33"}, "TRUSTED_PROXIES=10.0.0.0/33"),
        (
            {"USER_HEADER": "X-User", "TRUSTED_PROXIES": "127.0.0.0/8", "K_REVISION": "viewer-1"},
            "TRUSTED_PROXIES cannot be used in a Knative Service",
        ),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, str], problem: str) -> None:
    from event_viewer.settings import SettingsError  # noqa: PLC0415 - only here

    with pytest.raises(SettingsError) as caught:
        load(**{name.lower(): value for name, value in settings.items()})
    assert problem in str(caught.value)
    assert "secret" not in str(caught.value)


# Redis


@pytest.mark.needs("redis-server")
def test_replicas_show_the_same(start: Start, event: Make, tmp_path: Path) -> None:
    with redis_server(tmp_path) as url:
        one, other = start(STORE=url), start(STORE=url)
        streams = [Stream(one), Stream(other)]
        one.send(event(1))
        other.send(event(2))
        other.send(event(1))
        one.post(data=b"bad")
        assert one.events() == other.events()
        assert [record["event"]["id"] for record in one.events()] == ["2", "1"]
        assert wait_until(other.rejected)[0]["body"] == "bad"
        assert one.get("/api/stats").json()["rejected"] == 1
        for stream in streams:
            assert stream.wait_for(2) == ["1", "2"]
        # A client goes on at another replica where it was at the first.
        other.send(event(3))
        assert Stream(one, last=streams[1].messages[0][0]).wait_for(2) == ["2", "3"]


@pytest.mark.needs("redis-server")
def test_redis_comes_and_goes(start: Start, event: Make, tmp_path: Path) -> None:
    port = free_port()
    with redis_server(tmp_path, port) as url:
        viewer = start(STORE=url)
        assert viewer.get("/readyz").status_code == 200
        assert viewer.send(event(1)).status_code == 202
    # Told before an event has failed.
    wait_until(lambda: viewer.get("/readyz").status_code == 503)
    assert viewer.send(event(2)).status_code == 503
    assert viewer.get("/api/events").status_code == 503
    assert viewer.get("/healthz").status_code == 200
    with redis_server(tmp_path, port):
        wait_until(lambda: viewer.get("/readyz").status_code == 200)
        assert viewer.send(event(2)).status_code == 202
