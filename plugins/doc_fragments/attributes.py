# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Attributes of modules, described once; a module states its own support and details."""

from __future__ import annotations


class ModuleDocFragment:
    """`extends_documentation_fragment: streamops.knative.attributes` and its parts."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: >-
      Can run in check_mode and return changed status prediction without modifying the target.
  diff_mode:
    description: >-
      Will return details on what has changed (or possibly needs changing in check_mode), when in
      diff mode.
  idempotent:
    description: Running the same task again in a row reports no change.
  async:
    description: Supports being used with the C(async) keyword.
    support: full
  platform:
    description: Target OS and families that can be operated against.
    support: full
    platforms: posix
"""

    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details: This module reads only.
  diff_mode:
    support: N/A
    details: This module reads only.
  idempotent:
    support: full
    details: This module reads only.
"""

    CHANGING_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
"""
