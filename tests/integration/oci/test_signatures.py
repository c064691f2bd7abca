"""An image is taken only if it is signed by whom it has to be; an unsigned or altered one is named."""

from __future__ import annotations

import base64
import datetime
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import signing
from support.registries import Registry, sandbox_registry
from support.signing import IDENTITY, ISSUER, Sigstore, new_key, put_signature, sigstore
from support.upstream import Upstream

from ansible_collections.streamops.knative.plugins.module_utils._oci import trust_root
from ansible_collections.streamops.knative.plugins.module_utils._oci.argspec import REGISTRY
from ansible_collections.streamops.knative.plugins.module_utils._oci.credentials import Credentials
from ansible_collections.streamops.knative.plugins.module_utils._oci.errors import OptionError
from ansible_collections.streamops.knative.plugins.module_utils._oci.reference import Reference
from ansible_collections.streamops.knative.plugins.module_utils._oci.registry import (
    Connection,
    Repository,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.signatures import (
    SignatureError,
)
from ansible_collections.streamops.knative.plugins.module_utils._oci.verification import (
    Pulled,
    Verification,
)

NAME = "gcr.io/knative-releases/knative.dev/serving/cmd/queue"
SIGNER = {"images": "gcr.io/knative-releases/*", "identity": IDENTITY, "issuer": ISSUER}
DAY = datetime.timedelta(days=1)


@dataclass
class Place:
    """A registry with images, and a Sigstore that signs them."""

    registry: Registry
    services: Sigstore
    folder: Path
    made: int = 0

    def image(self) -> tuple[Repository, str]:
        """Make an image that nobody has signed."""
        self.made += 1
        reference = f"app/number-{self.made}"
        digest = Upstream(self.registry).publish(f"{reference}:1", layers=[reference.encode()])
        parsed = Reference.parse(f"{self.registry.host}/{reference}@{digest}", "reference")
        return Repository(parsed, Connection(), Credentials(*self.registry.credentials)), digest

    def verification(self, **options: Any) -> Verification:
        """Return what the options say; the trust root is that of the services."""
        root = self.folder / f"root-{self.made}-{len(options)}.json"
        root.write_bytes(options.pop("root", self.services.trust_root()))
        defaults = {name: spec.get("default") for name, spec in REGISTRY.items()}
        given = {"trust_root": str(root), "signers": [SIGNER], **options}
        return Verification.of({**defaults, **given, "request_retries": 0}, [], self.folder)

    def refusal(self, repository: Repository, **options: Any) -> str:
        with pytest.raises(SignatureError) as refused:
            self.verification(**options).verify([Pulled(NAME, str(repository.reference))])
        told = str(refused.value)
        assert str(repository.reference) in told
        assert "Nothing was changed" in told
        return told


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("signatures")
    with sandbox_registry(folder / "registry") as registry, sigstore() as services:
        yield Place(registry, services, folder)


def descriptor(repository: Repository, digest: str) -> dict[str, Any]:
    found = repository.manifest(digest)
    assert found
    return {"mediaType": found[2], "digest": digest, "size": len(found[0])}


# Without keys


def test_a_signature_under_cosign_s_tag_is_verified_once(place: Place) -> None:
    repository, digest = place.image()
    place.services.sign_image(repository, digest)
    image = Pulled(NAME, str(repository.reference))
    asked = place.services.asked
    assert place.verification().verify([image]) == [str(repository.reference)]
    assert place.services.asked == asked + 1
    assert place.verification().verify([image]) == [], "it was verified before"
    assert place.services.asked == asked + 1


def test_a_bundle_that_refers_to_the_image_is_verified_without_the_log(place: Place) -> None:
    repository, digest = place.image()
    place.services.sign_as_referrer(repository, descriptor(repository, digest))
    asked = place.services.asked
    image = Pulled(NAME, str(repository.reference))
    assert place.verification().verify([image]) == [str(repository.reference)]
    assert place.services.asked == asked


def test_another_signer_asks_again(place: Place) -> None:
    repository, digest = place.image()
    place.services.sign_image(repository, digest)
    image = Pulled(NAME, str(repository.reference))
    assert place.verification().verify([image])
    told = place.refusal(repository, signers=[{**SIGNER, "identity": "someone@example.com"}])
    assert "someone@example.com" in told


def unsigned(_place: Place, _repository: Repository, _digest: str) -> None:
    pass


def of_another_identity(place: Place, repository: Repository, digest: str) -> None:
    place.services.sign_image(repository, digest, identity="stranger@example.com")


def of_another_issuer(place: Place, repository: Repository, digest: str) -> None:
    place.services.sign_image(repository, digest, issuer="https://issuer.example.com")


def about_another_image(place: Place, repository: Repository, digest: str) -> None:
    place.services.sign_image(repository, digest, about=f"sha256:{'0' * 64}")


def lost_by_the_log(place: Place, repository: Repository, digest: str) -> None:
    place.services.lost.add(place.services.sign_image(repository, digest))


def by_another_authority(place: Place, repository: Repository, digest: str) -> None:
    stranger = Sigstore(place.services.url, log_key=place.services.log_key)
    stranger.bodies = place.services.bodies
    stranger.sign_image(repository, digest)


def in_another_log(place: Place, repository: Repository, digest: str) -> None:
    stranger = Sigstore(place.services.url, root_key=place.services.root_key)
    stranger.root = place.services.root
    stranger.certificates_key = place.services.certificates_key
    stranger.sign_image(repository, digest)


def changed(key: str, change: Callable[[str], str]) -> Callable[[Place, Repository, str], None]:
    """Return what signs an image and then changes an annotation of the signature."""

    def sign(place: Place, repository: Repository, digest: str) -> None:
        place.services.sign_image(repository, digest)
        found = repository.manifest(f"{digest.replace(':', '-')}.sig")
        assert found
        (layer,) = json.loads(found[0])["layers"]
        notes = layer["annotations"]
        notes[key] = change(notes[key])
        put_signature(repository, digest, repository.read_blob(layer["digest"]), notes)

    return sign


def other_signature(_text: str) -> str:
    return base64.b64encode(signing.sign(new_key(), b"something else")).decode()


def without_entry(_text: str) -> str:
    return '{"Payload": {}}'


def nonsense(_text: str) -> str:
    return "[]"


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (unsigned, "no signature of"),
        (of_another_identity, "stranger@example.com"),
        (of_another_issuer, "https://issuer.example.com"),
        (about_another_image, "it is about sha256:000"),
        (lost_by_the_log, "has no entry"),
        (by_another_authority, "certificate chain"),
        (in_another_log, "is not in the trust root"),
        (changed("dev.cosignproject.cosign/signature", other_signature), "Signature is invalid"),
        (changed("dev.sigstore.cosign/bundle", without_entry), "names no entry"),
        (changed("dev.sigstore.cosign/bundle", nonsense), "no signature of"),
    ],
)
def test_it_is_refused_by_its_name(
    place: Place, spoil: Callable[[Place, Repository, str], None], reason: str
) -> None:
    repository, digest = place.image()
    spoil(place, repository, digest)
    told = place.refusal(repository)
    assert reason in told
    assert f"{IDENTITY} ({ISSUER})" in told


def test_a_changed_statement_is_refused(place: Place) -> None:
    repository, digest = place.image()
    subject = descriptor(repository, digest)
    other, other_digest = place.image()
    place.services.sign_as_referrer(other, descriptor(other, other_digest))
    (entry,) = other.referrers(other_digest) or []
    found = other.manifest(entry["digest"])
    assert found
    bundle = json.loads(other.read_blob(json.loads(found[0])["layers"][0]["digest"]))
    signing.put_bundle(repository, subject, bundle["dsseEnvelope"], bundle["verificationMaterial"])
    assert f"it is about {other_digest}" in place.refusal(repository)
    statement = json.loads(base64.b64decode(bundle["dsseEnvelope"]["payload"]))
    statement["subject"][0]["digest"]["sha256"] = digest.removeprefix("sha256:")
    envelope = {**bundle["dsseEnvelope"], "payload": signing.text(signing.compact(statement))}
    signing.put_bundle(repository, subject, envelope, bundle["verificationMaterial"])
    assert "invalid signature" in place.refusal(repository)


def test_an_authority_that_had_ended_is_not_trusted(place: Place) -> None:
    repository, digest = place.image()
    place.services.sign_image(repository, digest)
    told = place.refusal(repository, root=place.services.trust_root(ended=DAY))
    assert "nothing in certificateAuthorities that was valid" in told
    assert place.verification().verify([Pulled(NAME, str(repository.reference))])


def test_a_trust_root_that_is_not_there_or_is_not_one_is_refused(
    place: Place, tmp_path: Path
) -> None:
    repository, digest = place.image()
    place.services.sign_image(repository, digest)
    with pytest.raises(OptionError, match=r"trust_root: .*no-root.json cannot be read"):
        place.verification(trust_root=str(tmp_path / "no-root.json"))
    with pytest.raises(OptionError, match="trust_root: not a trust root"):
        place.verification(root=b"{}").verify([Pulled(NAME, str(repository.reference))])


def test_all_that_are_refused_are_told_together(place: Place) -> None:
    references = [str(place.image()[0].reference) for _number in range(3)]
    with pytest.raises(SignatureError, match="3 images are refused") as refused:
        place.verification().verify([Pulled(NAME, one) for one in references])
    assert all(one in str(refused.value) for one in references)


def test_the_package_that_is_missing_is_named(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository, digest = place.image()
    place.services.sign_image(repository, digest)
    monkeypatch.setattr(trust_root, "find_spec", lambda _name: None)
    with pytest.raises(OptionError, match="pip install sigstore, or set verify to false"):
        place.verification().verify([Pulled(NAME, str(repository.reference))])


# Signers


def test_a_key_s_signature_needs_neither_package_nor_log(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust_root, "find_spec", lambda _name: None)
    key = new_key()
    path = tmp_path / "cosign.pub"
    path.write_bytes(signing.public_pem(key))
    signers = [{"images": "gcr.io/*", "key": str(path)}]
    repository, digest = place.image()
    payload = signing.payload_of(digest)
    sign = {"dev.cosignproject.cosign/signature": signing.text(signing.sign(key, payload))}
    put_signature(repository, digest, payload, sign)
    bundled, bundled_digest = place.image()
    signing.put_bundle(
        bundled,
        descriptor(bundled, bundled_digest),
        signing.enveloped(key, bundled_digest),
        {"publicKey": {"hint": ""}},
    )
    images = [Pulled(NAME, str(one.reference)) for one in (repository, bundled)]
    assert len(place.verification(signers=signers).verify(images)) == 2

    for spoilt_payload, spoilt_key in (
        (payload, new_key()),
        (signing.payload_of(f"sha256:{'1' * 64}"), key),
    ):
        other, other_digest = place.image()
        made = signing.text(signing.sign(spoilt_key, spoilt_payload))
        put_signature(
            other, other_digest, spoilt_payload, {"dev.cosignproject.cosign/signature": made}
        )
        place.refusal(other, signers=signers)


def test_the_first_signer_that_fits_counts(place: Place) -> None:
    repository, _digest = place.image()
    signers = [{"images": "gcr.io/knative-releases/*", "unsigned": True}, SIGNER]
    image = Pulled(NAME, str(repository.reference))
    assert place.verification(signers=signers).verify([image]) == []
    place.refusal(repository, signers=signers[::-1])


def test_an_image_of_a_release_that_no_signer_fits_is_refused_and_another_is_not(
    place: Place,
) -> None:
    repository, _digest = place.image()
    assert "nobody is named" in place.refusal(repository, signers=[])
    other = Pulled(NAME, str(repository.reference), required=False)
    assert place.verification(signers=[]).verify([other]) == []


def test_a_tag_is_not_a_digest(place: Place) -> None:
    with pytest.raises(SignatureError, match="is pulled by a tag"):
        place.verification().verify([Pulled(NAME, f"{place.registry.host}/app/one:1")])


@pytest.mark.parametrize(
    "signer",
    [
        {"images": "gcr.io/*"},
        {"images": "gcr.io/*", "identity": IDENTITY},
        {"images": "gcr.io/*", "identity": IDENTITY, "issuer": ISSUER, "unsigned": True},
        {"images": "gcr.io/*", "key": "/nowhere/cosign.pub"},
    ],
)
def test_a_signer_that_is_not_complete_is_refused(place: Place, signer: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=r"signers\[0\]"):
        place.verification(signers=[signer])
