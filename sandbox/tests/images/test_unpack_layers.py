"""Layers are unpacked as the image specification says, and nothing leaves the root."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path

import pytest

from streamops_sandbox.node.images.unpack import LayerError, apply_layer, resolve

GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def entry(name: str, content: str | None = None, *, kind=None, link="", mode=0o644):
    info = tarfile.TarInfo(name)
    info.mode, info.linkname = mode, link
    data = (content or "").encode()
    if kind:
        info.type = kind
    elif content is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    else:
        info.size = len(data)
    return info, data


def layer(path: Path, *entries) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return path


def apply(tmp_path: Path, *layers) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    for number, entries in enumerate(layers):
        apply_layer(layer(tmp_path / f"{number}.tar.gz", *entries), GZIP, root)
    return root


def names(root: Path) -> list[str]:
    return sorted(
        str(Path(parent, name).relative_to(root))
        for parent, folders, files in os.walk(root)
        for name in [*folders, *files]
    )


def test_diff_id_is_the_digest_of_the_tar(tmp_path: Path) -> None:
    blob = layer(tmp_path / "blob", entry("a", "1"))
    (tmp_path / "root").mkdir()
    expected = hashlib.sha256(gzip.decompress(blob.read_bytes())).hexdigest()
    assert apply_layer(blob, GZIP, tmp_path / "root") == f"sha256:{expected}"


def test_whiteout_removes_what_lower_layers_have(tmp_path: Path) -> None:
    root = apply(
        tmp_path,
        [entry("etc/a", "1"), entry("etc/b", "2"), entry("opt/deep/c", "3")],
        [entry("etc/.wh.a", ""), entry(".wh.opt", "")],
    )
    assert names(root) == ["etc", "etc/b"]


def test_opaque_folder_keeps_only_its_own_layer_whatever_the_order(tmp_path: Path) -> None:
    root = apply(
        tmp_path,
        [entry("data/old", "1"), entry("data/sub/old", "1")],
        [entry("data/new", "2"), entry("data/.wh..wh..opq", ""), entry("data/sub/new", "3")],
    )
    assert names(root) == ["data", "data/new", "data/sub", "data/sub/new"]


def test_file_replaces_folder_and_folder_replaces_file(tmp_path: Path) -> None:
    root = apply(
        tmp_path,
        [entry("one/file", "1"), entry("two", "2")],
        [entry("one", "now a file"), entry("two"), entry("two/file", "2")],
    )
    assert (root / "one").read_text() == "now a file"
    assert (root / "two/file").read_text() == "2"


def test_hard_links_share_and_dangling_ones_are_refused(tmp_path: Path) -> None:
    root = apply(tmp_path, [entry("a", "1"), entry("b", kind=tarfile.LNKTYPE, link="a")])
    assert (root / "a").stat().st_ino == (root / "b").stat().st_ino
    blob = layer(tmp_path / "bad", entry("c", kind=tarfile.LNKTYPE, link="/nowhere"))
    with pytest.raises(LayerError, match="FileNotFoundError"):
        apply_layer(blob, GZIP, root)


def test_absolute_links_stay_inside(tmp_path: Path) -> None:
    root = apply(
        tmp_path,
        [
            entry("usr/bin/tool", "tool"),
            entry("bin/tool", kind=tarfile.SYMTYPE, link="/usr/bin/tool"),
            entry("up", kind=tarfile.SYMTYPE, link="../../../usr/bin/tool"),
        ],
    )
    assert (root / "bin/tool").read_text() == "tool"
    assert (root / "up").read_text() == "tool"


@pytest.mark.parametrize("link", ["/", "..", "../..", "/../.."])
def test_writing_through_a_link_stays_inside(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "victim"
    root = apply(
        tmp_path,
        [
            entry("trap", kind=tarfile.SYMTYPE, link=link),
            entry("trap/victim", "got out"),
            entry("a/b/trap2", kind=tarfile.SYMTYPE, link="../../../../tmp"),
            entry("a/b/trap2/file", "1"),
        ],
    )
    assert not outside.exists()
    assert (root / "victim").read_text() == "got out"
    assert (root / "tmp/file").read_text() == "1"


@pytest.mark.parametrize("name", ["../victim", "a/../../victim"])
def test_climbing_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(LayerError, match="leads out"):
        apply(tmp_path, [entry(name, "got out")])
    assert not (tmp_path / "victim").exists()


def test_absolute_names_are_below_the_root(tmp_path: Path) -> None:
    assert names(apply(tmp_path, [entry("/etc/a", "1")])) == ["etc", "etc/a"]


def test_devices_are_left_out_and_set_user_id_is_dropped(tmp_path: Path) -> None:
    root = apply(
        tmp_path,
        [
            entry("dev/null", kind=tarfile.CHRTYPE),
            entry("pipe", kind=tarfile.FIFOTYPE),
            entry("su", "x", mode=0o4755),
            entry("secret", "x", mode=0o000),
        ],
    )
    assert names(root) == ["dev", "secret", "su"]
    assert (root / "su").stat().st_mode & 0o7777 == 0o755
    assert (root / "secret").read_text() == "x"


def test_replacing_a_file_does_not_touch_its_other_links(tmp_path: Path) -> None:
    root = apply(tmp_path, [entry("a", "old")])
    shared = tmp_path / "parent-snapshot"
    os.link(root / "a", shared)
    apply_layer(layer(tmp_path / "next", entry("a", "new")), GZIP, root)
    assert (shared.read_text(), (root / "a").read_text()) == ("old", "new")


def test_damaged_layer_is_reported(tmp_path: Path) -> None:
    blob = layer(tmp_path / "blob", entry("a", "x" * 100_000))
    blob.write_bytes(blob.read_bytes()[:-20])
    (tmp_path / "root").mkdir()
    with pytest.raises(LayerError, match="EOFError"):
        apply_layer(blob, GZIP, tmp_path / "root")


def test_unknown_kind_of_layer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerError, match="zstd"):
        apply_layer(tmp_path / "x", "application/vnd.oci.image.layer.v1.tar+zstd", tmp_path)


def test_link_loops_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises(LayerError, match="too many links"):
        resolve(tmp_path, "/a/x")


@pytest.mark.parametrize("name", [".wh...", "a/.wh...", ".wh.", "a/.wh..", "./.wh..."])
def test_a_whiteout_hides_nothing_but_entries_of_its_folder(tmp_path: Path, name: str) -> None:
    (tmp_path / "beside").write_text("of this machine")
    with pytest.raises(LayerError, match="hides no file"):
        apply(tmp_path, [entry("a"), entry("a/b", "1")], [entry(name, "")])
    assert (tmp_path / "beside").read_text() == "of this machine"
    assert (tmp_path / "root/a/b").read_text() == "1"


@pytest.mark.parametrize(
    "entries",
    [
        # a folder that is a link to itself, so that `..` behind it climbs twice
        [entry("d"), entry("d/same", kind=tarfile.SYMTYPE, link="."),
         entry("d/up", kind=tarfile.SYMTYPE, link="same/../../beside")],
        [entry("up", kind=tarfile.SYMTYPE, link="x/../../beside")],
    ],
)  # fmt: skip
def test_no_link_leads_out_of_the_root(tmp_path: Path, entries: list) -> None:
    (tmp_path / "beside").write_text("of this machine")
    root = apply(tmp_path, entries)
    for path in [root / name for name in names(root)]:
        assert path.resolve().is_relative_to(root), os.readlink(path)
