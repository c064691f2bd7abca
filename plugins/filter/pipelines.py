"""The filter streamops.knative.pipelines."""

from __future__ import annotations

DOCUMENTATION = """
name: pipelines
short_description: Fill pipelines from defaults and add what follows from them
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Used by the role P(streamops.knative.twitter_pipeline#role) to turn its variables into a list of complete
    pipelines, from which the templates are filled.
options:
  _input:
    description: Pipelines, each with what differs from the defaults.
    type: list
    elements: dict
    required: true
  defaults:
    description: A complete pipeline.
    type: dict
    required: true
"""

EXAMPLES = """
- name: Show every pipeline in full
  ansible.builtin.debug:
    msg: "{{ twitter_pipeline_pipelines | streamops.knative.pipelines(one_pipeline) }}"
"""

RETURN = """
_value:
  description:
    - The pipelines, each complete, with C(labels), C(sink), C(broker), C(subject) and C(once) worked out.
  type: list
  elements: dict
"""

from collections.abc import Callable
from typing import Any

from ansible_collections.streamops.knative.plugins.module_utils._pipelines.model import resolve


class FilterModule:
    """See DOCUMENTATION."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Filters by name."""
        return {"pipelines": resolve}
