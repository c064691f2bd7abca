"""Reading manifests: what they mean, and where exactly they are wrong."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.download import (
    Downloader,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import (
    Refused,
    Source,
    expand,
    parse,
    read,
)

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def objects(text: str) -> list[Source]:
    parsed = list(parse(text, "f.yaml"))
    problems = [item for item in parsed if isinstance(item, str)]
    assert not problems
    return [item for item in parsed if isinstance(item, Source)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1\n", "f.yaml:2: not valid YAML"),
        ("a:\n\tb: 1\n", "f.yaml:2: not valid YAML"),
        (f"{MAP}---\njust a text\n", "f.yaml:5: not a Kubernetes object but str"),
        ("\n\nkind: ConfigMap\nmetadata: {name: a}\n", "f.yaml:3: apiVersion is missing"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "f.yaml:1: kind is missing"),
        ("apiVersion: v1\nkind: ConfigMap\n", "ConfigMap: metadata is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", "metadata.name is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 12}\n", r"not a text \(quote it\?\)"),
        (f"{MAP}kind: Secret\n", "f.yaml:4: not valid YAML: the key 'kind' stands twice"),
    ],
)
def test_the_place_of_a_mistake_is_told(text: str, problem: str) -> None:
    (*_, last) = parse(text, "f.yaml")
    assert isinstance(last, str)
    with pytest.raises(AssertionError, match=problem):
        raise AssertionError(last)


def test_documents_lists_and_blanks() -> None:
    listed = (
        "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: X, metadata: {name: b}}\n"
    )
    found = objects(f"# a comment\n---\n{MAP}---\n---\n{listed}")
    assert [(s.definition["metadata"]["name"], s.origin) for s in found] == [
        ("a", "f.yaml:3"),
        ("b", "f.yaml:8"),
    ]


def test_values_are_read_as_kubernetes_reads_them() -> None:
    text = f"{MAP}data:\n  date: 2026-01-02\n  sign: =\n  mode: 0644\n  yes: yes\n"
    (source,) = objects(text)
    data = source.definition["data"]
    assert data == {"date": "2026-01-02", "sign": "=", "mode": 0o644, True: True}


def test_names_are_made_of_the_content() -> None:
    def job(image: str) -> str:
        return (
            "apiVersion: batch/v1\nkind: Job\n"
            f"metadata: {{generateName: migrate-}}\nspec: {{image: {image}}}\n"
        )

    names = [objects(job(image))[0].definition["metadata"]["name"] for image in ("a", "a", "b")]
    assert names[0] == names[1] != names[2]
    assert names[0].startswith("migrate-")
    assert len(names[0]) == len("migrate-") + 8


def test_what_never_comes_back_from_the_server_is_rewritten() -> None:
    secret = (
        "apiVersion: v1\nkind: Secret\nmetadata: {name: s, creationTimestamp: null}\n"
        "data: {a: eA==}\nstringData: {b: plain, n: 5}\n"
    )
    (source,) = objects(secret)
    assert source.definition["data"] == {
        "a": "eA==",
        "b": base64.b64encode(b"plain").decode(),
        "n": base64.b64encode(b"5").decode(),
    }
    assert "stringData" not in source.definition
    assert "creationTimestamp" not in source.definition["metadata"]


def test_rules_of_an_aggregated_role_belong_to_the_controller_manager() -> None:
    role = (
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: r}\n"
        "aggregationRule: {clusterRoleSelectors: []}\nrules: []\n"
    )
    assert "rules" not in objects(role)[0].definition


def test_a_folder_is_all_its_manifests(tmp_path: Path) -> None:
    for name in ("b.yaml", "a/c.yml", "a/d.json", "e.txt"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(MAP)
    assert [str(p.relative_to(tmp_path)) for p in expand(str(tmp_path))] == [
        "a/c.yml",
        "a/d.json",
        "b.yaml",
    ]


def test_problems_of_all_sources_come_together(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused) as refused:
        read(
            contents=[{"name": "t", "text": "a: ["}, {"name": "u", "text": "kind: X"}],
            files=[str(tmp_path / "missing.yaml"), str(tmp_path / "empty")],
            urls=[{"url": "ftp://x", "checksum": ""}],
            downloader=Downloader(tmp_path / "cache"),
        )
    assert len(refused.value.problems) == 5
    assert str(refused.value).startswith("Nothing was changed: 5 problems")
