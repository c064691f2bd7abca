"""The artifact that is released."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import yaml
from support.site import COLLECTION, ROOT

#: Part of a checkout, not of what is released; galaxy.yml becomes MANIFEST.json.
NOT_RELEASED = (".ci/", ".collections/", ".github/", "galaxy.yml", "sandbox/", "tests/")


def test_it_holds_what_git_knows_and_nothing_else(collections: Path) -> None:
    folder = collections / COLLECTION
    released = {
        entry["name"]
        for entry in json.loads((folder / "FILES.json").read_text())["files"]
        if entry["ftype"] == "file"
    }
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    known = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    expected = {
        name
        for name in known.splitlines()
        if not name.startswith(NOT_RELEASED) and (ROOT / name).is_file()
    }
    assert released == expected


def test_its_version_has_release_notes(collections: Path) -> None:
    folder = collections / COLLECTION
    version = json.loads((folder / "MANIFEST.json").read_text())["collection_info"]["version"]
    changes = yaml.safe_load((folder / "changelogs/changelog.yaml").read_text())
    assert version in changes["releases"]
    assert f"v{version}" in (folder / "CHANGELOG.rst").read_text().splitlines()
