#!/usr/bin/python
"""Documentation of the action plugin of the same name."""

from __future__ import annotations

DOCUMENTATION = """
module: preflight
short_description: Refuse what cannot work, all at once, before anything is touched
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Checks the host's variables against the argument specifications of roles of this collection, and against
    each other, and reports every problem in one failure.
  - A variable that starts with a role's name but is none of the role's variables is refused, with the name
    that was probably meant.
  - Then reads a little from the host's cluster, and refuses a kubeconfig or context that is not there or does not
    answer, a namespace that is being deleted, Knative that is missing or too old where no role of the run installs
    it, an upgrade that cannot work, and a sink that does not exist.
  - A cluster that the role P(streamops.knative.gcp_cluster#role) manages may not exist yet, or its credentials may
    have expired; then it is not looked at.
  - Runs on the controller in the process of Ansible itself.
extends_documentation_fragment:
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
options:
  role:
    description:
      - The role that will run. Its variables are returned by their names; a role registers them to use them.
      - Mutually exclusive with O(roles); one of them is required.
    type: str
    choices: [gcp_cluster, knative_eventing, secrets, twitter_pipeline, event_driven]
  roles:
    description:
      - The roles that will run, checked together.
    type: list
    elements: str
    choices: [gcp_cluster, knative_eventing, secrets, twitter_pipeline, event_driven]
  renew_credentials:
    description:
      - Whether the kubeconfig of a cluster that the role P(streamops.knative.gcp_cluster#role) manages is written
        again, once a run, before the cluster is read, where one of the roles works in it.
    type: bool
    default: false
  request_timeout:
    description:
      - Seconds to wait for a connection to the cluster, and for each of its answers.
    type: float
    default: 10
attributes:
  check_mode:
    details: It changes nothing but, with O(renew_credentials), the kubeconfig.
  diff_mode:
    support: N/A
    details: Nothing that is configured changes.
  idempotent:
    details: Nothing that is configured changes.
"""

EXAMPLES = """
- name: Refuse what cannot work
  streamops.knative.preflight:
    roles:
      - knative_eventing
      - twitter_pipeline
"""

RETURN = """
roles:
  description:
    - By role, its variables by their names without the role's prefix; defaults filled in, in the types of the argument
      specification, without secrets. With O(role) they are returned beside this, without a role's name.
  returned: success, with O(roles)
  type: dict
check:
  description: What later checks of the run need not look at again.
  returned: success
  type: dict
  contains:
    live:
      description: The roles that the cluster was checked for.
      type: list
      elements: str
"""
