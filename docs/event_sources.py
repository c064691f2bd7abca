"""Write the options of the event sources into docs/reference/event-sources.md, from their DOCUMENTATION.

What stands above the marker is written by hand. With --check nothing is written, and the exit code
is 1 where the page is not as it would be written.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Any

import yaml
from role_readmes import default, kind, text

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "event-sources.md"
MARKER = "<!-- From the plugins' DOCUMENTATION: docs/event_sources.py -->"


def documentation(path: Path) -> dict[str, Any]:
    """Return what a plugin's file says of itself, with the options of its fragments."""
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id in ("DOCUMENTATION", "EXAMPLES")
        and isinstance(node.value, ast.Constant)
    }
    found: dict[str, Any] = yaml.safe_load(constants["DOCUMENTATION"])
    found["examples"] = constants["EXAMPLES"].strip()
    fragment = found.get("extends_documentation_fragment", "").rpartition(".")[2]
    if fragment:
        source = (ROOT / "plugins" / "doc_fragments" / f"{fragment}.py").read_text(encoding="utf-8")
        more = yaml.safe_load(source.partition('DOCUMENTATION = r"""')[2].partition('"""')[0])
        found["options"] |= more["options"]
    return found


def section(path: Path) -> str:
    """Return a plugin's part of the page."""
    found = documentation(path)
    lines = [f"## streamops.knative.{path.stem}", "", f"{found['short_description']}.", ""]
    lines += [f"- {text(line)}" for line in found["description"]]
    lines += ["", "```yaml", found["examples"], "```", ""]
    lines += ["| Option | Type | Default | |", "|---|---|---|---|"]
    for name, option in found["options"].items():
        row = (f"`{name}`", kind(option), default(option), text(option["description"]))
        lines.append(f"| {' | '.join(row)} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    plugins = sorted((ROOT / "extensions" / "eda" / "plugins" / "event_source").glob("*.py"))
    before = PAGE.read_text(encoding="utf-8")
    above = before.partition(MARKER)[0]
    after = above + "\n\n".join([MARKER, *map(section, plugins)]) + "\n"
    if arguments == ["--check"]:
        if before != after:
            print("docs/reference/event-sources.md is not up to date: run docs/event_sources.py")
        return int(before != after)
    PAGE.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
