# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Texts for people, as they are to be read: in a result they would be JSON strings, or folded YAML."""

from __future__ import annotations

from ansible import constants
from ansible.utils.display import Display

#: Callbacks for people, which own standard output no more than others do.
PLAIN_CALLBACKS = ("default", "ansible.builtin.default")


def show(host: str, text: str) -> bool:
    """Print a text about a host where people read the output; return whether it was printed."""
    if constants.DEFAULT_STDOUT_CALLBACK not in PLAIN_CALLBACKS:
        return False
    Display().display(f"[{host}]{text}")
    return True
