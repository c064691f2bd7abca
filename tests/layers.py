#!/usr/bin/env python3
"""Check which parts of the project import which: arrows go one way (exit code 1 names the others).

Modules and action plugins use the domain packages of module_utils, those its foundations and the
domains listed beside them; the sandbox and the apps know neither the collection nor each other, and
the sandbox's modules import each other without circles. docs/explanation/architecture.md shows it.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
COLLECTION = "ansible_collections.streamops.knative.plugins"
UTILS = f"{COLLECTION}.module_utils"
PLUGINS = tuple(
    f"{COLLECTION}.{kind}" for kind in ("action", "filter", "inventory", "lookup", "modules")
)
APPS = ("event_viewer", "twitter_producer")
#: Domain package -> the domains it may import.
DOMAINS: dict[str, tuple[str, ...]] = {
    "_google": (),
    "_kubernetes": ("_google",),  # tokens for kubeconfigs of GKE
    "_knative": ("_kubernetes",),
    "_oci": ("_google",),
    "_airgap": ("_knative", "_kubernetes", "_oci"),
    "_pipelines": ("_airgap", "_knative", "_kubernetes"),
}
#: Folder -> what nothing in it imports.
FORBIDDEN: dict[str, tuple[str, ...]] = {
    "sandbox/streamops_sandbox": ("ansible", "ansible_collections", "tests", *APPS),
    "apps/event-viewer/event_viewer": ("ansible", "ansible_collections", "streamops_sandbox", APPS[1]),
    "apps/twitter-producer/twitter_producer": (
        "ansible", "ansible_collections", "streamops_sandbox", APPS[0],
    ),
    "plugins": ("streamops_sandbox", *APPS),
    "plugins/module_utils": PLUGINS,
    **{
        f"plugins/module_utils/{name}": tuple(f"{UTILS}.{domain}" for domain in DOMAINS)
        for name in ("_module", "_http", "_yaml.py")
    },
    **{
        f"plugins/module_utils/{name}": tuple(
            f"{UTILS}.{domain}" for domain in DOMAINS if domain not in (name, *allowed)
        )
        for name, allowed in DOMAINS.items()
    },
}  # fmt: skip


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and full name of everything a file imports."""
    module = path.relative_to(ROOT).with_suffix("").parts
    package = module[:-1]
    if module[0] == "plugins":
        package = ("ansible_collections", "streamops", "knative", *package)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            name = ".".join(part for part in (base, node.module or "") if part)
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def circle() -> list[str]:
    """Return modules of the sandbox each of which imports the next when it is loaded, or none."""
    folder = ROOT / "sandbox"
    files = {
        ".".join(path.relative_to(folder).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (folder / "streamops_sandbox").rglob("*.py")
    }
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        found = graph[module] = set()
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module}.{a.name}" for a in node.names)]
                found.update(name for name in names if name in files and name != module)
        # A package's own modules may import it: that is how it is loaded before them.
        found -= {name for name in found if module.startswith(f"{name}.")}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def main() -> int:
    """Print what is imported against the arrows."""
    found = []
    for folder, names in FORBIDDEN.items():
        place = ROOT / folder
        for path in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            if not path.is_file():
                continue
            for line, name in imports(path):
                for one in names:
                    if f"{name}.".startswith(f"{one}."):
                        where = path.relative_to(ROOT)
                        found.append(f"{where}:{line}: {name} must not be imported in {folder}")
    if modules := circle():
        found.append(f"modules import each other in a circle: {' <- '.join(modules)}")
    print("\n".join(sorted(set(found))) or "no import goes against the layers")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
