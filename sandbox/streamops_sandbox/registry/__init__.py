"""An OCI registry: the distribution specification 1.1 over blobs and manifests kept on disk."""
