"""Images from the module: what is in them, that they are the same everywhere, and what changes."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import requests
from referencing import Registry as Schemas
from referencing import Resource
from referencing.jsonschema import DRAFT4
from support.registries import Registry, debian_registry, sandbox_registry

from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import OciError
from streamops_sandbox.node.images import make_root, process, pull

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = Path("/usr/share/gocode/src/github.com/opencontainers/image-spec/schema")
ANSIBLE = Path(sys.executable).with_name("ansible")
MODULE = "streamops.knative.oci_image"


def document(registry: Registry, name: str, kind: str, reference: str) -> dict:
    answer = requests.get(
        f"{registry.url}/v2/{name}/{kind}/{reference}",
        headers={
            "Accept": "application/vnd.oci.image.manifest.v1+json",
            **anonymous(registry, name),
        },
        timeout=60,
    )
    answer.raise_for_status()
    return answer.json()


def anonymous(registry: Registry, name: str) -> dict[str, str]:
    scope = {"scope": f"repository:{name}:pull"}
    answer = requests.get(f"{registry.url}/token", params=scope, timeout=60)
    return {"Authorization": f"Bearer {answer.json()['token']}"} if answer.ok else {}


def test_the_node_pulls_and_runs_it(build, tmp_path: Path) -> None:
    result = build(command=["now"])
    image = asyncio.run(pull(result["image"], store=tmp_path / "store"))
    make_root(image, tmp_path / "root", read_only=True)
    what = process(image, tmp_path / "root")
    done = subprocess.run(
        what.argv,
        env=what.env,
        cwd=what.cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "hello 42 now\n"
    assert image.config["User"] == "65532:65532"


def test_copied_files_are_in_the_image_and_in_its_diff(build, tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.mkdir()
    (rules / "first.yml").write_text("[]\n")
    copies = [
        {"src": str(rules), "dest": "/opt/rules"},
        {"src": str(rules / "first.yml"), "dest": "/etc/one"},
    ]
    result = build(copy=copies)
    image = asyncio.run(pull(result["image"], store=tmp_path / "store"))
    assert (image.rootfs / "opt/rules/first.yml").read_text() == "[]\n"
    assert (image.rootfs / "etc/one").read_text() == "[]\n"
    assert not build(copy=copies)["changed"]
    (rules / "second.yml").write_text("[]\n")
    changed = build(copy=copies, check=True, diff=True)
    assert changed["changed"]
    assert "opt/rules/second.yml" in changed["diff"]["after"]
    assert "opt/rules/second.yml" not in changed["diff"]["before"]


@pytest.mark.parametrize("dest", ["etc", "/", ""])
def test_a_copy_needs_an_absolute_place(build, dest: str) -> None:
    with pytest.raises(OciError, match=r"copy\[0\]\.dest: .* is not an absolute path below /"):
        build(copy=[{"src": build.options["path"], "dest": dest}])


def test_again_there_is_nothing_to_do(build) -> None:
    first, again = build(), build()
    assert first["changed"]
    assert not again["changed"]
    assert again["image"] == first["image"]
    assert again["pushed"] == {"uploaded": [], "mounted": [], "copied": [], "bytes": 0}


def test_two_folders_and_two_registries_one_digest(build, registry, tmp_path: Path) -> None:
    first = build(path=str(build.options["path"]))
    other = tmp_path / "elsewhere" / "copy"
    shutil.copytree(build.options["path"], other)
    (other / "__pycache__").mkdir()
    (other / "__pycache__" / "main.cpython-311.pyc").write_bytes(b"anything")
    for path in other.iterdir():
        os.utime(path, (1, 1))
        path.chmod(path.stat().st_mode & ~0o077 | 0o700 if path.is_dir() else 0o600)
    with sandbox_registry(tmp_path / "home2") as second_registry:
        second = build(
            name=f"{second_registry.host}/else/where",
            base=f"{second_registry.host}/library/python:3-slim",
            docker_config=str(second_registry.docker_config),
            path=str(other),
            cache=str(tmp_path / "cache2"),
        )
    assert second["changed"]
    assert second["digest"] == first["digest"]


def test_a_changed_line_uploads_the_application_only(build) -> None:
    first = build()
    app = Path(build.options["path"])
    (app / "main.py").write_text("print('other')\n")
    second = build()
    assert second["changed"]
    assert second["digest"] != first["digest"]
    assert len(second["pushed"]["uploaded"]) == 2  # the layer and the configuration
    assert second["pushed"]["bytes"] < 3000
    assert second["pushed"]["mounted"] == []


def test_base_is_mounted_in_its_registry(build) -> None:
    pushed = build()["pushed"]
    assert len(pushed["mounted"]) == 1
    assert pushed["copied"] == []


def test_base_of_another_registry_is_copied_once(build, tmp_path: Path) -> None:
    with sandbox_registry(tmp_path / "home2") as target:
        options = {"docker_config": str(target.docker_config)}
        first = build(name=f"{target.host}/team/app", **options)
        second = build(name=f"{target.host}/team/app", tags=["v2"], **options)
        third = build(name=f"{target.host}/team/app", env={"A": "1"}, **options)
    assert len(first["pushed"]["copied"]) == 1
    assert second["changed"]
    assert second["pushed"]["bytes"] == 0
    assert third["pushed"]["copied"] == []


def test_check_mode_predicts_and_pushes_nothing(build, registry) -> None:
    predicted = build(check=True)
    assert predicted["changed"]
    assert (
        requests.get(
            f"{registry.url}/v2/team/app/tags/list",
            headers=anonymous(registry, "team/app"),
            timeout=60,
        ).json()["errors"][0]["code"]
        == "NAME_UNKNOWN"
    )
    assert build()["image"] == predicted["image"]
    assert not build(check=True)["changed"]


def test_diff_names_what_changes(build) -> None:
    build()
    (Path(build.options["path"]) / "new.py").write_text("")
    diff = build(check=True, diff=True, env={"LEVEL": "debug"})["diff"]
    added = set(diff["after"].splitlines()) - set(diff["before"].splitlines())
    assert any("app/new.py" in line for line in added)
    assert any("LEVEL=debug" in line for line in added)
    assert "helper==1.0" in diff["before"]
    assert build(diff=True, check=False)["diff"]["before"]
    assert build(diff=True)["diff"] == {"before": "", "after": ""}


def test_tags_move_and_missing_ones_are_set(build) -> None:
    first = build(tags=["latest", "1.0"])
    (Path(build.options["path"]) / "main.py").write_text("print(2)\n")
    second = build(tags=["latest"])
    assert second["digest"] != first["digest"]
    assert build(tags=["1.0", "latest"])["changed"]
    assert not build(tags=["latest", "1.0"])["changed"]


def test_other_compression_is_the_same_image(build) -> None:
    """As when another machine's zlib packs differently: nothing is pushed, nothing rolls out."""
    first = build(compression="none")
    again = build(compression="gzip")
    assert not again["changed"]
    assert again["image"] == first["image"]


def test_creation_time_is_that_of_source_date_epoch(build, monkeypatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    diff = build(diff=True)["diff"]["after"]
    assert "created: '2023-11-14T22:13:20Z'" in diff


def test_index_for_several_platforms(build, registry: Registry, tmp_path: Path) -> None:
    """A base for two platforms is put together from the sandbox's own and a relabelled one."""
    build(name=f"{registry.host}/bases/amd64")
    token = requests.get(
        f"{registry.url}/token",
        params={"scope": "repository:bases/amd64:pull,push"},
        auth=registry.credentials,
        timeout=60,
    ).json()["token"]
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {token}"
    url = f"{registry.url}/v2/bases/amd64"
    original = document(registry, "bases/amd64", "manifests", "latest")
    config = document(registry, "bases/amd64", "blobs", original["config"]["digest"])
    entries = []
    for architecture in ("amd64", "arm64"):
        content = json.dumps(config | {"architecture": architecture}).encode()
        digest = put_blob(session, url, content)
        manifest = json.dumps(
            original | {"config": original["config"] | {"digest": digest, "size": len(content)}}
        )
        pushed = session.put(
            f"{url}/manifests/{architecture}",
            data=manifest,
            headers={"Content-Type": original["mediaType"]},
            timeout=60,
        )
        entries.append(
            {
                "mediaType": original["mediaType"],
                "digest": pushed.headers["Docker-Content-Digest"],
                "size": len(manifest),
                "platform": {"os": "linux", "architecture": architecture},
            }
        )
    index_type = "application/vnd.oci.image.index.v1+json"
    index = json.dumps({"schemaVersion": 2, "mediaType": index_type, "manifests": entries})
    session.put(
        f"{url}/manifests/both", data=index, headers={"Content-Type": index_type}, timeout=60
    ).raise_for_status()

    base = f"{registry.host}/bases/amd64:both"
    both = build(base=base, platforms=["linux/arm64", "linux/amd64"])
    assert both["platforms"] == ["linux/amd64", "linux/arm64"]
    assert not build(base=base, platforms=["linux/amd64", "linux/arm64"])["changed"]
    for architecture in ("amd64", "arm64"):
        image = asyncio.run(
            pull(both["image"], store=tmp_path / architecture, platform=("linux", architecture))
        )
        assert (image.rootfs / "app/main.py").exists()
    only = build(base=base, name=f"{registry.host}/team/one")
    assert only["platforms"] == ["linux/amd64"]


def put_blob(session: requests.Session, url: str, content: bytes) -> str:
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    session.post(f"{url}/blobs/uploads/", params={"digest": digest}, data=content, timeout=60)
    return digest


def schema_validator(name: str) -> jsonschema.Draft4Validator:
    """A validator for one of the specification's own schemas, which refer to each other by file."""

    def retrieve(uri: str) -> Resource:
        content = (SCHEMAS / uri.rpartition("/")[2]).read_text()
        return DRAFT4.create_resource(json.loads(content))

    schema = json.loads((SCHEMAS / name).read_text())
    return jsonschema.Draft4Validator(schema, registry=Schemas(retrieve=retrieve))


@pytest.mark.skipif(
    not SCHEMAS.exists(),
    reason="needs the specification's schemas:"
    " apt-get install golang-github-opencontainers-image-spec-dev",
)
def test_manifest_and_configuration_fit_the_specifications_schemas(build, registry) -> None:
    build(
        labels={"a": "b"},
        annotations={"org.opencontainers.image.source": "https://example.com"},
        ports=["8080"],
        stop_signal="SIGTERM",
    )
    manifest = document(registry, "team/app", "manifests", "latest")
    config = document(registry, "team/app", "blobs", manifest["config"]["digest"])
    schema_validator("image-manifest-schema.json").validate(manifest)
    schema_validator("config-schema.json").validate(config)
    with pytest.raises(jsonschema.ValidationError):
        schema_validator("image-manifest-schema.json").validate(manifest | {"layers": "none"})


@pytest.mark.needs("docker-registry", "skopeo")
def test_skopeo_takes_it_from_debians_registry(build, tmp_path: Path) -> None:
    folder = tmp_path / "debian"
    folder.mkdir()
    with debian_registry(folder) as registry:
        build.options["docker_config"] = None
        result = build(name=f"{registry.host}/team/app", tags=["v1"], ports=["8080"])
        assert not build(name=f"{registry.host}/team/app", tags=["v1"], ports=["8080"])["changed"]
        reference = f"docker://{registry.host}/team/app:v1"
        inspected = subprocess.run(
            ["skopeo", "inspect", "--tls-verify=false", reference],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        seen = json.loads(inspected.stdout)
        assert seen["Digest"] == result["digest"]
        assert "PYTHONPATH=/app:/opt/python" in seen["Env"]
        layout = tmp_path / "layout"
        target = f"oci:{layout}:v1"
        subprocess.run(
            ["skopeo", "--insecure-policy", "copy", "--src-tls-verify=false", reference, target],
            capture_output=True,
            timeout=60,
            check=True,
        )
    index = json.loads((layout / "index.json").read_text())
    assert index["manifests"][0]["digest"] == result["digest"]


def test_as_a_task(build, tmp_path: Path) -> None:
    """In Ansible's worker, and with an environment of its own as a module; warned of what is not pinned."""
    (Path(build.options["path"]) / "requirements.txt").write_text("helper\n")
    keep = ("name", "path", "base", "docker_config", "cache", "entrypoint")
    task = {"streamops.knative.oci_image": {name: build.options[name] for name in keep}}
    as_expected = [
        "predicted is changed",
        "'helper: no version is pinned' in predicted.warnings | first",
        "made is changed",
        "made.image == predicted.image",
        "again is not changed",
        "'helper: no version is pinned' in again.warnings | first",
        "'invocation' not in made",
        "found.image == made.image",
    ]
    tasks = [
        {**task, "register": "predicted", "check_mode": True},
        {**task, "register": "made"},
        {**task, "register": "again", "environment": {"ANY": "thing"}},
        {
            "streamops.knative.oci_image_info": {
                "name": "{{ made.tags | first }}",
                "docker_config": build.options["docker_config"],
            },
            "register": "found",
        },
        {"ansible.builtin.assert": {"that": as_expected}},
    ]
    playbook = tmp_path / "play.yml"
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}
    playbook.write_text(json.dumps([play]))
    done = subprocess.run(
        [ANSIBLE.with_name("ansible-playbook"), "-i", "localhost,", playbook],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_password_is_not_shown(build) -> None:
    arguments = {"name": "127.0.0.1:1/a", "path": build.options["path"], "base": "127.0.0.1:1/b"}
    arguments |= {"username": "u", "password": "s3cr3t-word", "request_retries": 0}
    done = subprocess.run(
        [ANSIBLE, "localhost", "-m", MODULE, "-vvv", "-a", json.dumps(arguments)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode != 0
    assert "does not answer" in done.stdout
    assert "s3cr3t-word" not in done.stdout.replace(json.dumps(arguments), "")
