"""Whom signatures without keys are traced back to: Sigstore's certificate authority and transparency log.

https://github.com/sigstore/protobuf-specs/blob/main/protos/sigstore_trustroot.proto. The log is asked for its
proof of an entry once, when a signature is read: cosign stores a promise of it only, which the package
sigstore does not take in place of the proof.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import tempfile
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .._http.client import HttpClient
from .._http.errors import NoAnswer, SettingError
from .._http.retries import Retries
from .errors import OciError, OptionError
from .signatures import Signature, SignatureError, check_payload, check_statement

Json = dict[str, Any]
_BUNDLE_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_LARGEST_ENTRY = 1 << 20  # bytes
_RETRY_SECONDS = 30.0
#: Where the entries of a trust root say when they are valid.
_VALIDITY = {
    "certificateAuthorities": (),
    "tlogs": ("publicKey",),
    "ctlogs": ("publicKey",),
}


def is_available() -> bool:
    """Return whether the package is there that verifies signatures without keys."""
    return find_spec("sigstore") is not None


def verifies(wanted: bool | None, *, are_expected: bool) -> bool:
    """Return whether signatures are verified: as wanted, by default where they are expected and can be."""
    return are_expected and is_available() if wanted is None else wanted


@dataclass(frozen=True)
class TrustRoot:
    """The JSON of a trust root, and how its log is asked."""

    content: bytes
    timeout: float = 30.0
    retries: int = 5
    _verifiers: dict[bytes, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def read(cls, path: Path, option: str = "trust_root", **options: Any) -> TrustRoot:
        """Return the trust root in a file; raise OptionError where it cannot be read."""
        try:
            return cls(path.read_bytes(), **options)
        except OSError as error:
            raise OptionError(f"{option}: {path} cannot be read: {error.strerror}") from error

    @classmethod
    def public(cls, **options: Any) -> TrustRoot:
        """Return that of the public Sigstore, as its signed repository has it now."""
        _require_package()
        from sigstore.errors import Error  # noqa: PLC0415 - takes half a second
        from sigstore.models import ClientTrustConfig  # noqa: PLC0415 - takes half a second

        try:
            root = ClientTrustConfig.production().trusted_root
        except (Error, OSError) as error:
            raise SignatureError(
                f"trust_root: Sigstore's cannot be fetched ({error}): name a file, or set verify to false"
            ) from error
        return cls(root._inner.to_json().encode(), **options)  # there is no public way to write it

    def _verifier(self, moment: datetime) -> Any:
        """Return what verifies with the authorities and logs that were valid at a time.

        The package takes all that a trust root has, whatever is said of their time.
        """
        _require_package()
        from sigstore.models import TrustedRoot  # noqa: PLC0415 - takes half a second
        from sigstore.verify import Verifier  # noqa: PLC0415 - takes half a second

        try:
            value = dict(self._value)
            for name, path in _VALIDITY.items():
                value[name] = [one for one in value[name] if _is_valid(one, path, moment)]
            lacking = [name for name in _VALIDITY if not value[name]]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _not_a_root(error) from error
        if lacking:
            raise SignatureError(
                f"the trust root has nothing in {', '.join(lacking)} that was valid at {moment}: renew it"
            )
        content = json.dumps(value, sort_keys=True).encode()
        if content not in self._verifiers:
            try:
                with tempfile.NamedTemporaryFile(suffix=".json") as file:
                    file.write(content)
                    file.flush()
                    root = TrustedRoot.from_file(file.name)
                self._verifiers[content] = Verifier(trusted_root=root)
            except Exception as error:  # the package raises those of the parsers that it uses
                raise _not_a_root(error) from error
        return self._verifiers[content]

    @cached_property
    def _value(self) -> Json:
        try:
            value: Json = json.loads(self.content)
        except ValueError as error:
            raise _not_a_root(error) from error
        return value

    @cached_property
    def _logs(self) -> dict[str, str]:
        """The URLs of transparency logs, by their ids in hexadecimal digits."""
        try:
            return {
                base64.b64decode(log["logId"]["keyId"]).hex(): str(log["baseUrl"]).rstrip("/")
                for log in self._value["tlogs"]
            }
        except (ValueError, KeyError, TypeError) as error:
            raise _not_a_root(error) from error

    def check(self, signature: Signature, digest: str, identity: str, issuer: str) -> None:
        """Raise SignatureError for a signature of an image that this identity has not made."""
        if signature.bundle is None:
            raise SignatureError("it was made with a key")
        _require_package()
        from sigstore.models import Bundle  # noqa: PLC0415 - takes half a second
        from sigstore.verify.policy import Identity  # noqa: PLC0415 - takes half a second

        policy = Identity(identity=identity, issuer=issuer)
        try:
            bundle = Bundle.from_json(json.dumps(signature.bundle))
            verifier = self._verifier(bundle.signing_certificate.not_valid_before_utc)
            if signature.payload:
                verifier.verify_artifact(signature.payload, bundle, policy)
            else:
                kind, statement = verifier.verify_dsse(bundle, policy)
        except OciError:
            raise
        except Exception as error:  # those of the parsers that the package uses, too
            raise SignatureError(" ".join(str(error).split())) from error
        if signature.payload:
            check_payload(signature.payload, digest)
        else:
            check_statement(kind, statement, digest)

    def complete(self, signature: Signature) -> Signature:
        """Return a signature with the log's proof in place of its certificate and the log's promise."""
        if not signature.certificate:
            return signature
        entry = signature.log_entry
        if not isinstance(entry, dict) or not isinstance(entry.get("logIndex"), int):
            raise SignatureError("it names no entry of a transparency log")
        found = self._entry(str(entry.get("logID")), entry["logIndex"])
        try:
            bundle = _bundle(signature, found)
        except (KeyError, TypeError, ValueError) as error:
            raise SignatureError("the transparency log's entry is incomplete") from error
        return replace(signature, certificate="", log_entry=None, bundle=bundle)

    def _entry(self, log: str, number: int) -> Json:
        base = self._logs.get(log)
        if base is None:
            raise SignatureError(f"the transparency log {log[:16]} is not in the trust root")
        url = f"{base}/api/v1/log/entries?logIndex={number}"
        try:
            http = HttpClient(timeout=self.timeout)
            answer = Retries(attempts=self.retries, seconds=_RETRY_SECONDS).send(
                lambda: http.request("GET", url, limit=_LARGEST_ENTRY), repeatable=True
            )
            if answer.status == 404:
                raise SignatureError(f"the transparency log {base} has no entry {number}")
            if answer.status != 200:
                raise SignatureError(f"the transparency log {base} answers {answer.status}")
            (entry,) = answer.json.values()
        except NoAnswer as error:
            raise SignatureError(
                f"its entry in the transparency log cannot be read: {error}"
            ) from error
        except SettingError as error:
            raise OptionError(str(error)) from error
        except (AttributeError, ValueError) as error:
            raise SignatureError(f"what answers at {base} is not a transparency log") from error
        found: Json = entry
        return found


def _bundle(signature: Signature, entry: Json) -> Json:
    """Return the Sigstore bundle of a signature of a payload; KeyError and others for an incomplete entry."""
    proof, promise = (
        entry["verification"][key] for key in ("inclusionProof", "signedEntryTimestamp")
    )
    body = json.loads(base64.b64decode(entry["body"]))
    return {
        "mediaType": _BUNDLE_TYPE,
        "verificationMaterial": {
            "certificate": {"rawBytes": _text(ssl.PEM_cert_to_DER_cert(signature.certificate))},
            "tlogEntries": [
                {
                    "logIndex": str(entry["logIndex"]),
                    "logId": {"keyId": _text(bytes.fromhex(entry["logID"]))},
                    "kindVersion": {"kind": body["kind"], "version": body["apiVersion"]},
                    "integratedTime": str(entry["integratedTime"]),
                    "inclusionPromise": {"signedEntryTimestamp": promise},
                    "inclusionProof": {
                        "logIndex": str(proof["logIndex"]),
                        "rootHash": _text(bytes.fromhex(proof["rootHash"])),
                        "treeSize": str(proof["treeSize"]),
                        "hashes": [_text(bytes.fromhex(one)) for one in proof["hashes"]],
                        "checkpoint": {"envelope": proof["checkpoint"]},
                    },
                    "canonicalizedBody": entry["body"],
                }
            ],
        },
        "messageSignature": {
            "messageDigest": {
                "algorithm": "SHA2_256",
                "digest": _text(hashlib.sha256(signature.payload).digest()),
            },
            "signature": _text(signature.signature),
        },
    }


def _is_valid(entry: Json, path: tuple[str, ...], moment: datetime) -> bool:
    for key in path:
        entry = entry[key]
    period = entry.get("validFor") or {}
    start, end = (
        datetime.fromisoformat(period[key]) if period.get(key) else None for key in ("start", "end")
    )
    return (start is None or start <= moment) and (end is None or moment <= end)


def _not_a_root(error: Exception) -> OptionError:
    return OptionError(f"trust_root: not a trust root of Sigstore: {error}")


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()


def _require_package() -> None:
    if not is_available():
        raise OptionError(
            "verify: signatures without keys need the Python package sigstore: pip install sigstore, or set"
            " verify to false"
        )
