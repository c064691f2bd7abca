#!/usr/bin/python
"""Module streamops.knative.apply: see DOCUMENTATION."""

from __future__ import annotations

DOCUMENTATION = r"""
module: apply
short_description: Apply a whole bundle of Kubernetes objects, in order, and wait for all of it
version_added: 1.0.0
author:
  - The streamops.knative contributors (@streamops)
description:
  - Takes manifests from any mix of files, folders, URLs, templates and inline definitions, and
    makes the cluster hold them, in one task.
  - First everything is read and tried out by the server's own dry run. What is wrong (invalid YAML,
    unknown kinds, schema violations, fields another manager owns) is reported all at once, before
    anything is changed.
  - Then objects are written by server-side apply over several connections, in the order of their
    kinds; namespaces, definitions, permissions, configuration, workloads, webhooks, custom
    resources.
  - What fails only because a webhook, a kind or a namespace is not ready yet is tried again.
  - Then all objects are waited for together.
extends_documentation_fragment:
  - streamops.knative.kubernetes
  - streamops.knative.attributes
  - streamops.knative.attributes.changing_module
attributes:
  check_mode:
    details:
      - By the server's dry run. Objects whose namespace or definition is part of the same bundle
        and not there yet are checked against their schema and reported as created.
  diff_mode:
    details: The values of Secrets are masked.
options:
  state:
    description:
      - With V(present) the objects are as described.
      - With V(absent) they are deleted in the reverse order, waiting for finalizers. Without any
        manifest everything that O(apply_set) remembers is deleted.
      - A namespace is kept, with a warning, while it holds objects that are not of the bundle.
    type: str
    choices: [present, absent]
    default: present
  definitions:
    description:
      - Manifests inline; each a mapping, or YAML or JSON text with one or more documents.
      - Texts are read as kubectl reads them, with one exception. A document that begins with C({) and is not JSON is
        read as YAML in flow style, which kubectl refuses.
    type: list
    elements: raw
    aliases: [definition, resource_definition]
  templates:
    description:
      - Templates rendered on the controller with the variables of the task, looked up as
        M(ansible.builtin.template) does. Each a path, or a mapping of C(path) and C(vars).
    type: list
    elements: raw
    aliases: [template]
  files:
    description:
      - Files on the controller, and folders whose C(.yaml), C(.yml) and C(.json) files are all
        taken.
      - Looked up as M(ansible.builtin.copy) does; files encrypted with Ansible Vault are decrypted.
    type: list
    elements: str
    aliases: [src]
  urls:
    description: Files by URL. They are kept in O(cache_dir).
    type: list
    elements: dict
    default: []
    suboptions:
      url:
        description: An http or https URL.
        type: str
        required: true
      checksum:
        description: What the file must hash to, as C(sha256:) and 64 hexadecimal digits.
        type: str
  contents:
    description:
      - Manifests as named texts. The action plugin turns O(templates) and O(definitions) into
        these, so that their values stay out of logs; there is little reason to write them by hand.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Where the text came from, for messages.
        type: str
        required: true
      text:
        description: The manifests.
        type: str
        required: true
  cache_dir:
    description: >-
      Folder for what was fetched from O(urls). The default follows E(XDG_CACHE_HOME).
    type: path
  patches:
    description:
      - Changes merged into objects of the bundle before they are applied, so that one manager owns
        the result.
      - Mappings merge, C(null) removes a key, lists of named entries (containers, environment
        variables) merge by name, other lists are replaced.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Kind of the objects to change.
        type: str
        default: ''
      name:
        description: Name of the objects to change.
        type: str
        default: ''
      namespace:
        description: Namespace of the objects to change.
        type: str
        default: ''
      merge:
        description: What is merged into them.
        type: dict
        required: true
      optional:
        description: Whether it is fine that no object of the bundle fits.
        type: bool
        default: false
  namespace:
    description: Namespace of objects that name none.
    type: str
    default: default
  namespaces:
    description:
      - What happens to Namespaces of the bundle that exist and that this collection did not create. V(apply) applies
        and deletes them like other objects.
      - V(create) leaves them as they are; V(label) applies them. Both never delete them, and take back what was set
        on them.
    type: str
    choices: [apply, create, label]
    default: apply
  create_namespace:
    description: >-
      Whether the namespaces of objects are created where they do not exist. They are not deleted with the objects.
    type: bool
    default: false
  field_manager:
    description: The name under which the server records which fields are ours.
    type: str
    default: streamops.knative
  force_conflicts:
    description:
      - Whether to take over fields that another manager owns. Otherwise they are reported.
      - What C(kubectl apply) manages (client-side) is migrated to O(field_manager), as C(kubectl apply --server-side)
        does, so that fields which a manifest leaves out are removed.
    type: bool
    default: false
  recreate:
    description:
      - Whether to delete an object and create it again where an immutable field is to change, for example the selector
        of a Deployment. Its action is C(recreated), also in check mode. Its pods stop meanwhile.
      - Namespaces, CustomResourceDefinitions, PersistentVolumes and PersistentVolumeClaims are never recreated.
    type: bool
    default: false
  validate:
    description: >-
      What is done about unknown fields and keys that are given twice. With V(warn) and V(ignore) the last one is used.
    type: str
    choices: [strict, warn, ignore]
    default: strict
  concurrency:
    description: Number of requests under way at the same time.
    type: int
    default: 8
  apply_set:
    description:
      - Name of the ConfigMap in which the cluster remembers what this bundle consists of, by the
        ApplySet specification of Kubernetes.
    type: str
  apply_set_namespace:
    description: Namespace of that ConfigMap. The bundle may bring it.
    type: str
    default: default
  apply_set_scope:
    description:
      - Name of the owner of O(apply_set), which the ConfigMap and all members carry as label
        C(streamops.knative/scope). A set or an object that carries another scope is refused.
      - A set of the same name and scope in another namespace, and one without a scope in the namespace
        C(default) that has objects in O(apply_set_namespace), is taken over.
    type: str
    default: ''
  planned_deletions:
    description:
      - Objects, as this module returns them, that earlier tasks delete. In check mode, where those have only planned
        it, they count as gone.
    type: list
    elements: dict
    default: []
  prune:
    description: >-
      Whether to delete what an earlier run applied with the same O(apply_set) and this one does not have,
      once everything else is ready.
    type: bool
    default: false
  delete_custom_resources:
    description:
      - Whether custom resources that are not in the bundle may be deleted because their definitions
        are, by O(state=absent) or O(prune). Otherwise that is refused, and they are listed.
    type: bool
    default: false
  retry_timeout:
    description: >-
      Seconds during which requests are tried again that fail because of something not ready yet.
    type: float
    default: 120.0
  wait:
    description:
      - Whether to wait until everything is ready; workloads rolled out, definitions established,
        webhooks with a CA and endpoints, Jobs complete, custom resources with condition C(Ready),
        each for the newest version of its spec. With O(state=absent) until everything is gone.
    type: bool
    default: true
  wait_timeout:
    description: Seconds to wait for all of it.
    type: float
    default: 300.0
  wait_conditions:
    description: What to wait for instead of a kind's default.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: Kind the entry is about.
        type: str
        required: true
      api_version:
        description: API version the entry is about, if not all.
        type: str
        default: ''
      name:
        description: Object the entry is about, if not all.
        type: str
        default: ''
      namespace:
        description: Namespace the entry is about, if not all.
        type: str
        default: ''
      type:
        description: Condition to wait for. Empty for not waiting.
        type: str
        default: Ready
      status:
        description: Status it has to have.
        type: str
        default: 'True'
      reason:
        description: Reason it has to have, if any.
        type: str
        default: ''
      json_path:
        description:
          - Field to wait for instead of a condition, as C(kubectl wait --for=jsonpath) takes it, for example
            C({.status.loadBalancer.ingress[0].ip}) of a Service.
          - Fields, indexes, C([*]) and filters that compare one field are supported.
        type: str
        default: ''
      value:
        description: Value that O(wait_conditions[].json_path) has to have. Without it any that is not empty.
        type: str
notes:
  - With a local connection the work is done in Ansible's own process, which saves starting a module, and what is
    being waited for is shown.
seealso:
  - module: streamops.knative.resource_info
"""

EXAMPLES = r"""
- name: Apply templates and files together
  streamops.knative.apply:
    context: my-cluster
    templates:
      - pipeline.yaml.j2
    files:
      - manifests/

- name: Install cert-manager and wait for it
  streamops.knative.apply:
    urls:
      - url: https://github.com/cert-manager/cert-manager/releases/download/v1.19.1/cert-manager.yaml
    wait_timeout: 180

- name: Apply a Service and wait for the address of its load balancer
  streamops.knative.apply:
    files:
      - service.yaml
    wait_conditions:
      - kind: Service
        json_path: '{.status.loadBalancer.ingress[0]}'

- name: Keep exactly what is in the folder
  streamops.knative.apply:
    files: [manifests/]
    apply_set: my-app
    prune: true

- name: Give a container more memory than its manifest says
  streamops.knative.apply:
    files: [release.yaml]
    patches:
      - kind: Deployment
        name: controller
        merge:
          spec: {template: {spec: {containers: [{name: controller, resources: {limits: {memory: 2Gi}}}]}}}

- name: Remove all of it again
  streamops.knative.apply:
    apply_set: my-app
    state: absent
"""

RETURN = r"""
objects:
  description: One entry an object, in the order of applying.
  returned: success
  type: list
  elements: dict
  contains:
    api_version:
      description: As in the manifest.
      type: str
    kind:
      description: As in the manifest.
      type: str
    namespace:
      description: Empty for kinds that have none.
      type: str
    name:
      description: Name of the object.
      type: str
    action:
      description: >-
        One of V(created), V(changed), V(unchanged), V(recreated), V(deleted), V(pruned), V(kept).
      type: str
counts:
  description: Number of objects by action.
  returned: success
  type: dict
  sample: {unchanged: 163, changed: 1}
requests:
  description: Number of requests sent to the API server.
  returned: success
  type: int
pending:
  description: What was missing when time was up, by object.
  returned: when waiting fails
  type: dict
"""

from ..module_utils._kubernetes.apply_task import apply
from ..module_utils._kubernetes.argspec import CONNECTION
from ..module_utils._module.task import Task

TASK = Task(
    apply,
    DOCUMENTATION,
    CONNECTION,
    {"contents.text": {"no_log": True}},
    {"required_if": [("prune", True, ["apply_set"])]},
)
main = TASK.main

if __name__ == "__main__":
    main()
