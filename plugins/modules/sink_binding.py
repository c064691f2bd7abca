#!/usr/bin/python
# Copyright: The streamops.knative contributors
# Apache License 2.0 (see LICENSE)
"""Bind workloads to a sink with a Knative SinkBinding."""

from __future__ import annotations

DOCUMENTATION = """
module: sink_binding
short_description: Bind workloads to a sink with a Knative SinkBinding
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Creates, changes or removes a SinkBinding, and waits until it is effective, which is more than Ready.
  - A binding whose selector matches nothing is Ready all the same, and a workload that rolls out before the
    binding's webhook knows its kind starts without C(K_SINK). This module waits for the webhook's rule and
    looks for C(K_SINK) in the pod template of every subject.
extends_documentation_fragment:
  - streamops.knative.kubernetes
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
attributes:
  check_mode:
    details: The sink and the subjects may not exist yet in check mode, so they are not looked for.
options:
  name:
    description: Name of the SinkBinding.
    type: str
    required: true
  namespace:
    description: Namespace of the SinkBinding and of its subjects.
    type: str
    required: true
  state:
    description:
      - Whether the binding shall exist. When it goes, Knative takes C(K_SINK) out of the subjects, which roll out
        again; remove the subjects first where that matters.
    type: str
    choices: [present, absent]
    default: present
  subject:
    description:
      - What is bound. Together with O(sink); without both, a binding that something else applied is only waited for.
    type: dict
    suboptions:
      apiVersion:
        description: API version of the subject, such as C(apps/v1).
        type: str
        required: true
      kind:
        description: Kind of the subject, such as C(Deployment).
        type: str
        required: true
      name:
        description: Name of the subject. One of this and O(subject.selector).
        type: str
      selector:
        description: Label selector, C(matchLabels), of the subjects.
        type: dict
  sink:
    description: Where the subjects shall send. Together with O(subject).
    type: dict
    suboptions:
      ref:
        description: C(apiVersion), C(kind), C(name) and C(namespace) of an addressable object.
        type: dict
      uri:
        description: A URL, or with O(sink.ref) a path relative to its address.
        type: str
      CACerts:
        description: PEM text of further authorities to trust.
        type: str
      audience:
        description: OIDC audience of the sink.
        type: str
  extensions:
    description: CloudEvents extension attributes that the subjects shall put on each event.
    type: dict
    default: {}
  labels:
    description: Labels of the SinkBinding.
    type: dict
    default: {}
  wait_for:
    description:
      - V(subjects) waits until every subject carries the sink.
      - V(webhook) waits until the webhook covers the subjects' kind, so that subjects created afterwards start with
        the sink. Knative resolves the sink only once there is a subject.
      - V(nothing) does not wait.
    type: str
    choices: [subjects, webhook, nothing]
    default: subjects
  timeout:
    description: Seconds to wait.
    type: float
    default: 120
"""

EXAMPLES = """
- name: Bind a Deployment to a Knative Service
  streamops.knative.sink_binding:
    name: twitter
    namespace: streamops
    subject:
      apiVersion: apps/v1
      kind: Deployment
      name: twitter
    sink:
      ref:
        apiVersion: serving.knative.dev/v1
        kind: Service
        name: event-viewer
        namespace: streamops

- name: Bind every Job with a label to a Broker, before there is one
  streamops.knative.sink_binding:
    name: imports
    namespace: streamops
    subject:
      apiVersion: batch/v1
      kind: Job
      selector:
        matchLabels:
          app: import
    sink:
      ref:
        apiVersion: eventing.knative.dev/v1
        kind: Broker
        name: default
        namespace: streamops
    wait_for: webhook

- name: Wait for a binding that came with a manifest
  streamops.knative.sink_binding:
    name: twitter
    namespace: streamops
"""

RETURN = """
sink_uri:
  description: The URL the sink resolved to; with O(wait_for=webhook) empty where there is no subject yet.
  returned: when waited for
  type: str
  sample: http://event-viewer.streamops.svc.cluster.local
subjects:
  description: Names of the subjects that carry the sink.
  returned: with O(wait_for=subjects)
  type: list
  elements: str
  sample: [twitter]
"""

from typing import Any

from ..module_utils._knative.sink_binding import (
    BindingError,
    Waiter,
    check_sink,
    definition,
    delete,
    write,
)
from ..module_utils._kubernetes.argspec import CONNECTION, connect
from ..module_utils._kubernetes.client import Object
from ..module_utils._kubernetes.errors import accounting
from ..module_utils._module.progress import paced
from ..module_utils._module.task import Run, Task


def work(run: Run) -> dict[str, Any]:
    """Make the binding as the options say."""
    params = run.params
    if params["state"] == "absent":
        result = delete(
            connect(run),
            params["name"],
            params["namespace"],
            timeout=params["timeout"],
            dry_run=run.check_mode,
            progress=paced(run.progress),
        )
    else:
        result = present(run)
    if not run.diff:
        result.pop("diff")
    return result


def present(run: Run) -> dict[str, Any]:
    """Apply the binding, if it is described, and wait as asked."""
    params = run.params
    if bool(params["subject"]) != bool(params["sink"]):
        raise BindingError("subject and sink go together: give both, or neither to only wait")
    client = connect(run)
    result: dict[str, Any] = {"changed": False, "diff": {"before": {}, "after": {}}}
    if params["subject"]:
        wanted = described(params)
        if not run.check_mode:
            check_sink(client, wanted["spec"]["sink"], params["namespace"])
        result = write(client, wanted, dry_run=run.check_mode)
    if run.check_mode or params["wait_for"] == "nothing":
        return result
    waiter = Waiter(client, params["name"], params["namespace"], paced(run.progress))
    with accounting(changed=result["changed"]):
        waiter.wait(timeout=params["timeout"], for_subjects=params["wait_for"] == "subjects")
    return {**result, "sink_uri": waiter.sink_uri, "subjects": waiter.bound}


def described(params: dict[str, Any]) -> Object:
    """Return the SinkBinding that the options describe."""
    subject = {key: value for key, value in params["subject"].items() if value is not None}
    sink = {key: value for key, value in params["sink"].items() if value is not None}
    name, namespace = params["name"], params["namespace"]
    return definition(name, namespace, subject, sink, params["extensions"], params["labels"])


TASK = Task(
    work,
    DOCUMENTATION,
    CONNECTION,
    {
        "subject": {
            "required_one_of": [("name", "selector")],
            "mutually_exclusive": [("name", "selector")],
        },
        "sink": {"required_one_of": [("ref", "uri")]},
    },
)
main = TASK.main

if __name__ == "__main__":
    main()
