#!/usr/bin/env bash
# The demo on Kubernetes' and Knative's own programs, in the real lane; arguments go to ansible-playbook.
set -eu
SANDBOX_HOME=$(mktemp -d)
export SANDBOX_HOME SANDBOX_PORT=0 KUBECONFIG=$SANDBOX_HOME/kubeconfig
trap 'sandbox down; rm -rf "$SANDBOX_HOME"' EXIT
sandbox up
ansible-playbook -i inventories/sandbox site.yml "$@"
if [ -t 0 ]; then
  echo "This shell is inside the lane: kubectl and the commands above work here. The lane ends with it."
  "${SHELL:-bash}" || true
fi
