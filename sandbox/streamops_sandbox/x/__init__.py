"""A stand-in for the X API v2: recent search and the filtered stream, with limits and the bill."""
