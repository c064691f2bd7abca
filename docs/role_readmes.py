"""Write the list of variables in each role's README from its argument specs.

What stands above the marker is written by hand. With --check nothing is written, and the exit code
is 1 where a README is not as it would be written.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import yaml

ROLES = Path(__file__).resolve().parents[1] / "roles"
MARKER = "<!-- From meta/argument_specs.yml: docs/role_readmes.py -->"


def text(value: Any) -> str:
    """Return a description as Markdown for a cell: Ansible's markup is code or plain text there."""
    joined = " ".join(value) if isinstance(value, list) else str(value or "")
    joined = re.sub(r"\b[CVOIE]\(((?:[^()\\]|\\.)*)\)", r"`\1`", joined)
    joined = re.sub(r"\b[PLUM]\(([^(),#]*)[^()]*\)", r"\1", joined)
    return " ".join(joined.replace("|", "\\|").split())


def kind(option: dict[str, Any]) -> str:
    """Return an option's type, with that of its elements and its choices."""
    found = option.get("type", "str")
    if "elements" in option:
        found += f" of {option['elements']}"
    if "choices" in option:
        found += ": " + ", ".join(f"`{choice}`" for choice in option["choices"])
    return str(found)


def default(option: dict[str, Any]) -> str:
    """Return an option's default as YAML, or that it is required."""
    if option.get("required"):
        return "required"
    if option.get("default") in (None, "", [], {}):
        return ""
    dumped = yaml.safe_dump(option["default"], default_flow_style=True, width=10**6)
    value = dumped.strip().removesuffix("...").strip()
    return f"`{value}`".replace("|", "\\|")


def rows(options: dict[str, Any], prefix: str, shown: dict[int, str]) -> list[str]:
    """Return a row for each option, followed by those of its own options.

    `shown` has the full names of options by their ids: what YAML has by an alias is described where its anchor is.
    """
    found = []
    for name, option in options.items():
        inner = option.get("options") or {}
        cells = [
            f"`{prefix}{name}`",
            kind(option),
            default(option),
            text(option.get("description")),
        ]
        places = {shown.get(id(one), "").removesuffix(key) for key, one in inner.items()}
        if len(places) == 1 and (place := places.pop()):
            is_option = place.endswith(".")
            same = (
                f"Same keys as `{place[:-1]}`"
                if is_option
                else f"Each key is as the variable `{place}KEY`"
            )
            cells[-1] += f" {same}: {', '.join(f'`{key}`' for key in inner)}."
            inner = {}
        found.append(f"| {' | '.join(cells)} |")
        shown.setdefault(id(option), f"{prefix}{name}")
        found += rows(inner, f"{prefix}{name}.", shown)
    return found


def variables(role: Path) -> str:
    """Return the table of a role's variables."""
    specs = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    lines = [
        "| Variable | Type | Default | |",
        "|---|---|---|---|",
        *rows(specs["main"]["options"], "", {}),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write, or with --check compare; return 1 where something differs."""
    differing = []
    for role in sorted(path.parent for path in ROLES.glob("*/README.md")):
        readme = role / "README.md"
        present = readme.read_text()
        wanted = f"{present.partition(MARKER)[0]}{MARKER}\n\n{variables(role)}"
        if present == wanted:
            continue
        differing.append(str(readme.relative_to(ROLES.parent)))
        if "--check" not in sys.argv:
            readme.write_text(wanted)
    if differing and "--check" in sys.argv:
        print(f"not as docs/role_readmes.py writes them: {', '.join(differing)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
