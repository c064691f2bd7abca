"""TLS contexts that are given explicitly, so that nothing in the environment replaces a cluster's CA."""

from __future__ import annotations

import functools
import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .errors import SettingError

#: Files of certificate authorities to trust instead of the system's, in the order of precedence.
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")


def public_context() -> ssl.SSLContext:
    """Return the context for public servers: the CAs of CA_VARIABLES, else the system's."""
    name = next((variable for variable in CA_VARIABLES if os.environ.get(variable)), "")
    return _public_context(name, os.environ.get(name))


@functools.cache  # reading the system's certificates takes 80 ms
def _public_context(name: str, bundle: str | None) -> ssl.SSLContext:
    folder = bundle if bundle and os.path.isdir(bundle) else None
    try:
        return ssl.create_default_context(cafile=None if folder else bundle, capath=folder)
    except OSError as error:  # ssl.SSLError is one
        raise SettingError(f"{name} names {bundle}, which cannot be read: {error}") from error


def private_context(
    ca_cert: str = "", client_cert: str = "", client_key: str = "", *, verify: bool = True
) -> ssl.SSLContext:
    """Return the context for a server with its own CA; certificates and keys are PEM text.

    Without `ca_cert` the system's CAs are trusted. Raises SettingError for what is not PEM.
    """
    try:
        if ca_cert:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.load_verify_locations(cadata=ca_cert)
        else:
            context = ssl.create_default_context()
    except (ssl.SSLError, ValueError) as error:
        raise SettingError(f"ca_cert is not a PEM certificate: {error}") from error
    # Many clusters' CAs predate the stricter checks that Python 3.13 turned on.
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if client_cert:
        with _private_file(f"{client_cert}\n{client_key}") as path:
            try:
                context.load_cert_chain(path)
            except ssl.SSLError as error:
                raise SettingError(f"client_cert and client_key do not match: {error}") from error
    return context


@contextmanager
def _private_file(text: str) -> Iterator[str]:
    """Write a file that only this user can read, for OpenSSL, which takes paths only."""
    handle, path = tempfile.mkstemp(prefix="streamops-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        yield path
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
