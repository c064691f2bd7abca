"""Which cluster and as whom: kubeconfig files, dictionaries, plugins, and what is wrong with them."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.config import load
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import (
    ConfigError,
)


def kubeconfig(name: str = "one", **user: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}.example.com:6443"}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
    }


def test_a_dictionary_is_as_good_as_a_file(tmp_path: Path) -> None:
    document = kubeconfig(token="secret")
    path = tmp_path / "config"
    path.write_text(json.dumps(document))
    from_file, from_dict = load({"kubeconfig": str(path)}), load({"kubeconfig": document})
    assert from_file == from_dict
    assert from_file.host == "https://one.example.com:6443"
    assert from_file.api_key == "secret"
    assert "secret" not in repr(from_file)


def test_an_unknown_context_lists_those_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"context 'two' is not in .*; it has: one"):
        load({"kubeconfig": kubeconfig(), "context": "two"})


def test_no_current_context_asks_for_one() -> None:
    document = kubeconfig()
    del document["current-context"]
    with pytest.raises(ConfigError, match="set context to one of: one"):
        load({"kubeconfig": document})
    assert load({"kubeconfig": document, "context": "one"}).host.startswith("https://one")


def test_several_files_are_merged_and_the_first_wins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a").write_text(json.dumps(kubeconfig("one", token="a")))
    second = kubeconfig("two", token="b")
    second["users"].append({"name": "one", "user": {"token": "loses"}})
    (tmp_path / "b").write_text(json.dumps(second))
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/missing")
    assert load({}).api_key == "a"
    assert load({"context": "two"}).api_key == "b"


def test_paths_are_relative_to_the_file_that_names_them(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-file\n")
    (tmp_path / "ca.pem").write_text("-----BEGIN CERTIFICATE-----")
    document = kubeconfig(tokenFile="token")
    document["clusters"][0]["cluster"]["certificate-authority"] = "ca.pem"
    (tmp_path / "config").write_text(json.dumps(document))
    config = load({"kubeconfig": str(tmp_path / "config")})
    assert config.api_key == "from-file"
    assert config.ca_cert == "-----BEGIN CERTIFICATE-----"


def test_options_beat_the_kubeconfig() -> None:
    config = load(
        {
            "kubeconfig": kubeconfig(token="a"),
            "host": "https://other:1",
            "api_key": "b",
            "validate_certs": False,
            "impersonate_user": "jane",
            "impersonate_groups": ["a", "b"],
            "proxy": "http://proxy:3128",
        }
    )
    assert (config.host, config.api_key, config.validate_certs) == ("https://other:1", "b", False)
    assert (config.impersonate_user, config.impersonate_groups) == ("jane", ("a", "b"))
    assert config.proxy == "http://proxy:3128"


def test_host_and_token_need_no_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", "/nowhere")
    assert load({"host": "https://x:1", "api_key": "t"}).api_key == "t"


PLUGIN = """
import json, os, sys
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
status = {"token": os.environ["PREFIX"] + info["kind"]}
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


def plugin(*args: str, **more: Any) -> dict[str, Any]:
    entry = {"command": sys.executable, "args": ["-c", *args], "apiVersion": "v", **more}
    return kubeconfig(exec=entry)


def test_an_exec_plugin_gives_the_token() -> None:
    document = plugin(PLUGIN, env=[{"name": "PREFIX", "value": "for-"}])
    assert load({"kubeconfig": document}).api_key == "for-ExecCredential"


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (plugin("raise SystemExit('log in first')"), "failed: log in first"),
        (plugin("print('hello')"), "printed no ExecCredential"),
        (
            kubeconfig(exec={"command": "no-such-plugin", "installHint": "get it from X"}),
            "'no-such-plugin' is missing: get it from X",
        ),
        (kubeconfig(**{"auth-provider": {"name": "gcp"}}), "gke-gcloud-auth-plugin"),
        (kubeconfig(**{"client-certificate-data": "%%%"}), "client-certificate-data is not base64"),
        (
            kubeconfig(**{"client-certificate-data": base64.b64encode(b"pem").decode()}),
            "client_cert and client_key go together",
        ),
        (kubeconfig(tokenFile="/nowhere/token"), "tokenFile: cannot read /nowhere/token"),
    ],
)
def test_what_is_wrong_is_named(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load({"kubeconfig": document})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kubeconfig": "/nowhere/config"}, "no such file: /nowhere/config"),
        ({"host": "cluster.example.com"}, "is not a URL: write it as https://"),
        ({"host": "https://x", "ca_cert": "/nowhere/ca"}, "ca_cert: cannot read '/nowhere/ca'"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load(options)


def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path) -> None:
    for text in ("- a\n", "a: [", ""):
        (tmp_path / "config").write_text(text)
        with pytest.raises(ConfigError, match=r"kubeconfig:? .*config"):
            load({"kubeconfig": str(tmp_path / "config")})


def test_a_context_that_points_nowhere_is_named() -> None:
    document = kubeconfig()
    document["clusters"] = []
    with pytest.raises(ConfigError, match=r"names cluster 'one', which .* does not describe"):
        load({"kubeconfig": document})


def test_wrapped_base64_and_empty_lists_are_taken_as_kubectl_takes_them(tmp_path: Path) -> None:
    pem = "-----BEGIN CERTIFICATE-----\n" + "x" * 200
    encoded = base64.encodebytes(pem.encode()).decode()
    document = kubeconfig(token="a")
    document["clusters"][0]["cluster"]["certificate-authority-data"] = encoded
    assert load({"kubeconfig": document}).ca_cert == pem
    (tmp_path / "empty").write_text("")
    (tmp_path / "nulls").write_text("clusters:\nusers:\ncontexts:\n")
    (tmp_path / "config").write_text(json.dumps(document))
    paths = ":".join(str(tmp_path / name) for name in ("empty", "missing", "nulls", "config"))
    assert load({"kubeconfig": paths}).api_key == "a"


CLUSTER_INFO = """
import json, os
spec = json.loads(os.environ["KUBERNETES_EXEC_INFO"])["spec"]
status = {"token": json.dumps(spec.get("cluster")), "expirationTimestamp": "2026-01-02T03:04:05Z"}
print(json.dumps({"kind": "ExecCredential", "status": status}))
"""


def test_an_exec_plugin_is_given_the_cluster_where_it_asks_for_it() -> None:
    document = plugin(CLUSTER_INFO, provideClusterInfo=True, env=None)
    cluster = document["clusters"][0]["cluster"]
    cluster["certificate-authority-data"] = base64.b64encode(b"pem").decode()
    cluster["extensions"] = [
        {"name": "client.authentication.k8s.io/exec", "extension": {"audience": "me"}}
    ]
    config = load({"kubeconfig": document})
    assert json.loads(config.api_key) == {
        "server": "https://one.example.com:6443",
        "certificate-authority-data": base64.b64encode(b"pem").decode(),
        "config": {"audience": "me"},
    }
    assert config.expires is not None
    assert config.expires.isoformat() == "2026-01-02T03:04:05+00:00"
    del document["users"][0]["user"]["exec"]["provideClusterInfo"]
    assert json.loads(load({"kubeconfig": document}).api_key) is None


def test_null_arguments_are_none() -> None:
    document = kubeconfig(exec={"command": "true", "args": None, "env": None})
    with pytest.raises(ConfigError, match="'true' printed no ExecCredential"):
        load({"kubeconfig": document})


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (
            kubeconfig(username="me", password="x"),
            "username and password, which Kubernetes removed",
        ),
        (plugin("", interactiveMode="Always"), "needs a terminal"),
        ({**kubeconfig(), "users": {"a": "b"}}, "users is not a list of name and user"),
        ({**kubeconfig(), "contexts": [{"context": {}}]}, "contexts is not a list of name"),
    ],
)
def test_forms_that_cannot_be_used_are_named(document: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load({"kubeconfig": document})


def test_a_token_file_wins_over_a_token_and_is_read_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    config = load({"kubeconfig": kubeconfig(token="other", tokenFile=str(token))})
    assert config.api_key == "first"
    token.write_text("second")
    assert config.renewed().api_key == "second"
    given = load({"kubeconfig": kubeconfig(tokenFile=str(token)), "api_key": "mine"})
    assert given.renewed() is given


def test_a_user_that_is_not_described_is_named() -> None:
    document = kubeconfig(token="a")
    document["contexts"][0]["context"]["user"] = "other"
    with pytest.raises(ConfigError, match=r"names user 'other', which .* does not describe"):
        load({"kubeconfig": document})


@pytest.mark.parametrize(
    ("cluster", "url"),
    [
        ({"server": "one.example.com:6443"}, "http://one.example.com:6443"),
        (
            {"server": "one.example.com", "insecure-skip-tls-verify": True},
            "https://one.example.com",
        ),
    ],
)
def test_a_server_without_a_scheme_has_that_of_client_go(cluster: dict[str, Any], url: str) -> None:
    document = kubeconfig(token="a")
    document["clusters"][0]["cluster"] = cluster
    assert load({"kubeconfig": document}).host == url


def test_impersonation_is_complete() -> None:
    config = load(
        {
            "kubeconfig": kubeconfig(
                **{
                    "as": "bob",
                    "as-uid": "1",
                    "as-groups": ["a"],
                    "as-user-extra": {"example.com/x": ["b", "c"]},
                }
            )
        }
    )
    assert config.impersonate_uid == "1"
    assert config.impersonate_extra == (("example.com/x", ("b", "c")),)
