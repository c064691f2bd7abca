# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Options of every module that talks to Google's APIs."""

from __future__ import annotations


class ModuleDocFragment:
    """`extends_documentation_fragment: streamops.knative.google`."""

    DOCUMENTATION = r"""
options:
  project:
    description: The project's ID. Also from the environment variable E(GCP_PROJECT).
    type: str
  auth_kind:
    description:
      - Where credentials come from. Also from E(GCP_AUTH_KIND).
      - V(application) takes the application default credentials, V(serviceaccount) a service account's
        key, V(machineaccount) the metadata server of the machine, V(accesstoken) a token as it is.
    type: str
    choices: [application, machineaccount, serviceaccount, accesstoken]
    default: application
  service_account_file:
    description: Path of a service account's key. Also from E(GCP_SERVICE_ACCOUNT_FILE).
    type: path
  service_account_contents:
    description:
      - The key itself, as JSON or as a dictionary. Also from E(GCP_SERVICE_ACCOUNT_CONTENTS).
      - Given as a dictionary, Ansible masks each of its values, the project's ID too, in what modules
        print.
    type: jsonarg
  service_account_email:
    description:
      - Which account of the machine to use with O(auth_kind=machineaccount). Also from
        E(GCP_SERVICE_ACCOUNT_EMAIL).
    type: str
  access_token:
    description: A token, with O(auth_kind=accesstoken). Also from E(GCP_ACCESS_TOKEN).
    type: str
  impersonate_service_account:
    description:
      - E-mail address of a service account to act as; the caller needs
        C(roles/iam.serviceAccountTokenCreator) on it. Also from E(GCP_IMPERSONATE_SERVICE_ACCOUNT).
    type: str
  scopes:
    description: OAuth scopes to ask for. Also from E(GCP_SCOPES).
    type: list
    elements: str
    default:
      - https://www.googleapis.com/auth/cloud-platform
      - https://www.googleapis.com/auth/userinfo.email
  endpoint:
    description:
      - Base URL that takes the place of C(https://SERVICE.googleapis.com) for every service. Also from
        E(GCP_ENDPOINT).
    type: str
  endpoints:
    description:
      - Base URLs of single services, by C(artifactregistry), C(cloudresourcemanager), C(container),
        C(iam), C(iamcredentials), C(secretmanager), C(serviceusage).
      - gcloud's own variables, such as E(CLOUDSDK_API_ENDPOINT_OVERRIDES_CONTAINER), count too.
    type: dict
  request_timeout:
    description: Seconds to wait for a connection, and for each answer.
    type: float
    default: 30.0
  request_retries:
    description:
      - How often a request is sent again after an answer that says "later" (429, 503; for requests that
        may be repeated also other failures of the server and the network), with a growing pause.
        A pause that Google asks for is waited, up to two minutes.
    type: int
    default: 5
  propagation_timeout:
    description:
      - Seconds to wait for an API that is enabled and cannot be used yet. Google says that it takes some
        minutes after enabling. An API that is not enabled is an error at once.
    type: float
    default: 300.0
requirements:
  - google-auth (not with O(auth_kind=accesstoken))
  - PyYAML
notes:
  - Requests go through the proxy of E(HTTPS_PROXY), and trust the authorities in E(REQUESTS_CA_BUNDLE)
    or E(SSL_CERT_FILE) where these are set.
attributes:
  action_group:
    description: >-
      Use C(group/streamops.knative.google) in C(module_defaults) to set these options once.
    support: full
    membership:
      - streamops.knative.google
"""
