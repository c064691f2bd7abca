# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Options of the modules that read Knative's releases."""

from __future__ import annotations


class ModuleDocFragment:
    """`extends_documentation_fragment: streamops.knative.releases`, and its part `source`."""

    DOCUMENTATION = r"""
options:
  serving_version:
    description: Release of Serving, as V(1.23.0).
    type: str
  kourier_version:
    description: Release of Kourier.
    type: str
  net_gateway_api_version:
    description: Release of net-gateway-api.
    type: str
  net_istio_version:
    description: Release of net-istio.
    type: str
  eventing_version:
    description: Release of Eventing.
    type: str
  kafka_broker_version:
    description: Release of eventing-kafka-broker.
    type: str
  rabbitmq_broker_version:
    description: Release of eventing-rabbitmq.
    type: str
"""

    SOURCE = r"""
options:
  mirror:
    description: Where the releases are, with the paths they have on GitHub.
    type: str
    default: https://github.com
  folder:
    description: A folder with the release files under upstream's names, in place of O(mirror).
    type: path
  checksums:
    description: >-
      What files must hash to; keys as C(serving-1.23.0/serving-core.yaml), values as C(sha256:...).
    type: dict
    default: {}
"""
