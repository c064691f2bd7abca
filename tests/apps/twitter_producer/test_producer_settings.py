"""Settings: the table in the README, and every problem named at once."""

from __future__ import annotations

import re

import pytest
from support.producer import ROOT, Kit

from twitter_producer import settings as module
from twitter_producer.settings import Settings, SettingsError

README = ROOT / "apps" / "twitter-producer" / "README.md"
MINIMAL = {"K_SINK": "http://sink", "TOPICS": "knative", "X_BEARER_TOKEN": "b"}


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)


def _load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in {**MINIMAL, **environment}.items():
        monkeypatch.setenv(name, value)
    return module.load()


def _problems(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    with pytest.raises(SettingsError) as error:
        _load(monkeypatch, **environment)
    return str(error.value)


def test_readme_lists_each_setting_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    listed: dict[str, str] = {}
    for line in README.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        names = re.findall(r"`([A-Z_0-9]+)`", cells[0])
        if line.startswith("| `") and names:
            defaults = re.findall(r"`([^`]*)`", cells[1]) or [""] * len(names)
            listed |= dict(zip(names, defaults, strict=True))
    assert set(listed) == {name.upper() for name in Settings.model_fields}
    for name, default in listed.items():
        actual = Settings.model_fields[name.lower()].default
        actual = ",".join(actual) if isinstance(actual, tuple) else actual
        if default and name != "POD_NAME":
            shown = str(actual).lower() if isinstance(actual, bool) else str(actual)
            assert shown == default, name


def test_all_problems_are_named_together(kit: Kit) -> None:
    producer = kit.producer(
        k_sink="sink",
        k_ce_overrides="[1]",
        topics="",
        poll_interval_seconds="soon",
        max_results="5",
        state="file",
        credentials="secretmanager",
        log_level="LOUD",
    )
    assert producer.wait() == 2
    message = producer.log[-1]["message"]
    for name in (
        "K_SINK=sink",
        "K_CE_OVERRIDES",
        "TOPICS",
        "POLL_INTERVAL_SECONDS=soon",
        "MAX_RESULTS=5",
        "STATE_FILE",
        "GOOGLE_CLOUD_PROJECT",
        "LOG_LEVEL=LOUD",
    ):
        assert name in message
    assert len(producer.log) == 1


def test_stream_cannot_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "RUN_ONCE" in _problems(monkeypatch, SOURCE="stream", RUN_ONCE="true")


def test_missing_sink_says_where_it_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    message = _problems(monkeypatch, K_SINK="")
    assert "SinkBinding" in message
    assert "kubectl get sinkbinding" in message


def test_secrets_are_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    message = _problems(monkeypatch, X_BEARER_TOKEN="", X_API_KEY="s3cret", X_ACCESS_KEY="t0ken")
    assert "X_API_SECRET, X_ACCESS_SECRET" in message
    assert "s3cret" not in message
    assert "t0ken" not in message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ('{"extensions": {}}', {}),
        ("{}", {}),
        ('{"extensions": {"a1": "b"}}', {"a1": "b"}),
        (
            '{"extensions": {"anamelongerthantwentycharacters": "b"}}',
            {"anamelongerthantwentycharacters": "b"},
        ),
    ],
)
def test_overrides(monkeypatch: pytest.MonkeyPatch, text: str, expected: dict[str, str]) -> None:
    assert _load(monkeypatch, K_CE_OVERRIDES=text).overrides == expected


@pytest.mark.parametrize(
    "text",
    [
        "x",
        "[]",
        '{"extensions": {"A-b": "c"}}',
        '{"extensions": 1}',
        '{"extensions": {"dataschema": "c"}}',
        '{"extensions": {"a": "\\ud83d"}}',
        '{"extensions": {"a": "b\\u0000"}}',
    ],
)
def test_bad_overrides(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert "K_CE_OVERRIDES" in _problems(monkeypatch, K_CE_OVERRIDES=text)


def test_authorities_that_are_no_pem(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "K_CA_CERTS: is not PEM text" in _problems(monkeypatch, K_CA_CERTS="-----BEGIN")


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({"TOPICS": "knative"}, "knative"),
        ({"TOPICS": "knative, cloud events,#k8s"}, '(knative OR "cloud events" OR #k8s)'),
        ({"TOPICS": "or"}, '"or"'),
        ({"TOPICS": "from:knativeproject"}, "from:knativeproject"),
        ({"LANGUAGES": "en,de"}, "knative (lang:en OR lang:de)"),
        (
            {"EXCLUDES": "retweets,spam,free money"},
            'knative -is:retweet -spam -"free money"',
        ),
        ({"AUTHORS": "@ada,grace"}, "knative (from:ada OR from:grace)"),
        ({"TOPICS": "", "AUTHORS": "ada", "LANGUAGES": "en"}, "from:ada lang:en"),
        ({"TOPICS": "", "QUERY": "knative has:links"}, "knative has:links"),
        ({"EXCLUDES": "is:retweet,has:links"}, "knative -is:retweet -has:links"),
        ({"EXCLUDES": "-is:retweet,-spam"}, "knative -is:retweet -spam"),
        ({"EXCLUDES": 'from:a,url:"b.example/c"'}, 'knative -from:a -url:"b.example/c"'),
        (
            {"TOPICS": "retweets_of:knativeproject,note:this"},
            '(retweets_of:knativeproject OR "note:this")',
        ),
    ],
)
def test_query(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], query: str) -> None:
    assert _load(monkeypatch, **given).query == query


@pytest.mark.parametrize(
    ("given", "part"),
    [
        ({"TOPICS": ",".join(f"topic{n}" for n in range(99))}, "X takes 512"),
        ({"TOPICS": 'say "hi"'}, "cannot express"),
        ({"TOPICS": "has:links"}, "QUERY=knative has:links"),
        ({"TOPICS": "-spam"}, "EXCLUDES"),
        ({"AUTHORS": "ada lovelace"}, "is not an account such as knativeproject"),
        ({"TOPICS": ""}, "set TOPICS or AUTHORS"),
        ({"LANGUAGES": "english"}, "language code"),
        ({"TOPICS": "", "QUERY": "(knative"}, "parentheses"),
        ({"TOPICS": "", "QUERY": 'a "b'}, "unpaired"),
        ({"TOPICS": "", "QUERY": "-spam lang:en"}, "at least one word"),
        ({"QUERY": "knative"}, "stands alone"),
    ],
)
def test_bad_query(monkeypatch: pytest.MonkeyPatch, given: dict[str, str], part: str) -> None:
    assert part in _problems(monkeypatch, **given)


@pytest.mark.parametrize("name", ["X_API_KEY", "X_BEARER_TOKEN"])
@pytest.mark.parametrize(
    "value", ['{"api_key": "s3cret"}', "s3cret and more", '"s3cret"', "s3\ncret"]
)
def test_key_that_is_malformed_is_named_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    message = _problems(monkeypatch, **{name: value})
    assert f"{name}: is malformed" in message
    assert "cret" not in message


def test_password_in_a_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    message = _problems(monkeypatch, K_SINK="ftp://me:s3cret@sink/path?key=s3cret")
    assert "K_SINK=ftp://sink/path" in message
    assert "s3cret" not in message


def test_source_that_no_header_can_carry(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "EVENT_SOURCE" in _problems(monkeypatch, EVENT_SOURCE="a\x7fb")


def test_port_in_use_is_said(kit: Kit) -> None:
    x, sink = kit.x(), kit.sink()
    port = sink.url.rsplit(":", 1)[1].strip("/")
    producer = kit.producer(**kit.searching(x, sink, port=port))
    assert producer.wait() == 1
    assert f"cannot listen on 127.0.0.1:{port}" in producer.log[-1]["message"]
