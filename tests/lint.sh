#!/usr/bin/env bash
# Every static check, all at once; each one's output comes in one piece, and the exit code says whether all passed.
set -u
cd "$(dirname "$0")/.."
output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
names=() commands=()
check() {
  names+=("$1"); shift
  "$@" >"$output/${#names[@]}" 2>&1 &
  commands+=($!)
}

# The apps and tests are ordinary Python, checked by ruff and mypy; ansible-test checks what Ansible loads.
check "ansible-test sanity" tests/ansible_test.sh sanity --exclude apps/ --exclude sandbox/ --exclude tests/ --exclude docs/docsite/
check "ansible-lint" ansible-lint --strict
check "documentation" docs/build.sh
check "mypy" mypy
check "layers" tests/layers.py
check "ruff check" ruff check .
check "ruff format" ruff format --check .
check "yamllint" yamllint --strict .
check "changelog" antsibull-changelog lint
check "licenses" reuse lint --quiet
check "READMEs of the roles" python docs/role_readmes.py --check
check "reference of the event sources" python docs/event_sources.py --check

failed=()
for number in "${!commands[@]}"; do
  wait "${commands[number]}" || failed+=("${names[number]}")
  printf '== %s\n' "${names[number]}"
  cat "$output/$((number + 1))"
done
if [ ${#failed[@]} -gt 0 ]; then printf 'failed: %s\n' "${failed[*]}"; exit 1; fi
