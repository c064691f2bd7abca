#!/usr/bin/env bash
# Runs `ansible-test COMMAND …` on the checkout: tests/ansible_test.sh sanity --exclude apps/
# ansible-test looks only at …/ansible_collections/NAMESPACE/NAME: the files git knows, as they are now, are laid there.
# Nothing is installed for it but what it cannot do without: the tests' own requirements are in .venv already.
set -eu
cd "$(dirname "$0")/.."
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
folder=$root/ansible_collections/streamops/knative
mkdir -p "$folder"
git ls-files -z --cached --others --exclude-standard \
  | xargs -0 -I{} sh -c '[ -e "$1" ] && printf "%s\0" "$1"' _ {} | tar --null -T - -cf - | tar -xf - -C "$folder"
# Its virtual environments are kept between runs, in the checkout. It would fetch a script to install pip with;
# Python brings pip along.
cache=$PWD/.cache/ansible-test/.ansible/test/cache
mkdir -p "$cache"
pip=$(python -c 'import ansible_test; print(ansible_test.__path__[0])')/_internal/python_requirements.py
pip=$(sed -n "s/^ *pip='\([0-9.]*\)'.*/\1/p" "$pip" | tail -n 1)
printf 'import ensurepip\n\nensurepip.bootstrap(default_pip=True)\n' >"$cache/get_pip_${pip//./_}.py"
python=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])')
command=$1; shift
cd "$folder"
git init -q && git add -A 2>/dev/null
HOME=${cache%/.ansible/*} ansible-test "$command" --color no --python "$python" "$@"
