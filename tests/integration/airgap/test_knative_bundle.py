"""A release with all its images comes into one file: by digest, once, and whole or not at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from support.airgap import BOTH, ENVOY, QUEUE, Release
from support.registries import proxy

from ansible_collections.streamops.knative.plugins.module_utils._module.errors import TaskError


def contents(path: Path) -> dict[str, Any]:
    with tarfile.open(path) as tar:
        file = tar.extractfile("bundle.json")
        assert file
        found: dict[str, Any] = json.load(file)
        return found


def test_every_image_is_in_it_by_its_digest(upstream: Release, tmp_path: Path) -> None:
    path = tmp_path / "knative.tar"
    done = upstream.collect(path)
    assert done["changed"] is True
    images = {image["reference"]: image for image in done["images"]}
    assert images.keys() == upstream.references
    assert contents(path)["images"] == done["images"]
    assert images[ENVOY]["digest"] != images[ENVOY]["source_digest"], "one platform of two"
    assert "Deployment 3scale-kourier-gateway" in images[ENVOY]["used_by"]
    assert "ConfigMap config-deployment" in images[QUEUE]["used_by"]
    assert path.stat().st_size == done["size"]


def test_it_is_an_image_layout_whose_checksums_are_right(bundle: Path, tmp_path: Path) -> None:
    subprocess.run(["tar", "-xf", bundle, "-C", tmp_path], check=True)
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=tmp_path, check=True)
    assert json.loads((tmp_path / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}
    assert (tmp_path / "releases/serving-1.23.0/serving-core.yaml").is_file()


@pytest.mark.needs("skopeo")
def test_other_tools_read_it(bundle: Path, tmp_path: Path) -> None:
    name = ENVOY
    digest = next(i["digest"] for i in contents(bundle)["images"] if i["reference"] == name)
    command = ["skopeo", "inspect", "--raw", f"oci-archive:{bundle}:{name}"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    command = ["skopeo", "manifest-digest", "/dev/stdin"]
    assert (
        subprocess.run(command, input=raw, capture_output=True, check=True).stdout.decode().strip()
        == digest
    )


def test_the_same_release_is_not_fetched_again(upstream: Release, tmp_path: Path) -> None:
    path = tmp_path / "knative.tar"
    first = upstream.collect(path)
    before = path.read_bytes()
    upstream.asked.clear()
    again = upstream.collect(path)
    assert (again["changed"], again["fetched"], again["kept"]) == (False, 0, first["fetched"])
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["knative.tar"]
    configs = len(upstream.references) - 2  # of images for one platform, to see which it is
    assert len(upstream.blobs_fetched()) == configs


def test_check_mode_says_what_would_be_fetched(upstream: Release, tmp_path: Path) -> None:
    path = tmp_path / "knative.tar"
    foreseen = upstream.collect(path, check=True)
    assert list(tmp_path.iterdir()) == []
    done = upstream.collect(path)
    assert foreseen.result == done.result
    assert upstream.collect(path, check=True)["changed"] is False


def test_an_interrupted_run_is_gone_on_with(published: Release, tmp_path: Path) -> None:
    path = tmp_path / "knative.tar"
    asked: list[str] = []

    def lose_the_fourth(request: web.Request, answer: web.Response) -> web.Response | None:
        if "/blobs/" in request.path and len(answer.body or b"") > 300:
            asked.append(request.path)
            if len(asked) > 3:
                return web.Response(status=404)
        return answer

    with (
        proxy(published.upstream.registry, lose_the_fourth) as failing,
        pytest.raises(TaskError, match=r"blob sha256:\w+ is missing"),
    ):
        published.collect(path, failing, parallel=1)
    assert not path.exists()
    done = published.collect(path)
    assert done["kept"] > 0
    assert done["fetched"] + done["kept"] == published.collect(path)["kept"]
    whole = tmp_path / "whole.tar"
    published.collect(whole)
    assert path.read_bytes() == whole.read_bytes()


def test_a_release_that_changed_meanwhile_keeps_what_was_fetched(
    upstream: Release, tmp_path: Path
) -> None:
    path = tmp_path / "knative.tar"
    upstream.collect(path)
    os.rename(path, tmp_path / "knative.tar.part")
    done = upstream.collect(
        path, platforms=list(BOTH[:1]), images=[f"{ENVOY}"], components=["serving"]
    )
    assert done["fetched"] == 0
    assert [entry.name for entry in tmp_path.iterdir()] == ["knative.tar"]


def test_a_damaged_blob_is_fetched_again(upstream: Release, tmp_path: Path) -> None:
    path = tmp_path / "knative.tar"
    upstream.collect(path)
    good = path.read_bytes()
    place = good.index(b"the program of")
    path.write_bytes(good[:place] + b"T" + good[place + 1 :])
    done = upstream.collect(path)
    assert (done["changed"], done["fetched"] > 0, done["kept"] > 0) == (True, True, True)
    assert path.read_bytes() == good


def test_platforms(upstream: Release, tmp_path: Path) -> None:
    options = {"components": [], "images": [ENVOY]}
    both = upstream.collect(tmp_path / "both.tar", platforms=list(BOTH), **options)
    every = upstream.collect(tmp_path / "all.tar", platforms=[], **options)
    one = upstream.collect(tmp_path / "one.tar", platforms=["linux/arm64"], **options)
    assert both["images"][0]["digest"] == both["images"][0]["source_digest"]
    assert every["images"] == both["images"]
    assert one["images"][0]["platforms"] == ["linux/arm64"]
    with pytest.raises(TaskError) as refused:
        upstream.collect(tmp_path / "x.tar", platforms=["linux/arm64"])
    assert (
        str(refused.value).count("is not for linux/arm64; it is for linux/amd64")
        == len(upstream.references) - 2
    )


def test_everything_that_cannot_be_had_is_named_at_once(upstream: Release, tmp_path: Path) -> None:
    missing = ["docker.io/library/one:1", "docker.io/library/two:1"]
    with pytest.raises(TaskError) as refused:
        upstream.collect(tmp_path / "knative.tar", images=[*missing, "Not A Reference"])
    for text in (
        "library/one:1",
        "library/two:1",
        "'Not A Reference' is not a valid image reference",
    ):
        assert text in str(refused.value)
    assert list(tmp_path.iterdir()) == []


def test_bad_options_are_refused(upstream: Release, tmp_path: Path) -> None:
    path = tmp_path / "knative.tar"
    with pytest.raises(TaskError, match="size_limit: the bundle would have"):
        upstream.collect(path, size_limit=0.001)
    with pytest.raises(TaskError, match="serving_version: required"):
        upstream.collect(path, serving_version=None)
    with pytest.raises(TaskError, match=r"components: 'kourier' needs 'serving'"):
        upstream.collect(path, components=["kourier"])
    with pytest.raises(TaskError, match=r"the folder .*/none does not exist"):
        upstream.collect(tmp_path / "none" / "knative.tar")
    with pytest.raises(TaskError, match="is a folder: name a file"):
        upstream.collect(tmp_path)
    with pytest.raises(TaskError, match="not done within 0 s"):
        upstream.collect(path, timeout=0)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(disk)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a file system: run as root")
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_disk_that_is_too_small_is_refused(upstream: Release, disk: Path) -> None:
    (disk / "filler").write_bytes(bytes(200 << 10))
    with pytest.raises(TaskError, match=r"takes \d+ bytes more, and the disk .* has \d+ left"):
        upstream.collect(disk / "knative.tar")


def test_a_disk_that_fills_up_halfway_loses_nothing(published: Release, disk: Path) -> None:
    fetched: list[str] = []

    def fill(request: web.Request, answer: web.Response) -> web.Response:
        if "/blobs/" in request.path and len(answer.body or b"") > 300:
            fetched.append(request.path)
            if len(fetched) == 3:
                with pytest.raises(OSError, match="No space left"):
                    (disk / "filler").write_bytes(bytes(1 << 20))
        return answer

    path = disk / "knative.tar"
    with (
        proxy(published.upstream.registry, fill) as filling,
        pytest.raises(TaskError, match=r"is full\. What was written is kept: make room"),
    ):
        published.collect(path, filling, parallel=1)
    (disk / "filler").unlink()
    assert published.collect(path)["kept"] > 0


def test_memory_does_not_grow_with_the_images(published: Release, tmp_path: Path) -> None:
    reference = "docker.io/library/large:1"
    published.upstream.publish(reference, layers=[bytes(300 << 20)])
    program = tmp_path / "collect.py"
    program.write_text(
        "import sys, json, pathlib, re\n"
        "from support.airgap import run\n"
        "from ansible_collections.streamops.knative.plugins.modules import knative_bundle\n"
        "run(knative_bundle.TASK, **json.loads(sys.argv[1]))\n"
        # ru_maxrss has that of the process that started it, too.
        "print(re.search(r'VmHWM:\\s+(\\d+) kB', pathlib.Path('/proc/self/status').read_text())[1])\n"
    )
    options = {**published.options(tmp_path / "large.tar"), "components": [], "images": [reference]}
    done = subprocess.run(
        [sys.executable, program, json.dumps(options)],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 200 << 10, "KiB"
