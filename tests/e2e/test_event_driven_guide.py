"""docs/how-to/event-driven.md, word by word, from an artifact of the collection."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.event_source import until
from support.site import ROOT

GUIDE = ROOT / "docs" / "how-to" / "event-driven.md"


def commands(heading: str) -> list[str]:
    """The fences without a language below a heading."""
    section = GUIDE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(r"^```\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)


@pytest.mark.needs("java")
@pytest.mark.timeout(600)
def test_the_guide_word_by_word(tmp_path: Path) -> None:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")},
        "HOME": str(tmp_path),
        "PIP_CONSTRAINT": str(ROOT / "constraints.txt"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PATH": f"{Path(sys.base_prefix) / 'bin'}:{os.environ['PATH']}",
    }
    galaxy = Path(sys.executable).parent / "ansible-galaxy"
    build = [str(galaxy), "collection", "build", str(ROOT), "--output-path", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True, timeout=120)
    (install,) = commands("Install it")
    run, event = commands("Run a rulebook")
    script = f"set -eu\n{install}{run}"
    log = tmp_path / "output.txt"
    with log.open("wb") as output:
        rulebook = subprocess.Popen(
            ["bash", "-c", script],
            cwd=tmp_path, env=environment, stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip

    def send() -> str:
        done = subprocess.run(
            ["bash", "-c", event], env=environment, capture_output=True, text=True, timeout=60, check=False
        )  # fmt: skip
        assert rulebook.poll() is None, log.read_text()
        return done.stdout

    try:
        assert " 202 Accepted" in until(send, "ansible-rulebook listens", 400)
        tickets = until(lambda: list(tmp_path.glob("tickets/*.json")), "a ticket is written", 150)
        assert " 202 Accepted" in send()
        until(lambda: tickets[0].read_text().endswith("}\n"), "it is complete")
        ticket = json.loads(tickets[0].read_text())
        assert ticket["event"]["data"] == {"text": "Please restart the gateway"}
        assert (ticket["ruleset"], ticket["rule"]) == (
            "Posts that match a pattern",
            "A post matches",
        )
        assert len(list(tmp_path.glob("tickets/*.json"))) == 1
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(rulebook.pid, signal.SIGKILL)
        rulebook.wait(60)
