"""What can go wrong is said, and never leaves a tag that cannot be pulled."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

import pytest
from aiohttp import web
from support.ports import free_port
from support.registries import debian_registry, proxy

from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import (
    FolderError,
    OptionError,
    RegistryError,
    WheelError,
)
from streamops_sandbox.node.images import ImageError, pull


def tag_is_absent(registry, tmp_path: Path, name: str = "team/app") -> None:
    with pytest.raises(ImageError, match="not found"):
        asyncio.run(pull(f"{registry.host}/{name}:latest", store=tmp_path / "none"))


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"name": "Not/Valid"}, OptionError, "name: 'Not/Valid' is not a valid image reference"),
        ({"name": "127.0.0.1:1/a:tag"}, OptionError, "tags go into 'tags'"),
        ({"tags": []}, OptionError, "tags: at least one"),
        ({"tags": ["a b"]}, OptionError, "tags: 'a b' is not a valid tag"),
        ({"path": "/nowhere"}, OptionError, "path: /nowhere is not a folder"),
        ({"platforms": ["plan9/arm"]}, OptionError, "platforms: 'plan9/arm' is not supported"),
        ({"platforms": ["linux/s390x"]}, OptionError, "is not for linux/s390x; it is for linux/"),
        ({"requirements": ["none.txt"]}, OptionError, "requirements: .*none.txt cannot be read"),
        ({"python_version": "three"}, OptionError, "python_version"),
        ({"app_path": "relative"}, OptionError, "app_path: 'relative' is not an absolute path"),
        ({"docker_config": "/none.json"}, OptionError, "docker_config: /none.json is not a file"),
        ({"auth": "basic"}, OptionError, "username and password"),
    ],
)
def test_wrong_options(build, registry, tmp_path, options: dict, kind: type, text: str) -> None:
    with pytest.raises(kind, match=text):
        build(**options)
    tag_is_absent(registry, tmp_path)


def test_base_that_does_not_exist(build, registry) -> None:
    with pytest.raises(RegistryError, match=r"base: .*/library/python:9 does not exist"):
        build(base=f"{registry.host}/library/python:9")
    with pytest.raises(RegistryError, match=r"base: .* does not exist"):
        build(base=f"{registry.host}/library/python@sha256:{'0' * 64}")


def test_no_wheel_for_the_platform(build, registry, tmp_path: Path) -> None:
    (Path(build.options["path"]) / "requirements.txt").write_text("helper==2.0\n")
    with pytest.raises(WheelError, match=r"no wheel of helper==2\.0 for Python 3"):
        build()
    tag_is_absent(registry, tmp_path)


def test_secret_in_the_folder(build, registry, tmp_path: Path) -> None:
    (Path(build.options["path"]) / ".env").write_text("PASSWORD=x")
    with pytest.raises(FolderError, match=r"\.env looks like a secret .* allow_secrets"):
        build()
    tag_is_absent(registry, tmp_path)
    assert build(allow_secrets=[".env"])["changed"]


def test_registry_that_does_not_answer(build) -> None:
    port = free_port()
    with pytest.raises(RegistryError, match=f"127.0.0.1:{port} does not answer"):
        build(name=f"127.0.0.1:{port}/team/app", request_retries=0)


def test_registry_that_refuses(build, registry, tmp_path: Path) -> None:
    nobody = tmp_path / "nobody.json"
    nobody.write_text("{}")
    with pytest.raises(RegistryError, match=r"401 .*Credentials are taken from username") as error:
        build(docker_config=str(nobody))
    assert error.value.status == 401
    tag_is_absent(registry, tmp_path)
    with pytest.raises(RegistryError, match="401"):
        build(docker_config=str(nobody), username="sandbox", password="wrong")
    user, password = registry.credentials
    assert build(docker_config=str(nobody), username=user, password=password)["changed"]


def test_registry_that_is_full(build, registry, tmp_path: Path) -> None:
    def spoil(request: web.Request, answer: web.Response) -> web.Response:
        if request.method == "PUT" and "/uploads/" in request.path:
            errors = [{"code": "DENIED", "message": "the registry is full"}]
            return web.json_response({"errors": errors}, status=403)
        return answer

    with (
        proxy(registry, spoil) as spoilt,
        pytest.raises(RegistryError, match=r"was not taken; no tag was changed.*full"),
    ):
        build(name=f"{spoilt.host}/team/app", docker_config=str(spoilt.docker_config))
    tag_is_absent(registry, tmp_path)


def test_upload_that_breaks_off_starts_over(build, registry, tmp_path: Path) -> None:
    broken: list[str] = []

    def spoil(request: web.Request, answer: web.Response) -> web.Response | None:
        if request.method == "PUT" and "/uploads/" in request.path and len(broken) < 2:
            broken.append(request.path)
            return None
        return answer

    with proxy(registry, spoil) as spoilt:
        result = build(
            name=f"{spoilt.host}/team/app",
            docker_config=str(spoilt.docker_config),
            base=f"{spoilt.host}/library/python:3-slim",
        )
    assert len(broken) == 2
    image = asyncio.run(pull(f"{registry.host}/team/app:latest", store=tmp_path / "store"))
    assert image.digest == result["digest"]


@pytest.mark.parametrize(
    "kind", ["sandbox", pytest.param("debian", marks=pytest.mark.needs("docker-registry"))]
)
def test_connection_lost_in_the_middle_of_a_layer(
    build, registry, tmp_path: Path, kind: str
) -> None:
    """Whatever half of it has arrived, the tag names a whole image."""
    content = os.urandom(8 << 20)
    (Path(build.options["path"]) / "data.bin").write_bytes(content)
    lost: list[str] = []

    def interrupt(request: web.Request) -> bool:
        large = (request.content_length or 0) > len(content) // 2
        if large and len(lost) < 2:
            lost.append(request.path)
            return True
        return False

    with contextlib.ExitStack() as stack:
        target = registry
        if kind == "debian":
            (tmp_path / "debian").mkdir()
            target = stack.enter_context(debian_registry(tmp_path / "debian"))
        spoilt = stack.enter_context(proxy(target, interrupt=interrupt))
        result = build(name=f"{spoilt.host}/team/app", docker_config=str(spoilt.docker_config))
        reference = f"{target.host}/team/app:latest"
        image = asyncio.run(pull(reference, store=tmp_path / "store"))
    assert len(lost) == 2
    assert image.digest == result["digest"]
    assert (image.rootfs / "app/data.bin").read_bytes() == content


def test_registry_that_keeps_breaking_off_leaves_no_tag(build, registry, tmp_path: Path) -> None:
    def spoil(request: web.Request, answer: web.Response) -> web.Response | None:
        return None if request.method == "PUT" and "/uploads/" in request.path else answer

    with proxy(registry, spoil) as spoilt, pytest.raises(RegistryError, match="no tag was changed"):
        build(
            name=f"{spoilt.host}/team/app",
            docker_config=str(spoilt.docker_config),
            request_retries=1,
        )
    tag_is_absent(registry, tmp_path)


def test_registry_that_is_overloaded_is_asked_again(build, registry) -> None:
    refused: list[str] = []

    def spoil(request: web.Request, answer: web.Response) -> web.Response | None:
        kind = f"{request.method} {request.path.split('/')[-2]}"
        if kind not in refused and "/v2/" in request.path:
            refused.append(kind)
            return web.Response(status=503)
        return answer

    with proxy(registry, spoil) as spoilt:
        config = str(spoilt.docker_config)
        assert build(name=f"{spoilt.host}/team/app", docker_config=config)["changed"]
    assert {"GET manifests", "HEAD blobs", "POST uploads"} & set(refused)
    assert {"PUT uploads", "PUT manifests"} <= set(refused)


@pytest.mark.parametrize("kind", ["manifests", "blobs"])
def test_base_that_was_changed_on_the_way(build, registry, tmp_path: Path, kind: str) -> None:
    def spoil(request: web.Request, answer: web.Response) -> web.Response | None:
        if request.method == "GET" and f"/{kind}/sha256:" in request.path and answer.status == 200:
            body = bytearray(answer.body)  # type: ignore[arg-type] # bytes were given
            body[-2] ^= 1
            return web.Response(body=bytes(body), headers=answer.headers)
        return answer

    with proxy(registry, spoil) as spoilt, pytest.raises(RegistryError, match="changed"):
        build(base=f"{spoilt.host}/library/python:3-slim", cache=str(tmp_path / "empty"))
    tag_is_absent(registry, tmp_path)


def test_registry_that_stores_something_else(build, registry) -> None:
    def spoil(request: web.Request, answer: web.Response) -> web.Response | None:
        if request.method == "PUT" and "/manifests/" in request.path:
            answer.headers["Docker-Content-Digest"] = f"sha256:{'0' * 64}"
        return answer

    with (
        proxy(registry, spoil) as spoilt,
        pytest.raises(RegistryError, match="changed the content"),
    ):
        build(name=f"{spoilt.host}/team/app", docker_config=str(spoilt.docker_config))


def test_two_builds_at_once(build, registry, tmp_path: Path) -> None:
    async def both() -> list[dict]:
        return await asyncio.gather(*(asyncio.to_thread(build) for _ in range(3)))

    results = asyncio.run(both())
    assert len({result["digest"] for result in results}) == 1
    asyncio.run(pull(results[0]["image"], store=tmp_path / "store"))


def test_damaged_cache_is_made_again(build, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    first = build(cache=str(cache))
    for path in cache.glob("blob-*"):
        path.unlink()
    for path in cache.glob("layer-*"):
        path.write_text("{ not json")
    assert build(cache=str(cache))["digest"] == first["digest"]
    assert list(cache.glob("blob-*"))
