"""What the guides tell people to type is there: files, targets, variables, tags."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from benchmarks._harness import NAMES
from support.site import ROOT

GUIDES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/[!d]*/*.md"), *ROOT.glob("sandbox/docs/*.md")]
)
#: Variables of the plays themselves, not of a role.
PLAYS = {"batch", "canary", "target", "teardown_confirm"}


def commands(guide: Path) -> list[str]:
    """The lines of a guide's fences that name no language: commands, with their continuations."""
    fences = re.findall(r"^ *```\n(.*?)^ *```$", guide.read_text(), re.DOTALL | re.MULTILINE)
    text = "\n".join(fences).replace("\\\n", " ")
    return [line.partition(" #")[0].strip() for line in text.splitlines() if line.strip()]


def variables() -> set[str]:
    """Every variable that a role documents."""
    names: set[str] = set(PLAYS)
    for specs in ROOT.glob("roles/*/meta/argument_specs.yml"):
        for entry in yaml.safe_load(specs.read_text())["argument_specs"].values():
            names |= set(entry["options"])
    return names


def tags() -> set[str]:
    """Every tag in a playbook or role."""
    found: set[str] = set()
    for path in [*ROOT.glob("playbooks/*.yml"), *ROOT.glob("roles/*/tasks/*.yml")]:
        for group in re.findall(r"^ *tags: (.*)$", path.read_text(), re.MULTILINE):
            found |= {tag.strip() for tag in group.strip("[]").split(",")}
    return found


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(guide: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", guide.read_text()):
        assert (guide.parent / target).exists(), target


def test_make_targets_and_benchmarks_exist() -> None:
    targets = set(re.findall(r"^([a-z0-9]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    typed = [line for guide in GUIDES for line in commands(guide) if line.startswith("make ")]
    assert typed
    for line in typed:
        words = line.split()[1:]
        assert {word for word in words if "=" not in word} <= targets, line
        assert {word[6:] for word in words if word.startswith("BENCH=")} <= set(NAMES), line


def test_playbooks_variables_and_tags_exist() -> None:
    known, marked = variables(), tags()
    playbooks = [
        line for guide in GUIDES for line in commands(guide) if line.startswith("ansible-playbook")
    ]
    assert playbooks
    for line in playbooks:
        # Inventories may be the reader's own, and streamops.knative.NAME is playbooks/NAME.yml.
        for path in re.findall(r" ((?:playbooks/)?[a-z]+\.yml)\b", re.sub(r"-i \S+", "", line)):
            assert (ROOT / path).exists(), line
        for name in re.findall(r"streamops\.knative\.([a-z_]+)", line):
            assert (ROOT / "playbooks" / f"{name}.yml").exists(), line
        assigned = re.findall(r"""-e ['"]?(?:\{")?([a-z_]+)["=]""", line)
        assert set(assigned) <= known, line
        for group in re.findall(r"--(?:skip-)?tags (\S+)", line):
            assert set(group.split(",")) <= marked, line
