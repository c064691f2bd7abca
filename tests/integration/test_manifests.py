"""Manifests as people have them: the same values as kubectl's, or a sentence."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.kube import KNATIVE, Kube, api_server

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.manifests import (
    Manifests,
    Refused,
)

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: corpus\n"
SCALARS = """
y; n; Yes; on; OFF; tRue; ~; Null; 12:30; 22:00; 1022:22; 190:20:30; 0o400; 0400; 0O17; 00; 08; 09.5; 1_000; 1__0; 0_7
_1; 1_0.5; .1_0; 0x1F; 0X1f; 0b101; -0b101; 0x; +12; -0; -0.0; 1e3; 1E3; 1.5e3; 1.; .5; -.5; +.5; 1.10; 1.0; 1e-7; 1e21
1e400; 12345678901234567890; 123456789012345678901234; 2001-01-01; 2001-12-14t21:59:43.10-05:00; '12'; !!str 12; =
!!int "12"; !!float 1; !!bool yes; !!binary aGVsbG8=; !!set {a, b}; !foo 12; ! 12; !!timestamp 2001-01-01; 1,000
{1: a, true: b, 1.5: c, 010: d}; {a: c, <<: {a: b}}; {<<: {a: b}, a: c}; {<<: [{a: b}, {a: c, d: e}]}
[&x a, *x, &x b, *x]; "\\U0001f680"; "\\x41\\t"; |-
"""
CORPUS = {
    "scalars": HEAD
    + "data:\n"
    + "".join(
        f"  v{number:02}: {text}\n"
        for number, text in enumerate(SCALARS.replace("\n", "; ").split("; "))
        if text and text != "|-"
    ),
    "literals": HEAD
    + "data:\n  a: |\n    x\n     y\n\n  b: >-\n    x\n    y\n  c: |2+\n     x\n\n",
    "anchors": HEAD + "  labels: {a: &a one, b: *a, c: &a two, d: *a}\n",
    "marks": f"\ufeff{HEAD}---\n\ufeff{HEAD.replace('corpus', 'other')}---\n# nothing\n---\n",
    "json": json.dumps(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "corpus"},
            "data": {"a": "deployed \U0001f680", "b": 1.0, "c": [1, 2.5, 1e300]},
        }
    ),
    "list": "apiVersion: v1\nkind: List\nitems:\n- " + HEAD.replace("\n", "\n  ").rstrip() + "\n",
    "typed list": "apiVersion: v1\nkind: ConfigMapList\nitems:\n- "
    + HEAD.replace("\n", "\n  ").rstrip()
    + "\n",
}


@pytest.fixture(scope="module")
def kube(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    with api_server(tmp_path_factory.mktemp("kube")) as running:
        yield running


@pytest.fixture
def name() -> str:
    return f"test-{uuid4().hex[:8]}"


def _integer(digits: str) -> int | float:
    """kubectl prints floats beyond 64 bits without an exponent."""
    return int(digits) if abs(int(digits)) < 1 << 63 else float(digits)


def kubectls(kube: Kube, file: Path) -> list[dict[str, Any]]:
    """The objects of a file as kubectl reads them."""
    done = subprocess.run(
        [
            "kubectl",
            "create",
            "--dry-run=client",
            "--validate=false",
            "-o",
            "json",
            "-f",
            str(file),
        ],
        env=os.environ | {"KUBECONFIG": str(kube.kubeconfig)},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    decoder = json.JSONDecoder(parse_int=_integer)
    found, position = [], 0
    text = done.stdout.strip()
    while position < len(text):
        value, position = decoder.raw_decode(text, position)
        found += value["items"] if value["kind"] == "List" else [value]
        while position < len(text) and text[position].isspace():
            position += 1
    for entry in found:
        if entry["metadata"].get("namespace") == "default":
            del entry["metadata"]["namespace"]
        if entry["metadata"].get("creationTimestamp", "") is None:
            del entry["metadata"]["creationTimestamp"]  # printed by code generators
    return found


def ours(file: Path, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The objects of a file, whatever their values' types."""
    monkeypatch.setattr(f"{Manifests.__module__}._not_texts", lambda *_: [])
    manifests = Manifests()
    manifests.add(str(file), file.read_bytes())
    return [source.definition for source in manifests.result()]


@pytest.mark.needs("kubectl")
@pytest.mark.parametrize("entry", CORPUS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_values_are_those_that_kubectl_reads(
    kube: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entry: str, encoding: str
) -> None:
    file = tmp_path / "manifest.yaml"
    file.write_bytes(CORPUS[entry].encode(encoding))
    read, expected = ours(file, monkeypatch), kubectls(kube, file)
    assert read == expected
    assert json.dumps(read, sort_keys=True) == json.dumps(expected, sort_keys=True)


@pytest.mark.needs("kubectl")
@pytest.mark.skipif(not KNATIVE.is_dir(), reason="no upstream manifests beside the checkout")
def test_upstream_releases_are_read_as_kubectl_reads_them(
    kube: Kube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = kube.connect().resources()
    rewritten = ("Secret", "ClusterRole", "Job")
    texts = []
    for file in sorted(KNATIVE.glob("*.yaml")):
        for text in re.split(r"^---\s*$", file.read_text(), flags=re.MULTILINE):
            manifests = Manifests()
            manifests.add(str(file), text)
            for source in manifests.result():
                kind = source.definition["kind"]
                if (source.definition["apiVersion"], kind) in served and kind not in rewritten:
                    texts.append(text)
    assert len(texts) > 100
    file = tmp_path / "all.yaml"
    file.write_text("---\n".join(texts))
    assert ours(file, monkeypatch) == kubectls(kube, file)


def test_a_stale_resource_version_fails_at_once(kube: Kube, name: str) -> None:
    text = f"apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: {name}}}\ndata: {{a: b}}\n"
    created = kube.apply(text)
    assert created.result["changed"]
    stored = kube.get("v1", "ConfigMap", name, "default")
    assert stored is not None
    stored["data"]["a"] = "c"
    stale = json.dumps(stored)
    taken = kube.apply(stale)
    assert taken.actions == {f"ConfigMap {name}": "changed"}
    assert "left out, as only the server sets: metadata.managedFields" in taken.warnings[0]
    with pytest.raises(
        Refused, match="it was changed since it was exported; remove resourceVersion"
    ):
        kube.apply(stale, retry_timeout=60)
    with pytest.raises(Refused, match="the object does not exist: remove it"):
        kube.apply(stale.replace(name, f"{name}-new"))


def test_objects_with_the_same_generate_name_are_all_made(kube: Kube, name: str) -> None:
    text = "".join(
        f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{generateName: {name}-}}\ndata: {{part: '{n}'}}\n"
        for n in (1, 2, 1)
    )
    assert kube.apply(text).result["counts"] == {"created": 3}
    assert kube.apply(text).result["counts"] == {"unchanged": 3}


def test_characters_that_yaml_escapes_in_its_own_way_arrive(kube: Kube, name: str) -> None:
    wanted = {"greeting": "deployed \U0001f680 \x7f\x85\u2028\ufeff"}
    kube.apply(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": wanted}
    )
    stored = kube.get("v1", "ConfigMap", name, "default")
    assert stored is not None
    assert stored["data"] == wanted
