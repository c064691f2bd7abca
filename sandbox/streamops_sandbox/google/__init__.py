"""A stand-in for the Google Cloud APIs that the collection uses."""
