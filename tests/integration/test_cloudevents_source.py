"""The event source of CloudEvents: the binding's scenarios, who is served, limits, bad input."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa
from pytest_bdd import given, parsers, scenario, then, when
from support.conformance import FEATURE, request_bytes
from support.event_source import (
    BATCH,
    BINARY,
    STRUCTURED,
    Receiver,
    Source,
    receiver,
    until,
)
from support.ports import free_port
from support.tls import issue

EVENT = {"specversion": "1.0", "id": "1", "source": "/test", "type": "t"}


@pytest.fixture(scope="module")
def source() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def refused(**options: Any) -> str:
    """The sentence a source that does not start ends with."""
    error = Source("cloudevents", port=options.pop("port", free_port()), **options).ended()
    assert isinstance(error, ValueError), error
    return str(error)


# The specification's own scenarios, as for the viewer

if FEATURE.is_file():

    @scenario(str(FEATURE), "Binary content mode (<contentType>)")
    def test_binary() -> None:
        pass

    @scenario(str(FEATURE), "Structured content mode (<contentType>)")
    def test_structured() -> None:
        pass


@given("HTTP Protocol Binding is supported")
def supported(source: Receiver) -> None:
    assert source.http.get(source.url + "readyz", timeout=60).status_code == 200


@given("an HTTP request", target_fixture="message")
def request_text(docstring: str) -> bytes:
    return request_bytes(docstring)


@when("parsed as HTTP request", target_fixture="received")
def parsed(message: bytes) -> dict[str, Any]:
    with receiver() as own:  # every scenario has the same id
        assert own.raw(message).startswith(b"HTTP/1.1 202 ")
        return own.events[0]


@then("the attributes are:")
def attributes(received: dict[str, Any], datatable: list[list[str]]) -> None:
    expected = dict(datatable[1:])
    assert {k: v for k, v in received.items() if k not in ("data", "meta")} == expected


@then(parsers.parse("the data is equal to the following JSON:"))
def data(received: dict[str, Any], docstring: str) -> None:
    assert received["data"] == json.loads(docstring)


# What a rule sees


def test_the_three_modes_give_the_same_event() -> None:
    with receiver(duplicate_window_seconds=0) as source:
        structured = {**EVENT, "data": {"n": 1}, "tenant": "a"}
        binary = {f"ce-{name}": value for name, value in EVENT.items()} | {"ce-tenant": "a"}
        assert source.post(headers=STRUCTURED, data=json.dumps(structured)).status_code == 202
        assert source.post(headers=binary, data=b'{"n": 1}').status_code == 202
        assert source.post(headers=BATCH, data=json.dumps([structured])).status_code == 202
        assert source.events[0] == source.events[1] == source.events[2]
        assert source.events[0]["data"] == {"n": 1}
        assert source.events[0]["tenant"] == "a"


def test_an_extension_called_meta_does_not_take_the_place_of_the_rulebooks(
    source: Receiver,
) -> None:
    assert source.post("meta", **{"ce-meta": "x"}).status_code == 202
    event = source.events[-1]
    assert event["meta"]["extension"] == "x"
    assert len(event["meta"]["uuid"]) == 36


def test_data_that_is_not_json_stays_what_it_is(source: Receiver) -> None:
    source.post("text", data="grüße".encode(), **{"content-type": "text/plain"})
    source.post("bytes", data=b"\xff\x00", **{"content-type": "application/octet-stream"})
    assert source.events[-2]["data"] == "grüße"
    assert base64.b64decode(source.events[-1]["data_base64"]) == b"\xff\x00"


def test_jinja_in_an_event_is_text(source: Receiver) -> None:
    data = {"a": "{{ 1 }}", "b": ["{% x %}", {"c": "{# y #}"}], "d": "ends with {", "e": "{}"}
    escaped = json.dumps(data).replace("{{", "\\u007B\\u007b")
    for identity, body in (("jinja1", json.dumps(data)), ("jinja2", escaped)):
        source.post(identity, data=body, **{"ce-subject": "{{ 1 }}"})
        event = source.events[-1]
        assert event["data"] == {
            "a": "{ { 1 }}",
            "b": ["{ % x %}", {"c": "{ # y #}"}],
            "d": "ends with { ",
            "e": "{}",
        }
        assert event["subject"] == "{ { 1 }}"
    with receiver(jinja="keep") as other:
        other.post(data=json.dumps(data))
        assert other.events[0]["data"] == data


# Bad input


@pytest.mark.parametrize(
    ("headers", "body", "status", "reason"),
    [
        ({"content-type": "application/json"}, b"{}", 400, "not a CloudEvent"),
        (STRUCTURED, b"{", 400, "not JSON"),
        (STRUCTURED, b"[]", 400, "JSON object"),
        (STRUCTURED, json.dumps({**EVENT, "specversion": "0.3"}), 400, "only 1.0"),
        (BATCH, json.dumps([EVENT, {}]), 400, "none of the batch"),
        ({"content-type": "application/cloudevents+avro"}, b"x", 415, "JSON"),
        ({**BINARY, "ce-id": "large"}, b"x" * (2 << 20), 413, "larger than"),
        (BATCH, json.dumps([EVENT] * 1001), 413, "1001 events"),
    ],
)
def test_what_is_not_an_event_is_refused_with_the_reason(
    source: Receiver, headers: Any, body: Any, status: int, reason: str
) -> None:
    before = len(source.events)
    answer = source.post(headers=headers, data=body)
    assert (answer.status_code, reason in answer.json()["error"]) == (status, True), answer.text
    assert len(source.events) == before


def test_other_paths_and_methods(source: Receiver) -> None:
    assert source.http.post(source.url + "other", timeout=60).status_code == 404
    assert source.http.get(source.url, timeout=60).status_code == 405


def test_a_slow_request_is_ended() -> None:
    with receiver(request_timeout_seconds=0.5) as source:
        started = time.monotonic()
        answer = source.raw(b"POST / HTTP/1.1\r\nHost: x\r\n")
        assert b" 408 " in answer
        assert time.monotonic() - started < 14  # the default is 15


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"host": "0.0.0.0"}, "set token_file, oidc_issuer or cafile"),
        ({"port": 99999}, "port is 99999"),
        ({"port": "http"}, "'port'"),
        ({"tokens": "x"}, "did you mean token?"),
        ({"token_file": "/nowhere"}, "there is no file /nowhere"),
        ({"token": "a", "token_file": "/dev/null"}, "exclude each other"),
        ({"oidc_issuer": "https://issuer"}, "oidc_audience"),
        ({"oidc_issuer": "issuer", "oidc_audience": "a"}, "http(s) URL"),
        ({"keyfile": "/nowhere"}, "need certfile"),
        ({"certfile": "/nowhere"}, "TLS cannot be served with /nowhere"),
        ({"max_pending": 0}, "max_pending is 0"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], words: str) -> None:
    assert words in refused(**options)


def test_all_that_is_wrong_is_named_at_once() -> None:
    text = refused(port=0, max_pending=0, host="0.0.0.0")
    assert "port is 0" in text
    assert "max_pending" in text
    assert "allow_anonymous" in text


def test_a_port_in_use_is_named(source: Receiver) -> None:
    assert f"port {source.port}: Address already in use" in refused(port=source.port)


# Who is served


def test_tokens_are_read_again(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("old\n")
    with receiver(token_file=str(tokens)) as source:
        assert source.post().status_code == 401
        assert source.post(Authorization="Bearer wrong").status_code == 401
        assert source.post(Authorization="Bearer old").status_code == 202
        basic = base64.b64encode(b"trigger:old").decode()
        assert source.post("2", Authorization=f"Basic {basic}").status_code == 202
        tokens.write_text("old\nnew\n")
        until(lambda: source.post("3", Authorization="Bearer new").status_code == 202, "new token")
        assert source.http.get(source.url + "healthz", timeout=60).status_code == 200
        guesses = [source.post(Authorization="Bearer guess").status_code for _ in range(30)]
        # One more try is given each second, so a single guess among the last may be answered 401.
        assert 429 in guesses[-10:]
        assert source.post(Authorization="Bearer old").status_code == 202


class Issuer:
    """An OpenID Connect issuer."""

    def __init__(self) -> None:
        self.key = rsa.generate_private_key(65537, 2048)
        public = jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answers: dict[str, Any] = {
                    "/.well-known/openid-configuration": {"jwks_uri": f"{issuer.url}/keys"},
                    "/keys": {"keys": [{**public, "kid": "k1"}]},
                }
                self.send_response(200)
                self.end_headers()
                self.wfile.write(json.dumps(answers[self.path]).encode())

            def log_message(self, *_arguments: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def token(self, key: Any = None, **claims: Any) -> str:
        subject = "system:serviceaccount:knative-eventing:mt-broker-filter"
        claims = {"iss": self.url, "aud": ["us"], "sub": subject, "exp": time.time() + 60, **claims}
        return jwt.encode(claims, key or self.key, "RS256", headers={"kid": "k1"})


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    running = Issuer()
    yield running
    running.server.shutdown()
    running.server.server_close()


def test_tokens_of_an_issuer(issuer: Issuer) -> None:
    with receiver(
        oidc_issuer=issuer.url,
        oidc_audience="us",
        oidc_subjects=["system:serviceaccount:knative-eventing:*"],
    ) as source:

        def post(token: str) -> tuple[int, str]:
            answer = source.post(Authorization=f"Bearer {token}")
            return answer.status_code, answer.text

        assert post(issuer.token())[0] == 202
        status, text = post(issuer.token(aud="others"))
        assert (status, "another audience than us" in text) == (401, True)
        assert post(issuer.token(iss="https://else.example"))[0] == 401
        assert post(issuer.token(exp=time.time() - 3600))[0] == 401
        assert post(issuer.token(sub="system:serviceaccount:default:x"))[0] == 403
        assert post(issuer.token(rsa.generate_private_key(65537, 2048)))[0] == 401
        unsigned = jwt.encode({"sub": "x"}, None, "none", headers={"kid": "k1"})
        assert post(unsigned)[0] == 401
        symmetric = jwt.encode({"sub": "x", "aud": "us"}, "k" * 32, "HS256", headers={"kid": "k1"})
        assert post(symmetric)[0] == 401


def test_an_issuer_that_is_away_is_not_a_wrong_token(issuer: Issuer) -> None:
    away = f"http://127.0.0.1:{free_port()}"
    with receiver(oidc_issuer=away, oidc_audience="us") as source:
        answer = source.post(Authorization=f"Bearer {issuer.token()}")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_https_and_client_certificates(tmp_path: Path) -> None:
    _pem, served = issue("localhost", tmp_path)
    client_pem, client = issue("client", tmp_path)
    (tmp_path / "ca.pem").write_text(client_pem)
    with receiver(certfile=str(served), cafile=str(tmp_path / "ca.pem"), host="0.0.0.0") as source:
        url = f"https://localhost:{source.port}/"
        headers = {**BINARY, "ce-id": "1"}
        context: dict[str, Any] = {"verify": str(served), "headers": headers, "timeout": 60}
        assert source.http.post(url, data=b"{}", cert=str(client), **context).status_code == 202
        with pytest.raises((requests.ConnectionError, ssl.SSLError)):
            source.http.post(url, data=b"{}", **context)


# Hand-over


def test_202_comes_after_the_hand_over_and_a_full_queue_is_429() -> None:
    with receiver(max_pending=2) as source, ThreadPoolExecutor(4) as pool:
        source.room.clear()
        waiting = [pool.submit(source.post, str(n)) for n in range(2)]
        until(lambda: len(source.offered) == 2, "both wait for the queue")
        answer = source.post("third")
        assert (answer.status_code, answer.headers["retry-after"]) == (429, "1")
        assert not any(one.done() for one in waiting)
        source.room.set()
        assert [one.result().status_code for one in waiting] == [202, 202]
        assert source.post("third").status_code == 202
        assert sorted(event["id"] for event in source.events) == ["0", "1", "third"]


def test_an_event_that_is_on_its_way_is_not_taken_twice() -> None:
    with receiver() as source, ThreadPoolExecutor(1) as pool:
        source.room.clear()
        first = pool.submit(source.post, "same")
        until(lambda: source.offered, "it waits for the queue")
        assert source.post("same").status_code == 429
        source.room.set()
        assert first.result().status_code == 202
        assert source.post("same").status_code == 202
        assert len(source.events) == 1


def test_an_event_the_rulebook_does_not_take_is_503_and_taken_the_next_time() -> None:
    with receiver(hand_over_timeout_seconds=2) as source:
        source.room.clear()
        answer = source.post("slow")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        source.room.set()
        assert source.post("slow").status_code == 202
        assert [event["id"] for event in source.events] == ["slow"]


def test_duplicates_are_dropped_within_the_window() -> None:
    with receiver(duplicate_window_seconds=6, duplicate_window_events=2) as source:
        for identity in ("1", "1", "2", "3", "1"):  # 1 was forgotten for 3
            assert source.post(identity).status_code == 202
        assert source.post("3", **{"ce-source": "/other"}).status_code == 202
        assert [event["id"] for event in source.events] == ["1", "2", "3", "1", "3"]
        counts = source.http.get(source.url + "healthz", timeout=60).json()
        assert (counts["taken"], counts["duplicates"]) == (5, 1)
        time.sleep(6.1)
        assert source.post("1").status_code == 202
        assert len(source.events) == 6


def test_filters_answer_202_and_drop() -> None:
    with receiver(types=["com.x.*"], sources=["/one"]) as source:
        for kind, origin in (("com.x.post", "/one"), ("com.y", "/one"), ("com.x.post", "/two")):
            answer = source.post(kind + origin, **{"ce-type": kind, "ce-source": origin})
            assert answer.status_code == 202
        assert [event["source"] for event in source.events] == ["/one"]


def test_with_feedback_202_comes_after_the_engine_took_it() -> None:
    with (
        receiver(feedback=True, hand_over_timeout_seconds=60) as source,
        ThreadPoolExecutor(2) as pool,
    ):
        answers = [pool.submit(source.post, str(n)) for n in range(2)]
        until(lambda: len(source.events) == 2, "both are handed over")
        time.sleep(0.2)
        assert not any(answer.done() for answer in answers)
        for event in list(source.events):
            source.give_feedback(event)
        assert [answer.result().status_code for answer in answers] == [202, 202]
        assert source.post("0").status_code == 202
        assert len(source.events) == 2


def test_a_stopping_source_answers_what_waits() -> None:
    with receiver() as source, ThreadPoolExecutor(1) as pool:
        source.room.clear()
        waiting = pool.submit(source.post, "late")
        until(lambda: source.offered, "it waits for the queue")
        source.stop()
        assert waiting.result().status_code == 503
        assert source.events == []
