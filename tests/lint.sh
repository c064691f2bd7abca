#!/usr/bin/env bash
# Every static check, one after the other; all of them run, and the exit code says whether all passed.
set -u
failed=()
check() {
  local name=$1; shift
  printf '== %s\n' "$name"
  "$@" || failed+=("$name")
}

# ansible-test looks only at …/ansible_collections/NAMESPACE/NAME: the files git knows, as they are now, are laid there.
# The apps and tests are ordinary Python, checked above; ansible-test checks what Ansible loads.
sanity() {
  local root folder python cache
  root=$(mktemp -d) && folder=$root/ansible_collections/streamops/knative
  mkdir -p "$folder" && git ls-files -z --cached --others --exclude-standard \
    | xargs -0 -I{} sh -c '[ -e "$1" ] && printf "%s\0" "$1"' _ {} | tar --null -T - -cf - | tar -xf - -C "$folder"
  # Its virtual environments are kept between runs, in the checkout. It would fetch a script to install pip with;
  # Python brings pip along.
  cache=$PWD/.cache/ansible-test/.ansible/test/cache
  mkdir -p "$cache"
  printf 'import ensurepip\n\nensurepip.bootstrap(default_pip=True)\n' >"$cache/get_pip_24_2.py"
  python=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  (cd "$folder" && git init -q && git add -A 2>/dev/null \
    && HOME=${cache%/.ansible/*} ansible-test sanity --color no --python "$python" --exclude apps/ --exclude tests/ "$@")
  local code=$?
  rm -rf "$root"; return $code
}

check "ruff check" ruff check .
check "ruff format" ruff format --check .
check "mypy" mypy
check "yamllint" yamllint --strict .
check "ansible-lint" ansible-lint --strict
check "changelog" antsibull-changelog lint
check "ansible-test sanity" sanity
if [ ${#failed[@]} -gt 0 ]; then printf 'failed: %s\n' "${failed[*]}"; exit 1; fi
