#!/bin/sh
# A dynamic inventory, as an executable.
cat <<'JSON'
{"fleet": {"hosts": ["one", "two"], "vars": {"kubeconfig": "/dev/null", "secrets_backend": "kubernetes"}},
 "_meta": {"hostvars": {"two": {"context": "two"}}}}
JSON
