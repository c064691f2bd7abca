#!/usr/bin/env bash
# The documentation as pages in build/docs/html: the guides of docs/, and the reference, made from the code.
# A warning (a broken link, an option that is not documented as it is) is an error.
set -eu
cd "$(dirname "$0")/.."
source=build/docs/source
rm -rf build/docs && mkdir -p "$source" && chmod go-w "$source"
cp -r docs/tutorials docs/how-to docs/reference docs/explanation docs/images docs/docsite/index.md "$source"
cp -r sandbox/docs "$source/sandbox"
sed -i "s,](\.\./\.\./sandbox/docs/,](../sandbox/," "$source"/*/*.md
antsibull-docs lint-collection-docs --plugin-docs --skip-rstcheck \
  --validate-collection-refs dependent --disallow-unknown-collection-refs .
antsibull-docs --config-file docs/docsite/antsibull-docs.cfg \
  collection --use-current --fail-on-error --dest-dir "$source" streamops.knative
sphinx-build -q -W --keep-going -c docs/docsite "$source" build/docs/html
echo "Open build/docs/html/index.html"
