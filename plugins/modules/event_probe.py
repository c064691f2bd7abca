#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Prove a pipeline with an event that can be recognised."""

from __future__ import annotations

DOCUMENTATION = """
module: event_probe
short_description: Prove a pipeline with an event that can be recognised
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Asks the producer of a pipeline to send one event of the type C(com.streamops.probe) the way it sends posts, finds
    it in the viewer, and returns the path it took with times.
  - When it does not arrive, says which hop lost it and what to look at.
  - Looks first at the producer's own account of X. Credentials that X refuses, an account without credits, and a
    producer that has never read anything since X does not answer or limits its rate, fail the task with the remedy;
    what passes is a warning where posts were read before.
  - Works through the API server (C(pods/proxy)), so the controller needs no other way into the cluster.
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
    description: Namespace of the pipeline.
    type: str
    required: true
  producer_labels:
    description: Labels of the producer's pods.
    type: dict
    required: true
  producer_port:
    description: Port on which the producer serves C(POST /probe).
    type: int
    default: 8080
  viewer_labels:
    description: Labels of the viewer's pods. Without them the path ends where the sink has taken the event.
    type: dict
  viewer_namespace:
    description: Namespace of the viewer, if another.
    type: str
  viewer_port:
    description: Port on which the viewer serves C(GET /api/events).
    type: int
    default: 8080
  viewer_token:
    description: Token that the viewer asks for to be read.
    type: str
  timeout:
    description: Seconds within which the event has to arrive.
    type: float
    default: 120
"""

EXAMPLES = """
- name: Prove that posts would arrive
  streamops.knative.event_probe:
    namespace: streamops
    producer_labels:
      app.kubernetes.io/instance: twitter
    viewer_labels:
      serving.knative.dev/service: event-viewer
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
  description: Where the event was, in order, with the seconds since it was asked for.
  returned: success
  type: list
  elements: dict
  sample:
    - hop: producer
      name: twitter-5d9c7b8f6-abcde
      seconds: 0.041
    - hop: sink
      name: http://event-viewer.streamops.svc.cluster.local
      seconds: 0.041
      status: 202
    - hop: viewer
      name: event-viewer-00001-deployment-6c5b7d9f4-fghij
      seconds: 0.062
      received: "2026-11-01T12:00:00.123Z"
source:
  description: What keeps the producer from reading posts at the moment; empty where it reads.
  returned: success
  type: str
  sample: ''
events:
  description: Number of events the viewer keeps, without probes; V(0) without a viewer.
  returned: success
  type: int
"""

from typing import Any

from ..module_utils._kubernetes.argspec import CONNECTION, connect
from ..module_utils._module.progress import paced
from ..module_utils._module.task import Run, Task
from ..module_utils._pipelines.probe import Pods, probe


def work(run: Run) -> dict[str, Any]:
    """Send the probe and follow it."""
    params = run.params
    if run.check_mode:
        return {"changed": False, "skipped": True, "msg": "Check mode sends no event"}
    namespace = params["namespace"]
    producer = Pods(namespace, params["producer_labels"], params["producer_port"])
    viewer = None
    if params["viewer_labels"]:
        home = params["viewer_namespace"] or namespace
        token = params["viewer_token"] or ""
        viewer = Pods(home, params["viewer_labels"], params["viewer_port"], token)
    path = probe(
        connect(run), producer, viewer, timeout=params["timeout"], progress=paced(run.progress)
    )
    for warning in path.warnings:
        run.warn(warning)
    return {
        "changed": False,
        "id": path.id,
        "hops": path.hops,
        "source": "; ".join(path.warnings),
        "events": path.events,
        "msg": f"The probe took {path}",
    }


TASK = Task(work, DOCUMENTATION, CONNECTION, {"viewer_token": {"no_log": True}})
main = TASK.main

if __name__ == "__main__":
    main()
