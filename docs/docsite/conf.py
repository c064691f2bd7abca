"""Sphinx: the guides in Markdown and the reference that antsibull-docs made, as one site."""

from __future__ import annotations

import re
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

project = "streamops.knative"
copyright = "the streamops.knative contributors"
html_title = "streamops.knative"

extensions = ["myst_parser", "sphinx_antsibull_ext", "sphinxcontrib.mermaid"]
myst_fence_as_directive = ["mermaid"]
myst_heading_anchors = 3
nitpicky = True
# Commands and their output are plain text unless a fence names a language.
highlight_language = "text"
pygments_style = "ansible"

html_theme = "sphinx_ansible_theme"
html_show_sphinx = False
html_use_index = False
html_copy_source = False

ROOT = Path(__file__).parents[2]
FOLDERS = ("tutorials", "how-to", "reference", "explanation")
SOURCES = "https://github.com/streamops/knative/blob/main"
ANSIBLE = "https://docs.ansible.com/ansible/latest"
#: Label in Ansible's own documentation -> its page. No inventory is fetched: the build works without a network.
LABELS = {
    "ansible_configuration_settings": "reference_appendices/config.html",
    "action_plugins": "plugins/action.html#action-plugins",
    "common_return_values": "reference_appendices/common_return_values.html",
}


def link_sources(_app: Sphinx, page: str, content: list[str]) -> None:
    """Point links out of docs/ (`../../apps/…`) to the repository; a missing file is a warning."""
    if page.partition("/")[0] not in FOLDERS:
        return
    for path in re.findall(r"\]\(\.\./\.\./([^)#]+)", content[0]):
        if not (ROOT / path).exists():
            logging.getLogger(__name__).warning("no file %s", path, location=page)
    content[0] = content[0].replace("](../../", f"]({SOURCES}/")


def link_ansible(
    _app: Sphinx, _env: BuildEnvironment, node: pending_xref, content: nodes.TextElement
) -> nodes.reference | None:
    """Resolve references to Ansible's own documentation."""
    target = node["reftarget"]
    plugin = target.removeprefix("ansible_collections.ansible.builtin.")
    if plugin != target:
        page = f"collections/ansible/builtin/{plugin}.html"
    elif target in LABELS:
        page = LABELS[target]
    elif node["reftype"] == "envvar" and target.startswith("ANSIBLE_"):
        page = f"reference_appendices/config.html#envvar-{target}"
    else:
        return None
    return nodes.reference("", "", content, internal=False, refuri=f"{ANSIBLE}/{page}")


def setup(app: Sphinx) -> None:
    """Register the above with Sphinx."""
    app.connect("source-read", link_sources)
    app.connect("missing-reference", link_ansible)
