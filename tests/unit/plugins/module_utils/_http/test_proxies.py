"""Which proxy is used for a URL."""

from __future__ import annotations

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._http.errors import SettingError
from ansible_collections.streamops.knative.plugins.module_utils._http.proxies import proxy_for

PROXY = "http://proxy.example:3128"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "REQUEST_METHOD"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", PROXY)


@pytest.mark.parametrize(
    ("no_proxy", "host", "used"),
    [
        ("", "api.example.com", True),
        ("*", "api.example.com", False),
        ("10.0.0.0/8", "10.1.2.3", False),
        ("10.0.0.0/8", "11.1.2.3", True),
        ("10.1.2.3", "10.1.2.3", False),
        ("fd00::/8", "[fd00::1]", False),
        (" a.example , .corp.example", "api.corp.example", False),
        (".corp.example", "corp.example", True),
        ("corp.example", "corp.example", False),
        ("corp.example", "api.corp.example", False),
        ("corp.example", "xcorp.example", True),
        ("*.corp.example", "api.corp.example", False),
        ("CORP.example", "api.corp.EXAMPLE", False),
        ("corp.example:6443", "api.corp.example:6443", False),
        ("corp.example:443", "api.corp.example:6443", True),
        ("", "localhost", False),
        ("", "127.0.0.1:6443", False),
        ("", "[::1]:6443", False),
    ],
)
def test_no_proxy_is_read_as_go_reads_it(
    monkeypatch: pytest.MonkeyPatch, no_proxy: str, host: str, used: bool
) -> None:
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert proxy_for(f"https://{host}/api") == (PROXY if used else "")


def test_the_option_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    assert proxy_for("https://127.0.0.1", "other:8080") == "http://other:8080"


def test_all_proxy_is_used_where_no_other_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HTTPS_PROXY")
    assert proxy_for("https://api.example.com") == ""
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")
    assert proxy_for("https://api.example.com") == "socks5h://proxy.example:1080"


@pytest.mark.parametrize("proxy", ["ftp://proxy.example", "http://", "http://proxy.example:port"])
def test_an_unusable_proxy_is_named_without_its_password(proxy: str) -> None:
    with pytest.raises(SettingError, match=r"proxy: .* is not a valid proxy"):
        proxy_for("https://api.example.com", proxy)
    with pytest.raises(SettingError) as refused:
        proxy_for("https://api.example.com", "ftp://me:s3cret@proxy.example")
    assert "s3cret" not in str(refused.value)
