"""Refuses a Python that is too old, before anything else of this collection is imported by it.

Ansible itself runs on a newer one; a module's is that of `ansible_python_interpreter`.
"""

from __future__ import annotations

import sys

MINIMUM = (3, 11)

if sys.version_info < MINIMUM:
    raise ImportError(
        "streamops.knative needs Python {}.{} or newer, and {} is Python {}.{}: set ansible_python_interpreter,"
        ' for example to "{{{{ ansible_playbook_python }}}}"'.format(
            *MINIMUM, sys.executable, *sys.version_info[:2]
        )
    )
