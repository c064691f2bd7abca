"""Layers and documents have the same bytes for the same content."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
import time
from pathlib import Path

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import OptionError
from ansible_collections.streamops.knative.plugins.module_utils._oci.image import (
    Added,
    Base,
    Settings,
    assemble,
    same_content,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.layer import (
    Entry,
    Layer,
    write_layer,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.platform import Platform
from ansible_collections.streamops.knative.plugins.module_utils._oci.reference import Reference

ENTRIES = [
    Entry("app/b.py", b"b" * 100_000),
    Entry("app/a.py", b"a"),
    Entry("app/run", b"#!/bin/sh", executable=True),
    Entry("app/link", link="a.py"),
    Entry("app/" + "long/" * 40 + "name with ümlaut", b"x"),
]
AMD64 = Platform("linux", "amd64")


def test_same_entries_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write_layer(ENTRIES, tmp_path / "1", "gzip")
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    os.umask(os.umask(0o077))
    second = write_layer(ENTRIES[::-1], tmp_path / "2", "gzip")
    assert first == second
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


@pytest.mark.parametrize("compression", ["gzip", "none"])
def test_layer_is_what_it_says(tmp_path: Path, compression: str) -> None:
    layer = write_layer(ENTRIES, tmp_path / "layer", compression)
    content = (tmp_path / "layer").read_bytes()
    plain = gzip.decompress(content) if compression == "gzip" else content
    assert layer.digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
    assert layer.diff_id == f"sha256:{hashlib.sha256(plain).hexdigest()}"
    assert layer.size == len(content)
    with tarfile.open(tmp_path / "layer") as tar:
        members = {member.name: member for member in tar}
        assert list(members) == sorted(name for name in members if members[name].isdir()) + sorted(
            name for name in members if not members[name].isdir()
        )
        assert {(m.uid, m.gid, m.uname, m.mtime) for m in members.values()} == {(0, 0, "", 0)}
        assert members["app/run"].mode == 0o755
        assert members["app/a.py"].mode == 0o644
        assert members["app/link"].linkname == "a.py"
        file = tar.extractfile("app/b.py")
        assert file is not None
        assert len(file.read()) == 100_000


def test_later_entries_win(tmp_path: Path) -> None:
    write_layer([Entry("x", b"1"), Entry("x", b"2")], tmp_path / "layer", "none")
    with tarfile.open(tmp_path / "layer") as tar:
        assert [tar.extractfile(member).read() for member in tar] == [b"2"]


def base(**config: object) -> Base:
    rootfs = {"type": "layers", "diff_ids": ["sha256:base"]}
    value = {"os": "linux", "architecture": "amd64", "config": config, "rootfs": rootfs}
    docker = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    return Base("sha256:b", [{"mediaType": docker, "digest": "sha256:l", "size": 1}], value)


def added(digest: str = "sha256:packed") -> Added:
    return Added("application", Layer("type", digest, 5, "sha256:diff"), "1 file")


def test_configuration_inherits_from_the_base() -> None:
    own = Settings(
        env={"A": "mine", "C": "3"},
        entrypoint=["python3"],
        user="1:1",
        ports=["80", "53/udp"],
        labels={"x": "y"},
        epoch=1_700_000_000,
    )
    inherited = base(
        Env=["A=base", "B=2"],
        Cmd=["bash"],
        Labels={"base": "yes"},
        ExposedPorts={"9/tcp": {}},
        WorkingDir="/",
    )
    image = assemble(AMD64, inherited, [added()], own)
    config = image.config.value()
    assert config["created"] == "2023-11-14T22:13:20Z"
    assert config["rootfs"]["diff_ids"] == ["sha256:base", "sha256:diff"]
    assert len(config["history"]) == 2
    assert config["config"] == {
        "Env": ["A=mine", "B=2", "C=3"],
        "Entrypoint": ["python3"],
        "User": "1:1",
        "WorkingDir": "/",
        "ExposedPorts": {"9/tcp": {}, "80/tcp": {}, "53/udp": {}},
        "Labels": {"base": "yes", "x": "y"},
    }
    manifest = image.manifest.value()
    assert manifest["config"]["digest"] == image.config.digest
    assert manifest["layers"][0]["mediaType"] == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert manifest["annotations"]["org.opencontainers.image.base.digest"] == "sha256:b"


def test_base_command_stays_without_an_entrypoint_of_our_own() -> None:
    image = assemble(AMD64, base(Cmd=["bash"], Entrypoint=["tini"]), [added()], Settings())
    config = image.config.value()["config"]
    assert (config["Entrypoint"], config["Cmd"]) == (["tini"], ["bash"])


def test_images_that_differ_in_compression_only_are_the_same() -> None:
    one = assemble(AMD64, base(), [added()], Settings()).manifest.value()
    packed = assemble(AMD64, base(), [added("sha256:zlib-ng")], Settings()).manifest.value()
    other = assemble(AMD64, base(), [added()], Settings(env={"A": "1"})).manifest.value()
    assert one != packed
    assert same_content(one, packed)
    assert not same_content(one, other)


@pytest.mark.parametrize(
    ("text", "registry", "name", "target"),
    [
        ("python", "docker.io", "library/python", "latest"),
        ("a/b:1", "docker.io", "a/b", "1"),
        ("localhost:5000/a:t", "localhost:5000", "a", "t"),
        ("gcr.io/p/a@sha256:" + "0" * 64, "gcr.io", "p/a", "sha256:" + "0" * 64),
    ],
)
def test_references(text: str, registry: str, name: str, target: str) -> None:
    reference = Reference.parse(text, "name")
    assert (reference.registry, reference.name, reference.target) == (registry, name, target)


@pytest.mark.parametrize("text", ["", "A/b", "a:", "a@sha256:1", "http://x/y", "x//y", "a b"])
def test_bad_references_name_the_option(text: str) -> None:
    with pytest.raises(OptionError, match=r"^base: "):
        Reference.parse(text, "base")


def test_platforms() -> None:
    assert Platform.parse("linux/arm64/v8").machine == "aarch64"
    tags = Platform.parse("linux/amd64").wheel_tags()
    assert {"manylinux_2_28_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64"} <= set(tags)
    assert "manylinux_2_34_x86_64" not in tags
    for text in ("windows/amd64", "linux", "linux/z80"):
        with pytest.raises(OptionError, match="not supported"):
            Platform.parse(text)
