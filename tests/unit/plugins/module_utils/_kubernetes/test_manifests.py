"""Reading manifests: what they mean, and where exactly they are wrong."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.growth import is_linear

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.download import (
    Download,
    Downloader,
)
from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import (
    Manifests,
    Refused,
    Source,
    expand,
    read,
)

MAP = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"


def objects(text: str | bytes) -> list[Source]:
    manifests = Manifests()
    manifests.add("f.yaml", text)
    return manifests.result()


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: [1\n", "f.yaml:2: not valid YAML"),
        ("a:\n\tb: 1\n", "f.yaml:2: not valid YAML"),
        (f"{MAP}---\njust a text\n", "f.yaml:5: a text is not a Kubernetes object"),
        ("\n\nkind: ConfigMap\nmetadata: {name: a}\n", "f.yaml:3: apiVersion is missing"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "f.yaml:1: kind is missing"),
        ("apiVersion: v1\nkind: ConfigMap\n", "ConfigMap: metadata is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n", "metadata.name is missing"),
        ("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: 12}\n", r"not a text \(quote it\?\)"),
        (f"{MAP}kind: Secret\n", "f.yaml:4: the key 'kind' is given twice"),
    ],
)
def test_the_place_of_a_mistake_is_told(text: str, problem: str) -> None:
    with pytest.raises(Refused, match=problem):
        objects(text)


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
    text = f"{MAP}spec:\n  date: 2026-01-02\n  sign: =\n  mode: 0644\n  yes: yes\n"
    (source,) = objects(text)
    data = source.definition["spec"]
    assert data == {"date": "2026-01-02", "sign": "=", "mode": 0o644, "true": True}


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
        "data: {a: eA==}\nstringData: {b: plain, pin: '5', empty: null}\n"
    )
    (source,) = objects(secret)
    assert source.definition["data"] == {
        "a": "eA==",
        "b": base64.b64encode(b"plain").decode(),
        "pin": base64.b64encode(b"5").decode(),
        "empty": "",
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
    manifests = Manifests()
    read(
        manifests,
        contents=[{"name": "t", "text": "a: ["}, {"name": "u", "text": "kind: X"}],
        files=[str(tmp_path / "missing.yaml"), str(tmp_path / "empty")],
        urls=[Download("ftp://x")],
        downloader=Downloader(tmp_path / "cache"),
    )
    with pytest.raises(Refused) as refused:
        manifests.result()
    assert len(refused.value.problems) == 5
    assert str(refused.value).startswith("Nothing was changed: 5 problems")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_files_with_a_byte_order_mark_are_read(encoding: str) -> None:
    data = MAP.encode(encoding)
    (source,) = objects(b"\xfe\xff" + data if encoding == "utf-16-be" else data)
    assert source.definition["metadata"] == {"name": "a"}


def test_another_encoding_is_named_with_its_line() -> None:
    with pytest.raises(Refused, match=r"f.yaml:4: not valid UTF-8: save the file as UTF-8"):
        objects(MAP.encode() + "data: {a: grün}".encode("latin-1"))


@pytest.mark.parametrize("value", ["{{ app }}", "{{ .Values.name }}", "{% if x %}a{% endif %}"])
def test_a_template_that_was_not_rendered_is_named_with_its_line(value: str) -> None:
    with pytest.raises(Refused, match=r"f.yaml:3: .*Is it a template\?"):
        objects(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {value}}}\n")


def test_typed_lists_are_their_items() -> None:
    text = (
        "apiVersion: v1\nkind: ConfigMapList\nmetadata: {resourceVersion: ''}\nitems:\n"
        "- metadata: {name: a}\n---\napiVersion: v1\nkind: List\nitems:\n"
    )
    (source,) = objects(text)
    assert source.definition == {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}


def test_an_object_whose_kind_ends_in_list_is_an_object() -> None:
    text = "apiVersion: x/v1\nkind: AllowList\nmetadata: {name: a}\nitems: [{b: c}]\n"
    assert objects(text)[0].definition["kind"] == "AllowList"


def test_duplicate_keys_are_ignored_or_warned_about_where_asked_for() -> None:
    text = f"{MAP}data:\n  a: b\n  a: c\n"
    with pytest.raises(Refused, match=r"f.yaml:6: the key 'a' is given twice"):
        objects(text)
    for warn, warnings in (
        (False, []),
        (True, ["f.yaml:6: the key 'a' is given twice: the last one is used"]),
    ):
        manifests = Manifests(strict=False, warn_duplicates=warn)
        manifests.add("f.yaml", text)
        assert manifests.result()[0].definition["data"] == {"a": "c"}
        assert manifests.warnings == warnings


@pytest.mark.parametrize(
    ("rest", "problem"),
    [
        (
            "kind: Secret\nstringData: {pin: 0777}",
            r"Secret: stringData.pin is a number \(its value",
        ),
        ("kind: Secret\ndata: {flag: yes}", "Secret: data.flag is a boolean"),
        (
            "kind: ConfigMap\ndata: {price: 1.10}",
            r"data.price is a number \(1.1\), not a text: quote",
        ),
        ("kind: ConfigMap\ndata: [a]", "ConfigMap: data is a list, not a mapping"),
    ],
)
def test_values_that_are_not_texts_are_refused(rest: str, problem: str) -> None:
    with pytest.raises(Refused, match=problem) as refused:
        objects(f"apiVersion: v1\nmetadata: {{name: a}}\n{rest}\n")
    assert "511" not in str(refused.value)
    with pytest.raises(Refused, match=r"metadata.labels.version is a number"):
        objects("apiVersion: v1\nkind: X\nmetadata: {name: a, labels: {version: 1}}\n")


def test_objects_with_the_same_generated_name_are_objects_of_their_own() -> None:
    def job(data: str) -> str:
        head = "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-}\n"
        return f"---\n{head}data: {{a: {data}}}\n"

    text = job("one") + job("two") + job("one")
    names = [source.definition["metadata"]["name"] for source in objects(text)]
    assert len(set(names)) == 3
    assert names == [source.definition["metadata"]["name"] for source in objects(text)]


def test_an_export_is_taken_without_what_only_the_server_sets() -> None:
    manifests = Manifests()
    manifests.add(
        "f.yaml",
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\n  uid: u\n  resourceVersion: '1'\n"
        "  creationTimestamp: '2026-01-01T00:00:00Z'\n  managedFields: []\nstatus: {a: b}\n",
    )
    (source,) = manifests.result()
    assert source.definition["metadata"] == {"name": "a", "resourceVersion": "1"}
    assert "status" not in source.definition
    assert manifests.warnings == [
        "f.yaml:1: left out, as only the server sets: metadata.managedFields, metadata.uid,"
        " metadata.creationTimestamp, status"
    ]


def test_links_in_a_folder_are_followed_once(tmp_path: Path) -> None:
    for name in ("real/a.yaml", "other/b.yaml"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(MAP)
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a.yaml").symlink_to("../real/a.yaml")
    (folder / "more").symlink_to("../other")
    (folder / "loop").symlink_to(".")
    assert [str(path.relative_to(folder)) for path in expand(str(folder))] == [
        "a.yaml",
        "more/b.yaml",
    ]


@pytest.mark.parametrize(
    "part",
    [
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, labels: {b: 1}}\n---\n",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {generateName: a-}\n---\n",
        "apiVersion: v1\nkind: List\nitems: [{apiVersion: v1, kind: ConfigMap, metadata: {name: a}}]\n---\n",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {b: 1}\n---\n",
    ],
)
def test_time_grows_with_the_number_of_objects(part: str) -> None:
    def make(size: int) -> Callable[[], object]:
        text = part * (size // len(part))

        def read() -> None:
            manifests = Manifests()
            manifests.add("x", text)
            with contextlib.suppress(Refused):
                manifests.result()

        return read

    assert is_linear(make, 20_000)
