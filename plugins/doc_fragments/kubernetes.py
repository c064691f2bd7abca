# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Options of every module that talks to a Kubernetes API server."""

from __future__ import annotations


class ModuleDocFragment:
    """`extends_documentation_fragment: streamops.knative.kubernetes`."""

    DOCUMENTATION = r"""
options:
  kubeconfig:
    description:
      - Path of a kubeconfig file, several separated by colons, or the kubeconfig itself as a
        dictionary.
      - Without it the environment variable E(KUBECONFIG), then C(~/.kube/config), then the service
        account of the pod this runs in.
    type: raw
  kubeconfig_content:
    description:
      - The kubeconfig as JSON. The action plugin turns a dictionary in O(kubeconfig) into this, so
        that its keys and tokens stay out of logs; there is little reason to write it by hand.
    type: str
  context:
    description: Name of the kubeconfig's context to use instead of its current one.
    type: str
  host:
    description: >-
      URL of the API server. Takes the place of the kubeconfig's, or of a kubeconfig altogether.
    type: str
  api_key:
    description: Bearer token.
    type: str
  ca_cert:
    description: The CA that signed the server's certificate, as a path or as PEM text.
    type: str
    aliases: [ssl_ca_cert]
  client_cert:
    description: Client certificate, as a path or as PEM text.
    type: str
    aliases: [cert_file]
  client_key:
    description: Key of O(client_cert), as a path or as PEM text.
    type: str
    aliases: [key_file]
  proxy:
    description:
      - URL of an HTTP proxy. Without it the kubeconfig's C(proxy-url), then E(HTTPS_PROXY) unless
        E(NO_PROXY) names the host.
    type: str
  validate_certs:
    description: >-
      Whether the server's certificate is verified. Without it as the kubeconfig says, which is yes.
    type: bool
    aliases: [verify_ssl]
  impersonate_user:
    description: User to act as.
    type: str
  impersonate_groups:
    description: Groups to act as, together with O(impersonate_user).
    type: list
    elements: str
  request_timeout:
    description: Seconds to wait for a connection, and for each answer of the server.
    type: float
    default: 30.0
requirements:
  - urllib3 >= 2.0
  - PySocks (for SOCKS proxies)
  - PyYAML
notes:
  - Requests are sent again after what passes by itself, for up to a minute; connections that are refused, reset or
    cut, no answer in time, HTTP 429 (after its C(Retry-After)), 502, 503, 504, and 500 in which etcd is too slow or
    between leaders. A server that has never answered is given up on after 5 seconds.
  - O(proxy), then the kubeconfig's C(proxy-url), then E(HTTPS_PROXY), E(HTTP_PROXY) and E(ALL_PROXY) name the proxy;
    C(http), C(https) or C(socks5). E(NO_PROXY) takes names, domains with a leading dot, addresses and networks.
  - Each connection option also comes from an environment variable, named as kubernetes.core names
    it (E(K8S_AUTH_KUBECONFIG), E(K8S_AUTH_CONTEXT), E(K8S_AUTH_HOST), E(K8S_AUTH_API_KEY),
    E(K8S_AUTH_SSL_CA_CERT), E(K8S_AUTH_CERT_FILE), E(K8S_AUTH_KEY_FILE), E(K8S_AUTH_PROXY),
    E(K8S_AUTH_VERIFY_SSL), E(K8S_AUTH_IMPERSONATE_USER), E(K8S_AUTH_IMPERSONATE_GROUPS)).
  - The cluster's own CA decides whether a server is trusted; E(REQUESTS_CA_BUNDLE) and
    E(SSL_CERT_FILE) do not matter.
attributes:
  action_group:
    description: >-
      Use C(group/streamops.knative.kubernetes) in C(module_defaults) to set these options once.
    support: full
    membership:
      - streamops.knative.kubernetes
"""
