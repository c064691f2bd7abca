"""Values of secrets: as options give them, and as Secret Manager sends and takes them.

https://cloud.google.com/secret-manager/docs/reference/rest/v1/SecretPayload.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from .._yaml import type_name
from .errors import ConfigError, GcpError, UnexpectedAnswer

Json = dict[str, Any]

MAX_BYTES = 65536


def to_bytes(name: str, text: Any, encoded: Any) -> bytes | None:
    """Return the value given as text or as Base64; raise ConfigError for what is neither, or Google would refuse."""
    for option, given in (("value", text), ("value_base64", encoded)):
        if not isinstance(given, str | None):
            raise ConfigError(
                f"secret {name}: {option} is {type_name(given)}, not a text: put it in quotes. YAML reads"
                " 0123, 1.10 and yes as something else than it was written"
            )
    if text is None and encoded is None:
        return None
    try:
        value = (
            text.encode() if text is not None else base64.b64decode(encoded or "", validate=True)
        )
    except binascii.Error:
        raise ConfigError(f"secret {name}: value_base64 is not valid Base64") from None
    except UnicodeEncodeError:
        raise ConfigError(
            f"secret {name}: the value has bytes that are not text: give it as value_base64"
        ) from None
    if not value:
        raise ConfigError(
            f"secret {name}: the value is empty. Where it comes from a variable of the environment or"
            " a lookup, check that it is set; to leave the value as it is, leave the option out."
        )
    if len(value) > MAX_BYTES:
        raise ConfigError(
            f"secret {name}: the value has {len(value)} bytes; Secret Manager takes {MAX_BYTES}"
            " (64 KiB). Keep large things in Cloud Storage and their key here."
        )
    return value


def payload(value: bytes) -> Json:
    """Return the API's SecretPayload."""
    return {
        "data": base64.b64encode(value).decode(),
        "dataCrc32c": str(_checksum(value)),
    }


def verified(answer: Json) -> bytes:
    """Return the payload of an answer, if its checksum matches; raise UnexpectedAnswer otherwise."""
    content: Any = answer.get("payload")
    try:
        data = base64.b64decode(content.get("data", ""), validate=True)
        checksum = int(content["dataCrc32c"])
    except (AttributeError, KeyError, TypeError, ValueError):
        raise UnexpectedAnswer(answer["name"], "a version without payload and checksum") from None
    if checksum != _checksum(data):
        raise GcpError(
            f"{answer['name']}: the checksum of its payload does not match. Run this again."
        )
    return data


def _checksum(data: bytes) -> int:
    """Return CRC-32C, as Secret Manager uses it."""
    try:
        import google_crc32c  # noqa: PLC0415 - its absence is reported as the module's error
    except ImportError as error:
        raise ConfigError(
            "the Python package google-crc32c is needed on the host that runs the module: pip"
            f" install google-crc32c ({error})"
        ) from error
    checksum: int = google_crc32c.value(data)
    return checksum
