# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Action plugin of streamops.knative.gcp_service_account_info."""

from __future__ import annotations

from ..plugin_utils._in_process import in_process

ActionModule = in_process("gcp_service_account_info", "google.oauth2.service_account")
