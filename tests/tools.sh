#!/usr/bin/env bash
# Installs the Debian packages that some tests need, where it may; elsewhere those tests are skipped and say so.
set -eu
packages=()
for pair in buildah:buildah chromium:chromium docker-registry:docker-registry kubectl:kubernetes-client \
            redis-server:redis-server skopeo:skopeo wrk:wrk; do
  command -v "${pair%%:*}" >/dev/null || packages+=("${pair##*:}")
done
# The OCI specification's JSON schemas.
[ -d /usr/share/gocode/src/github.com/opencontainers/image-spec ] || packages+=(golang-github-opencontainers-image-spec-dev)
if [ ${#packages[@]} -eq 0 ]; then
  :
elif [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "Installing for the tests: ${packages[*]}"
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${packages[@]}" >/dev/null
else
  echo "Some tests will be skipped. To run them: sudo apt-get install ${packages[*]}"
fi

# axe-core, for the accessibility test of the viewer's page.
modules=tests/apps/event_viewer/node_modules
if [ -d "$modules" ]; then
  :
elif command -v npm >/dev/null; then
  npm ci --silent --no-audit --no-fund --prefix tests/apps/event_viewer
else
  echo "The accessibility test will be skipped. To run it: install npm, then make test"
fi
