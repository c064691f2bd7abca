#!/usr/bin/env bash
# The unit tests, ansible-test sanity and the ways in (tests/ways) with the oldest and the newest ansible-core that is
# supported. A core whose Python is not at hand is skipped, with the reason.
# tests/matrix.sh [CORE:PYTHON ...]   for example: tests/matrix.sh 2.20.9:3.12
# MATRIX_CHECKS names what is run for each: units, sanity, ways; or dependency, one of the ways, for the newest only;
# environments only makes what the others run in.
# Units are run by ansible-test with the Python of .venv, and straight by pytest, in half the time, with another one.
set -eu
cd "$(dirname "$0")/.."
[ $# -gt 0 ] || set -- 2.18.19:3.11 2.21.5:3.13
folder=$PWD/.cache/matrix
mkdir -p "$folder"
# Each core asks for a resolvelib of its own.
grep -vE '^(ansible-core|resolvelib)==' constraints.txt >"$folder/constraints.txt"

interpreter() { # of a version such as 3.13: on PATH, or one of pyenv's
  local name
  if "python$1" -c pass 2>/dev/null; then echo "python$1"; return; fi
  command -v pyenv >/dev/null || return 0
  name=$(pyenv versions --bare | grep "^${1//./\\.}\.[0-9]*$" | tail -n 1)
  [ -z "$name" ] || echo "$(pyenv prefix "$name")/bin/python"
}

install() { # CORE PYTHON: a virtual environment of its own, kept between runs
  local venv=$folder/$1-$2 python=$3
  [ -e "$venv/stamp" ] && [ ! constraints.txt -nt "$venv/stamp" ] && return
  rm -rf "$venv" && "$python" -m venv --without-pip "$venv"
  grep -v '^ansible-core' requirements.txt >"$folder/requirements.txt"
  local pip=(python -m pip --python "$venv" install --quiet --disable-pip-version-check)
  "${pip[@]}" -c "$folder/constraints.txt" "ansible-core==$1" -r "$folder/requirements.txt" \
    -r sandbox/requirements.txt pip pytest pytest-timeout pytest-xdist hypothesis
  "${pip[@]}" --quiet --no-deps --config-settings editable_mode=compat -e sandbox
  touch "$venv/stamp"
}

newest=${!#}
checks=${MATRIX_CHECKS:-units sanity ways}
own=$(python -c 'import sys; print("%d.%d" % sys.version_info[:2])') untested=yes
for entry in "$@"; do
  core=${entry%%:*} version=${entry##*:}
  python=$(interpreter "$version")
  if [ -z "$python" ]; then
    echo "== ansible-core $core: skipped, there is no Python $version (on PATH or of pyenv)"
    continue
  fi
  echo "== ansible-core $core on Python $version"
  install "$core" "$version" "$python"
  units=(pytest -q -p no:cacheprovider -n 2 tests/unit)
  [ "$version" != "$own" ] || { units=(tests/ansible_test.sh units) untested=; }
  (
    export PATH=$folder/$core-$version/bin:$PATH
    case " $checks " in *" units "*) "${units[@]}" ;; esac
    case " $checks " in *" sanity "*)
      tests/ansible_test.sh sanity --exclude apps/ --exclude sandbox/ --exclude tests/ --exclude docs/docsite/ ;; esac
    case " $checks " in *" ways "*) pytest -q -p no:cacheprovider tests/ways ;; esac
    case " $checks " in *" dependency "*)
      [ "$entry" != "$newest" ] || pytest -q -p no:cacheprovider -k dependency tests/ways ;; esac
  )
done
case "$untested $checks " in yes*" units "*)
  echo "== ansible-core of .venv"
  tests/ansible_test.sh units
esac
