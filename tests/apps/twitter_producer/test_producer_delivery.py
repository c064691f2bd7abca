"""What sinks do, and what becomes of the posts."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import threading
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import unquote

import pytest
import requests
from support.producer import PATIENCE, Kit, Producer, Received, wait_for
from support.tls import issue


def test_what_may_pass_is_sent_again_in_order(kit: Kit) -> None:
    statuses = [404, 408, 409, 429, 500, 503, 0]
    x, sink = kit.x(), kit.sink(answers=[(status, {}) for status in statuses])
    ids = x.publish_many(5)
    producer = kit.producer(**kit.searching(x, sink))
    wait_for(lambda: len(sink.received) == 5)
    assert sink.ids == ids
    assert [event.id for event in sink.refused] == [ids[0]] * len(statuses)
    entry = producer.saying("they are kept and sent again")
    assert (entry["status"], entry["sink"]) == (404, sink.url)


def test_what_is_refused_for_good_goes_to_the_dead_letter_file(kit: Kit) -> None:
    statuses = [301, 307, 400, 413, 415]
    elsewhere = {"Location": "http://127.0.0.1:9/"}
    x, sink = kit.x(), kit.sink(answers=[(status, dict(elsewhere)) for status in statuses])
    ids = x.publish_many(len(statuses) + 2)
    letters = kit.folder / "dead.jsonl"
    kit.producer(**kit.searching(x, sink, dead_letter_file=letters))
    wait_for(lambda: len(sink.received) == 2)
    assert sink.ids == ids[-2:]
    kept = [json.loads(line) for line in letters.read_text().splitlines()]
    assert [letter["status"] for letter in kept] == statuses
    assert [letter["event"]["id"] for letter in kept] == ids[:-2]
    assert kept[0]["reason"] == "no thanks"
    assert kept[0]["event"]["data"]["text"] == "post 0"


def test_dead_letter_sink_gets_the_event_with_the_reason(kit: Kit) -> None:
    x, sink, dead = kit.x(), kit.sink(answers=[(400, {})]), kit.sink(answers=[(503, {})])
    ids = x.publish_many(2)
    kit.producer(**kit.searching(x, sink, dead_letter_sink=dead.url))
    wait_for(lambda: sink.ids == ids[1:])
    assert dead.ids == ids[:1]
    assert dead.received[0].headers["ce-knativeerrorcode"] == "400"
    assert dead.received[0].headers["ce-knativeerrordata"] == "no%20thanks"


def test_without_dead_letter_the_log_has_the_event(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink(answers=[(400, {})])
    ids = x.publish_many(2)
    producer = kit.producer(**kit.searching(x, sink))
    wait_for(lambda: sink.ids == ids[1:])
    assert producer.saying("refused for good")["event"]["id"] == ids[0]


def test_retries_can_be_bounded(kit: Kit) -> None:
    x = kit.x()
    sink = kit.sink(answers=[(503, {})] * 3)
    ids = x.publish_many(2)
    letters = kit.folder / "dead.jsonl"
    kit.producer(**kit.searching(x, sink, delivery_retries=2, dead_letter_file=letters))
    wait_for(lambda: sink.ids == ids[1:])
    assert json.loads(letters.read_text())["status"] == 503


def test_retry_after_is_waited_for_as_seconds_and_as_a_date(kit: Kit) -> None:
    until = datetime.now(UTC) + timedelta(seconds=4)
    sink = kit.sink(
        answers=[
            (503, {"Retry-After": "1"}),
            (429, {"Retry-After": format_datetime(until, usegmt=True)}),
        ]
    )
    x = kit.x()
    x.publish_many(1)
    kit.producer(**kit.searching(x, sink))
    wait_for(lambda: sink.received)
    first, second = (event.at for event in sink.refused)
    assert second - first >= 1
    assert datetime.now(UTC) >= until.replace(microsecond=0)


def test_retry_after_is_capped(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink(answers=[(429, {"Retry-After": "3600"})])
    x.publish_many(1)
    kit.producer(**kit.searching(x, sink, retry_after_max_seconds=0.1))
    wait_for(lambda: sink.received)


def test_slow_sink_is_given_up_and_asked_again(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink(answers=[(500, {"sleep": "30"})])
    ids = x.publish_many(2)
    kit.producer(**kit.searching(x, sink, delivery_timeout_seconds=0.5))
    # On a busy machine an answer may be late that has accepted the post.
    wait_for(lambda: list(dict.fromkeys(sink.ids)) == ids)


def test_structured_mode_has_all_in_the_body(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    [post_id] = x.publish({"text": 'a "quote"\nand 🐦'})
    kit.producer(**kit.searching(x, sink, delivery_mode="structured"))
    wait_for(lambda: sink.received)
    event = sink.received[0]
    assert event.headers["content-type"].startswith("application/cloudevents+json")
    assert (event.data["id"], event.data["specversion"]) == (post_id, "1.0")
    assert event.data["data"]["text"] == 'a "quote"\nand 🐦'


def test_batch_mode_sends_several_and_finds_out_which_one_is_refused(kit: Kit) -> None:
    x = kit.x()
    sink = kit.sink(decide=lambda event: (400, {}) if b"poison" in event.body else None)
    ids = x.publish({"text": "a"}, {"text": "poison"}, {"text": "b"}, {"text": "c"})
    letters = kit.folder / "dead.jsonl"
    settings = {"delivery_mode": "batch", "batch_size": 3, "dead_letter_file": letters}
    kit.producer(**kit.searching(x, sink, **settings))
    wait_for(lambda: sum(len(event.data) for event in sink.received) == 3)
    assert [e["id"] for event in sink.received for e in event.data] == [ids[0], ids[2], ids[3]]
    assert json.loads(letters.read_text())["event"]["id"] == ids[1]
    assert sink.received[0].headers["content-type"].startswith("application/cloudevents-batch+json")


def test_batch_that_is_broken_off_repeats_nothing(kit: Kit) -> None:
    x, ids_in = kit.x(), lambda event: [e["id"] for e in event.data]
    sink = kit.sink(answers=[(400, {}), (202, {}), (202, {}), (503, {"Retry-After": "60"})])
    ids = x.publish_many(4)
    settings = kit.searching(x, sink, delivery_mode="batch")
    producer = kit.producer(**settings)
    wait_for(lambda: len(sink.refused) == 2)
    assert producer.stop() == 0
    assert [ids_in(event) for event in sink.received] == [[ids[0]], [ids[1]]]
    kit.producer(**settings)
    wait_for(lambda: len(sink.received) == 3)
    assert ids_in(sink.received[2]) == ids[2:]


def test_with_several_in_flight_a_post_is_overtaken_by_few(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(300)
    stuck = {"left": 5}

    def decide(event: Received) -> tuple[int, dict[str, str]] | None:
        if event.id == ids[100] and stuck["left"]:
            stuck["left"] -= 1
            return 503, {}
        return None

    sink.decide = decide
    kit.producer(**kit.searching(x, sink, delivery_concurrency=4))
    wait_for(lambda: len(sink.received) == 300)
    assert sorted(sink.ids) == sorted(ids)
    place = {post_id: position for position, post_id in enumerate(sink.ids)}
    overtaken = [place[post_id] - position for position, post_id in enumerate(ids)]
    assert max(overtaken) <= 3


def test_sink_that_is_down_for_long_gets_everything_afterwards(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink(decide=lambda _event: (0, {}))
    ids = x.publish_many(3)
    producer = kit.producer(**kit.searching(x, sink, backoff_max_seconds=0.1))
    wait_for(lambda: len(sink.refused) > 10)
    assert requests.get(producer.url + "/healthz", timeout=PATIENCE).status_code == 200
    assert requests.get(producer.url + "/readyz", timeout=PATIENCE).status_code == 200
    ids += x.publish_many(3)
    sink.decide = None
    wait_for(lambda: len(sink.received) == 6)
    assert sink.ids == ids


def test_sigterm_finishes_what_is_in_flight_and_stores_the_checkpoint(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    ids = x.publish_many(10)
    sink.answers = [(202, {})] * 4 + [(503, {"Retry-After": "60"})]
    settings = kit.searching(x, sink)
    producer = kit.producer(**settings)
    wait_for(lambda: sink.refused)
    assert producer.stop() == 0, "it waited until the grace period was over"
    assert sink.ids == ids[:4]
    kit.producer(**settings)
    wait_for(lambda: len(sink.received) == 10)
    assert sink.ids == ids


def test_one_shot_run_that_is_ended_early_has_failed(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink(answers=[(503, {"Retry-After": "60"})])
    x.publish_many(2)
    producer = kit.producer(**kit.searching(x, sink, run_once="true"))
    wait_for(lambda: sink.refused)
    assert producer.stop() == 1


def test_oidc_token_is_read_for_each_request(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    token = kit.folder / "token"
    token.write_text("first\n")
    x.publish_many(1)
    kit.producer(**kit.searching(x, sink, oidc_token_file=token))
    wait_for(lambda: len(sink.received) == 1)
    token.write_text("second\n")
    x.publish_many(1)
    wait_for(lambda: len(sink.received) == 2)
    sent = [event.headers["authorization"] for event in sink.received]
    assert sent == ["Bearer first", "Bearer second"]


def test_token_for_the_sink_is_read_for_each_request_and_not_sent_to_the_dead_letter(
    kit: Kit,
) -> None:
    x, sink, dead = kit.x(), kit.sink(answers=[(400, {})]), kit.sink()
    token, oidc = kit.folder / "write-token", kit.folder / "oidc"
    oidc.write_text("oidc")
    token.write_text("first\n")
    x.publish_many(2)
    kit.producer(
        **kit.searching(x, sink, sink_token_file=token, oidc_token_file=oidc),
        dead_letter_sink=dead.url,
    )
    wait_for(lambda: len(sink.received) == 1)
    token.write_text("second\n")
    x.publish_many(1)
    wait_for(lambda: len(sink.received) == 2)
    sent = [event.headers["authorization"] for event in sink.received]
    assert sent == ["Bearer first", "Bearer second"]
    assert "authorization" not in dead.received[0].headers


@pytest.mark.parametrize("content", [None, "", "two words", "línea", "a\x00b"])
def test_token_that_cannot_be_used_is_named_and_waited_for(kit: Kit, content: str | None) -> None:
    x, sink = kit.x(), kit.sink()
    token = kit.folder / "write-token"
    if content is not None:
        token.write_text(content)
    ids = x.publish_many(1)
    settings = kit.searching(x, sink, sink_token_file=token, backoff_max_seconds=0.1)
    producer = kit.producer(**settings)
    assert str(token) in producer.saying("they are kept and sent again")["reason"]
    assert not sink.refused
    token.write_text("right")
    wait_for(lambda: sink.ids == ids)
    shown = json.dumps(producer.log)
    assert not content or content not in shown


@pytest.mark.parametrize("status", [401, 403])
def test_sink_that_refuses_the_token_gets_every_post_when_it_accepts_it(
    kit: Kit, status: int
) -> None:
    """The posts are paid for, and none of them is to blame."""
    x, letters = kit.x(), kit.folder / "dead.jsonl"
    token = kit.folder / "write-token"
    token.write_text("old")
    sink = kit.sink(
        decide=lambda event: (
            None if event.headers.get("authorization") == "Bearer new" else (status, {})
        )
    )
    ids = x.publish_many(3)
    settings = kit.searching(x, sink, sink_token_file=token, backoff_max_seconds=0.1)
    producer = kit.producer(**settings, dead_letter_file=letters, delivery_retries=1)
    entry = producer.saying("the sink refuses this producer's token")
    assert (entry["severity"], entry["status"]) == ("ERROR", status)
    assert "SINK_TOKEN_FILE" in entry["message"]
    wait_for(lambda: len(sink.refused) > 3)
    state = requests.get(producer.url + "/status", timeout=PATIENCE).json()["state"]
    assert "refuses this producer's token" in state
    token.write_text("new")
    wait_for(lambda: sink.ids == ids)
    assert not letters.exists()
    wait_for(lambda: _state(producer) == "running")


def _state(producer: Producer) -> str:
    return requests.get(producer.url + "/status", timeout=PATIENCE).json()["state"]


def test_sink_that_drips_is_given_up_and_sigterm_is_not_kept_waiting(kit: Kit) -> None:
    x, asked, done = kit.x(), threading.Event(), threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))

    def drip(connection: socket.socket) -> None:
        asked.set()
        with connection, contextlib.suppress(OSError):
            connection.sendall(b"HTTP/1.1 202 Accepted\r\n")
            while not done.wait(0.1):
                connection.sendall(b"X-Drip: 1\r\n")

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=drip, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sink = kit.sink()
    x.publish_many(1)
    settings = kit.searching(x, sink, shutdown_grace_seconds=2, delivery_timeout_seconds=0.5)
    settings["k_sink"] = f"http://127.0.0.1:{listener.getsockname()[1]}/"
    producer = kit.producer(**settings)
    assert "TimeoutError" in producer.saying("they are kept and sent again")["reason"]
    producer.kill()
    asked.clear()
    producer = kit.producer(**{**settings, "delivery_timeout_seconds": 5 * PATIENCE})
    assert asked.wait(PATIENCE)
    assert producer.stop(PATIENCE) == 0
    listener.close()
    done.set()


def test_control_characters_of_a_refusal_do_not_block_the_dead_letter(kit: Kit) -> None:
    x, dead = kit.x(), kit.sink()
    sink = kit.sink(answers=[(400, {})], refusal="no\x00 \x1b[31m\x85 \u2028 thanks")
    ids = x.publish_many(2)
    kit.producer(**kit.searching(x, sink, dead_letter_sink=dead.url))
    wait_for(lambda: sink.ids == ids[1:] and dead.received)
    reason = unquote(dead.received[0].headers["ce-knativeerrordata"])
    assert reason.isprintable()
    assert reason.endswith("thanks")


def test_dead_letter_file_on_a_full_disk_keeps_whole_lines(kit: Kit) -> None:
    x, sink, letters = kit.x(), kit.sink(answers=[(400, {})] * 3), kit.folder / "dead.jsonl"
    letters.write_text('{"event": {"id": "cut')
    settings = kit.searching(
        x, sink, dead_letter_file=letters, state="none", backoff_max_seconds=0.1
    )
    producer = kit.producer(**settings)
    producer.saying("started")
    full = letters.stat().st_size + 100
    resource.prlimit(producer.pid, resource.RLIMIT_FSIZE, (full, resource.RLIM_INFINITY))
    ids = x.publish_many(4)
    producer.saying("the dead-letter file cannot be written")
    wait_for(lambda: letters.read_text() == '{"event": {"id": "cut')  # also between two attempts
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(producer.pid, resource.RLIMIT_FSIZE, unlimited)
    wait_for(lambda: sink.ids == ids[3:])
    lines = letters.read_text().splitlines()
    assert [json.loads(line)["event"]["id"] for line in lines[1:]] == ids[:3]


def test_password_in_the_url_of_the_sink_is_sent_and_never_shown(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink(answers=[(503, {}), (400, {})])
    ids = x.publish_many(2)
    settings = kit.searching(x, sink)
    settings["k_sink"] = sink.url.replace("//", "//user:pass%40word@") + "?key=s3cret"
    producer = kit.producer(**settings)
    wait_for(lambda: sink.ids == ids[1:])
    sent = b64decode(sink.received[0].headers["authorization"].removeprefix("Basic "))
    assert sent == b"user:pass@word"
    status = requests.get(producer.url + "/status", timeout=PATIENCE).text
    probe = requests.post(producer.url + "/probe", json={"id": "p"}, timeout=PATIENCE).text
    for shown in (json.dumps(producer.log), status, probe):
        assert "word" not in shown
        assert "s3cret" not in shown
    assert sink.url in status


def test_sink_with_its_own_authority_is_trusted_by_k_ca_certs(kit: Kit, tmp_path: Path) -> None:
    authority, certificate = issue("localhost", tmp_path)
    x, sink = kit.x(), kit.sink(tls=certificate)
    x.publish_many(1)
    untrusting = kit.producer(**kit.searching(x, sink))
    assert "certificate verify failed" in untrusting.saying("sent again")["reason"]
    untrusting.kill()
    kit.producer(**kit.searching(x, sink, k_ca_certs=authority))
    wait_for(lambda: sink.received)


def test_trust_bundles_of_the_cluster_are_used_and_a_broken_one_is_named(
    kit: Kit, tmp_path: Path
) -> None:
    authority, certificate = issue("localhost", tmp_path)
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    (bundles / "a.pem").write_text("no certificate")
    (bundles / "b.pem").write_text(authority)
    x, sink = kit.x(), kit.sink(tls=certificate)
    x.publish_many(1)
    producer = kit.producer(**kit.searching(x, sink, ca_bundles_dir=bundles))
    wait_for(lambda: sink.received)
    assert producer.saying("trust bundle")["file"] == str(bundles / "a.pem")


def test_steady_state_makes_no_needless_requests(kit: Kit) -> None:
    """One search per poll, and the checkpoint is written only when something has changed."""
    x, sink = kit.x(), kit.sink()
    x.publish_many(2)
    kit.producer(**kit.searching(x, sink, budget_posts=1000))
    wait_for(lambda: len(sink.received) == 2)
    state = kit.folder / "state.json"
    written = wait_for(lambda: state.exists() and state.stat().st_mtime_ns)
    polls = len(x.requests())
    wait_for(lambda: len(x.requests()) > polls + 5)
    first = state.stat().st_mtime_ns
    wait_for(lambda: len(x.requests()) > polls + 10)
    assert state.stat().st_mtime_ns == first >= written


def test_request_that_hangs_does_not_outlast_the_grace_period(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink(answers=[(500, {"sleep": str(5 * PATIENCE)})])
    x.publish_many(1)
    settings = {"delivery_timeout_seconds": 5 * PATIENCE, "shutdown_grace_seconds": 1}
    producer = kit.producer(**kit.searching(x, sink, **settings))
    wait_for(lambda: sink.refused)
    assert producer.stop() == 0, "the request should have been ended, and the checkpoint stored"
