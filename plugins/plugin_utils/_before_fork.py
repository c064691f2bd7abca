# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""What Ansible's main process does once, so that its workers need not.

Ansible forks a worker for each task of each host. What the main process has loaded by then all of them
share; anything else each of them loads anew, in every task.
"""

from __future__ import annotations

import contextlib
import gc

from ansible.plugins import loader

from ._compiled_templates import share_compiled_templates

#: Plugins that only workers load, by their loaders: those of ansible-core that nearly all tasks use, and this
#: collection's. One filter or test of a collection loads them all.
_USED_IN_WORKERS = (
    (loader.connection_loader, "local"),
    (loader.shell_loader, "sh"),
    (loader.filter_loader, "ansible.builtin.combine"),
    (loader.filter_loader, "streamops.knative.changes"),
    (loader.test_loader, "ansible.builtin.defined"),
    (loader.lookup_loader, "ansible.builtin.env"),
    (loader.lookup_loader, "ansible.builtin.file"),
    (loader.lookup_loader, "ansible.builtin.template"),
)


def share_what_is_loaded() -> None:
    """Leave what the process has loaded so far out of garbage collections.

    A collection writes to every object that it looks at. In a worker it would copy the main process's memory,
    page by page, for objects that stay anyway.
    """
    gc.freeze()


for _loader, _name in _USED_IN_WORKERS:
    with contextlib.suppress(KeyError):  # outside of Ansible's programs nothing is found
        _loader.get(_name, class_only=True)
share_compiled_templates()
