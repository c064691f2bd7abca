"""What of an application folder goes into an image."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._oci.app import (
    read_app,
    read_copy,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.dockerignore import IgnoreRules
from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import (
    FolderError,
    OptionError,
)


def folder(tmp_path: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = tmp_path / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return tmp_path / "app"


def names(path: Path, allow: tuple[str, ...] = ()) -> list[str]:
    return [entry.path for entry in read_app(path, "/app", allow)]


@pytest.mark.parametrize(
    ("lines", "ignored", "kept"),
    [
        (["*.md"], ["a.md"], ["docs/a.md", "a.mdx"]),
        (["**/*.md"], ["a.md", "docs/a.md", "docs/x/a.md"], ["a.mdx"]),
        (["docs"], ["docs/a", "docs/x/y"], ["docs2/a", "a/docs"]),
        (["/docs/"], ["docs/a"], ["a/docs"]),
        (["*", "!app"], ["a", "b/c"], ["app/x", "app/y/z"]),
        (["app", "!app/keep"], ["app/x"], ["app/keep"]),
        (["!app/keep", "app"], ["app/keep"], []),
        (["te?t"], ["test", "text/x"], ["tet"]),
        (["[ab].txt"], ["a.txt", "b.txt"], ["c.txt"]),
        (["a/**/z"], ["a/z", "a/b/z", "a/b/c/z"], ["a/zz"]),
        (["# comment", "", "  spaced  "], ["spaced"], ["# comment"]),
        ([], ["x/__pycache__/a.pyc", "b.pyc", ".git/config", "sub/.git/HEAD"], ["gitx"]),
        (["!**/*.pyc"], ["a.pyc"], []),
    ],
)
def test_ignore_rules(lines: list[str], ignored: list[str], kept: list[str]) -> None:
    rules = IgnoreRules(lines)
    assert [path for path in ignored if not rules.ignored(path)] == []
    assert [path for path in kept if rules.ignored(path)] == []


def test_files_are_below_the_target_with_their_permission_to_run(tmp_path: Path) -> None:
    path = folder(tmp_path, {"main.py": "x", "bin/run": "#!/bin/sh", "skip.log": ""})
    (path / "bin/run").chmod(0o750)
    (path / ".dockerignore").write_text("*.log\n.dockerignore\n")
    entries = {entry.path: entry for entry in read_app(path, "/srv/app", ())}
    assert sorted(entries) == ["srv/app/bin/run", "srv/app/main.py"]
    assert entries["srv/app/bin/run"].executable
    assert not entries["srv/app/main.py"].executable


def test_containerignore_comes_first_as_with_podman(tmp_path: Path) -> None:
    path = folder(tmp_path, {"a": "", "b": "", ".dockerignore": "a", ".containerignore": "b\n.*"})
    assert names(path) == ["app/a"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        (".env", "X=1"),
        ("conf/.env.production", "X=1"),
        ("id_rsa", "x"),
        ("tls/server.key", "x"),
        (".aws/credentials", "x"),
        ("config.py", "KEY = '''-----BEGIN RSA PRIVATE KEY-----\nMII'''"),
        ("account.json", '{"private_key": "-----BEGIN PRIVATE KEY-----\\nMII"}'),
        ("vars.yml", "$ANSIBLE_VAULT;1.1;AES256\n6162"),
        ("prod.env", "X=1"),
        (".ENV", "X=1"),
        ("conf/Prod.Env.local", "X=1"),
        ("ID_RSA", "x"),
        ("id_ed25519_deploy", "x"),
        ("TLS/Server.KEY", "x"),
        ("registries.json", '{"auths": {"r.example.com": {"auth": "dTpw"}}}'),
        ("old.json", '{"https://index.docker.io/v1/": {"auth": "dTpw"}}'),
        ("pull.json", '{"auths": {"r.example.com": {"identitytoken": "t"}}}'),
        ("login", '{"type": "authorized_user", "refresh_token": "t"}'),
        ("settings.py", f"KEY = 'AKIA{'A' * 16}'"),
        ("notes.txt", f"token:ghp_{'a' * 36}"),
        ("cluster.yaml", "kind: Config\nusers:\n- name: a\n  user:\n    token: t"),
        ("cluster.json", '{"kind": "Config", "users": [{"user": {"client-key-data": "a"}}]}'),
    ],
)
def test_secrets_are_refused_until_allowed(tmp_path: Path, name: str, content: str) -> None:
    path = folder(tmp_path, {"main.py": "", name: content})
    with pytest.raises(FolderError, match="looks like a secret") as error:
        names(path)
    assert name in str(error.value)
    assert content not in str(error.value)
    assert f"app/{name}" in names(path, (name,))
    (path / ".dockerignore").write_text(f"{name}\n.dockerignore")
    assert names(path) == ["app/main.py"]


def test_examples_and_public_certificates_are_no_secrets(tmp_path: Path) -> None:
    public = "-----BEGIN CERTIFICATE-----\nMII"
    files = {
        ".env.example": "X=",
        "conf/sample.env": "X=",
        "environment.py": "",
        "id_rsa.pub": "ssh-rsa",
        "ca.pem": public,
        "keys.py": "PUBLIC KEY",
        "words.txt": f"_AKIA{'A' * 16} AKIA{'A' * 17} sighp_{'a' * 36} ghp_{'a' * 37}",
        "mankind.yaml": "mankind: Config\ntoken: t",
        "docker.json": '{"auths": {"r.example.com": {}}, "credsStore": "desktop"}',
        "kube.yaml": "kind: Config\nusers:\n- name: a\n  user:\n    exec: {command: x}",
        "package.json": '{"name": "a", "auths": null, "token": "t"}',
    }
    path = folder(tmp_path, files)
    assert len(names(path)) == len(files)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_ignore_files_and_secrets_in_windows_encodings(tmp_path: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    path = folder(tmp_path, {"main.py": "", "notes.md": "é"})
    (path / ".dockerignore").write_bytes(f"{mark}notes.md\r\n.dockerignore\r\n".encode(encoding))
    assert names(path) == ["app/main.py"]
    (path / "a.txt").write_bytes(f"{mark}-----BEGIN PRIVATE KEY-----".encode(encoding))
    with pytest.raises(FolderError, match="a private key"):
        names(path)


def test_an_ignore_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    path = folder(tmp_path, {"main.py": ""})
    (path / ".dockerignore").write_bytes("größe".encode("latin-1"))
    with pytest.raises(OptionError, match=r"\.dockerignore is not text in utf-8: save it as UTF-8"):
        names(path)


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "sub/../../outside", "out"])
def test_links_out_of_the_folder_are_refused(tmp_path: Path, target: str) -> None:
    path = folder(tmp_path, {"main.py": "", "sub/x": ""})
    (tmp_path / "outside").write_text("not ours")
    if target == "out":  # a link inside that leads on to one outside
        (path / "out").symlink_to("../outside")
    (path / "link").symlink_to(target)
    with pytest.raises(FolderError, match=r"link links to .* outside of the folder"):
        names(path)


def test_links_inside_are_kept(tmp_path: Path) -> None:
    path = folder(tmp_path, {"sub/x": ""})
    (path / "sub/link").symlink_to("../main")
    (path / "folder").symlink_to("sub")
    links = {entry.path: entry.link for entry in read_app(path, "/app", ()) if entry.link}
    assert links == {"app/sub/link": "../main", "app/folder": "sub"}


def test_sockets_and_pipes_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = folder(tmp_path, {"main.py": ""})
    os.mkfifo(path / "pipe")
    monkeypatch.chdir(path)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket")
        with pytest.raises(FolderError) as error:
            names(path)
    assert "pipe is neither" in str(error.value)
    assert "socket is neither" in str(error.value)


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path) -> None:
    path = folder(tmp_path, {".env": "", "a.key": ""})
    (path / "link").symlink_to("/etc/passwd")
    with pytest.raises(FolderError) as error:
        names(path)
    assert all(name in str(error.value) for name in (".env", "a.key", "link", ".dockerignore"))


def test_missing_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="is not a folder"):
        names(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FolderError, match="no file"):
        names(tmp_path / "empty")


def test_a_copied_file_is_at_its_place_and_a_folder_below_it(tmp_path: Path) -> None:
    path = folder(tmp_path, {"run.sh": "#!/bin/sh", "sub/rules.yml": "[]", "sub/rules.log": ""})
    (path / "sub/.containerignore").write_text("*.log\n.containerignore\n")
    (path / "run.sh").chmod(0o755)
    (file,) = read_copy(path / "run.sh", "/usr/bin/start", (), "copy[0].src")
    assert (file.path, file.content, file.executable) == ("usr/bin/start", b"#!/bin/sh", True)
    entries = read_copy(path / "sub", "/etc/rules", (), "copy[1].src")
    assert [entry.path for entry in entries] == ["etc/rules/rules.yml"]


def test_what_cannot_be_copied_is_named_by_its_option(tmp_path: Path) -> None:
    path = folder(tmp_path, {"server.key": "x"})
    with pytest.raises(FolderError, match=r"^copy\[0\]\.src: .*server\.key looks like a secret"):
        read_copy(path / "server.key", "/etc/server.key", (), "copy[0].src")
    assert read_copy(path / "server.key", "/etc/server.key", ("*.key",), "copy[0].src")
    with pytest.raises(OptionError, match=r"^copy\[1\]\.src: .*none is not a folder"):
        read_copy(path / "none", "/etc", (), "copy[1].src")
