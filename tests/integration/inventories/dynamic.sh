#!/bin/sh
# A dynamic inventory, as an executable.
cat <<JSON
{"fleet": {"hosts": ["one", "two"],
           "vars": {"kubeconfig": "$KUBECONFIG", "secrets_backend": "kubernetes",
                    "secrets_x_api_key": "a", "secrets_x_api_secret": "b",
                    "secrets_x_access_key": "c", "secrets_x_access_secret": "d",
                    "twitter_pipeline_registry": "registry.example.com/streamops"}},
 "_meta": {"hostvars": {"two": {"context": "staging"}}}}
JSON
