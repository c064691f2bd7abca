#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Prove that a rule of ansible-rulebook acts on events of a Broker."""

from __future__ import annotations

DOCUMENTATION = """
module: rulebook_probe
short_description: Prove that a rule of ansible-rulebook acts on events of a Broker
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Sends one event of the type C(com.streamops.rulebook.probe) to a Broker, waits until a rule of a rulebook behind one
    of its Triggers has acted on it, and returns the path it took with times.
  - The rulebook needs a rule that starts the playbook C(streamops.knative.probe) for such an event. The action is seen
    by what that playbook prints into the pod's log.
  - When it does not arrive, says which hop lost it and what to look at.
  - Works through the API server (C(services/proxy) and C(pods/log)), so the controller needs no other way into the
    cluster.
extends_documentation_fragment:
  - streamops.knative.kubernetes
  - streamops.knative.attributes
attributes:
  check_mode:
    support: partial
    details: In check mode the task is skipped, since an event would really be sent.
  diff_mode:
    support: N/A
    details: Nothing that is configured changes.
  idempotent:
    support: full
    details: Every run sends an event; nothing that is configured changes.
options:
  namespace:
    description: Namespace of the Broker and of the rulebook's pod.
    type: str
    required: true
  broker:
    description: Name of the Broker.
    type: str
    required: true
  labels:
    description: Labels of the rulebook's pod and of its Trigger.
    type: dict
    required: true
  port:
    description: Port on which the rulebook's event source listens.
    type: int
    default: 5000
  timeout:
    description: Seconds within which a rule has to act.
    type: float
    default: 120
"""

EXAMPLES = """
- name: Prove that events start playbooks
  streamops.knative.rulebook_probe:
    namespace: streamops
    broker: twitter
    labels:
      app.kubernetes.io/instance: event-driven
  register: probe

- name: Show the way the event took
  ansible.builtin.debug:
    var: probe.msg
"""

RETURN = """
id:
  description: The event's id.
  returned: success
  type: str
hops:
  description: Where the event was, in order, with the seconds since the beginning.
  returned: success
  type: list
  elements: dict
  sample:
    - hop: broker
      name: http://broker-ingress.knative-eventing.svc.cluster.local/streamops/twitter
      seconds: 0.031
    - hop: action
      name: rule A probe has arrived
      seconds: 2.214
"""

from typing import Any

from ..module_utils._kubernetes.argspec import CONNECTION, connect
from ..module_utils._module.progress import paced
from ..module_utils._module.task import Run, Task
from ..module_utils._pipelines.probe import Pods
from ..module_utils._pipelines.rulebook_probe import probe


def work(run: Run) -> dict[str, Any]:
    """Send the probe and wait for its action."""
    params = run.params
    if run.check_mode:
        return {"changed": False, "skipped": True, "msg": "Check mode sends no event"}
    path = probe(
        connect(run),
        params["broker"],
        Pods(params["namespace"], params["labels"], params["port"]),
        timeout=params["timeout"],
        progress=paced(run.progress),
    )
    return {
        "changed": False,
        "id": path.id,
        "hops": path.hops,
        "msg": f"The probe took {path}",
    }


TASK = Task(work, DOCUMENTATION, CONNECTION)
main = TASK.main

if __name__ == "__main__":
    main()
