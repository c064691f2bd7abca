#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = """
module: preflight
short_description: Refuse variables that cannot work, all at once, before anything is touched
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Checks the host's variables against the argument specifications of roles of this collection, and against
    each other, and reports every problem in one failure.
  - A variable that starts with a role's name but is none of the role's variables is refused, with the name
    that was probably meant.
  - Runs on the controller in the process of Ansible itself and talks to nothing.
extends_documentation_fragment:
  - streamops.knative.attributes
options:
  roles:
    description:
      - The roles that will run.
    type: list
    elements: str
    required: true
    choices:
      - gcp_cluster
      - knative_eventing
      - secrets
      - twitter_pipeline
attributes:
  check_mode:
    support: full
    details: It changes nothing in either mode.
  diff_mode:
    support: N/A
    details: It changes nothing.
  idempotent:
    support: full
    details: It changes nothing.
"""

EXAMPLES = """
- name: Refuse what cannot work
  streamops.knative.preflight:
    roles:
      - knative_eventing
      - twitter_pipeline
"""

RETURN = """
problems:
  description: What has to be corrected, a sentence each.
  returned: always
  type: list
  elements: str
  sample:
    - "knative_eventing_verison: the role knative_eventing has no such variable; did you mean knative_eventing_version?"
"""
