"""Checks that images are signed by whom they have to be."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from .._module.parallel import in_parallel
from .cache import Cache
from .connect import ANONYMOUS, open_repository
from .errors import OptionError
from .reference import Reference
from .referrers import list_referrers
from .registry import Repository
from .signatures import Signature, SignatureError, check_key, find_signatures, public_key
from .trust_root import TrustRoot

Json = dict[str, Any]
_WORKERS = 6
_ADVICE = (
    "Nothing was changed. Where an image is signed by others, name them in signers; where it is not signed"
    " and you trust it all the same, say unsigned there; with verify set to false no signature is asked for"
)


@dataclass(frozen=True)
class Signer:
    """Who signs the images whose repositories match a pattern: an identity, a `key` (PEM), or nobody."""

    images: str
    identity: str = ""
    issuer: str = ""
    key: str = ""
    unsigned: bool = False

    @classmethod
    def parse(cls, value: Json, option: str) -> Signer:
        """Read an entry of the option; raise OptionError for what is not complete."""
        if problem := incomplete(value, option):
            raise OptionError(problem)
        identity, issuer, path = (value.get(name) or "" for name in ("identity", "issuer", "key"))
        unsigned = bool(value.get("unsigned"))
        key = ""
        if path:
            try:
                key = Path(path).expanduser().read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise OptionError(f"{option}.key: {path} cannot be read: {error}") from error
            public_key(key.encode(), f"{option}.key")
        return cls(value["images"], identity, issuer, key, unsigned)

    def signs(self, repository: str) -> bool:
        """Return whether a repository's images are signed by it."""
        return fnmatchcase(repository, self.images)

    def __str__(self) -> str:
        return f"{self.identity} ({self.issuer})" if self.identity else "the key that is named"


def incomplete(value: Json, option: str) -> str:
    """Return what an entry of the option lacks; empty where it is complete."""
    identity, issuer, key, unsigned = (
        bool(value.get(name)) for name in ("identity", "issuer", "key", "unsigned")
    )
    if [identity, key, unsigned].count(True) == 1 and identity == issuer:
        return ""
    return f"{option}: give either identity and issuer, or key, or unsigned: true, for {value['images']}"


@dataclass(frozen=True)
class Pulled:
    """An image: `name` is what says who signs it, `reference` where it is; `required` is whether somebody has to."""

    name: str
    reference: str
    required: bool = True


@dataclass
class Verification:
    """Signers by precedence, and how images are reached; `root` is the public Sigstore's if not given.

    `options` are those of a module that talks to registries; `cache` keeps what was verified.
    """

    signers: Sequence[Signer]
    options: Mapping[str, Any]
    cache: Cache
    root: TrustRoot | None = None
    _public: TrustRoot | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, params: Mapping[str, Any], builtin: Iterable[Json], cache: Path) -> Verification:
        """Return what the options of a module say."""
        given = [
            Signer.parse(value, f"signers[{number}]")
            for number, value in enumerate(params["signers"])
        ]
        signers = [*given, *(Signer(**value) for value in builtin)]
        path = params["trust_root"]
        root = TrustRoot.read(Path(path), **_log_options(params)) if path else None
        return cls(signers, params, Cache(cache / "signatures"), root)

    def trust_root(self) -> TrustRoot:
        """Return the trust root, which is fetched when it is needed."""
        if self.root:
            return self.root
        with self._lock:
            if self._public is None:
                self._public = TrustRoot.public(**_log_options(self.options))
            return self._public

    def signer(self, name: str, *, required: bool) -> Signer | None:
        """Return who signs an image, None for nobody; raise SignatureError where that is not said."""
        repository = Reference.parse(name, "images").repository
        found = next((one for one in self.signers if one.signs(repository)), None)
        if found is None and required:
            raise SignatureError("nobody is named who signs it")
        return None if found is None or found.unsigned else found

    def check(self, signer: Signer, digest: str, signatures: Iterable[Signature]) -> Signature:
        """Return the signature of an image that is the signer's; raise SignatureError where there is none."""
        problems = []
        for one in signatures:
            try:
                if signer.key:
                    check_key(public_key(signer.key.encode(), "signers"), one, digest)
                    return one
                root = self.trust_root()
                complete = root.complete(one)
                root.check(complete, digest, signer.identity, signer.issuer)
            except SignatureError as error:
                problems.append(str(error))
            else:
                return complete
        if not problems:
            raise SignatureError(f"has no signature of {signer}")
        plural = "s" if len(problems) > 1 else ""
        said = "; ".join(dict.fromkeys(problems))
        raise SignatureError(f"has {len(problems)} signature{plural}, none of {signer}: {said}")

    def find(self, signer: Signer, repository: Repository, digest: str) -> Signature:
        """Return the signature of an image that its registry has."""
        referrers = list_referrers(repository, digest)
        return self.check(signer, digest, find_signatures(repository, digest, referrers))

    def verify(self, images: Iterable[Pulled]) -> list[str]:
        """Check images where they are pulled from, but for those that were verified before; return them.

        Raises SignatureError with all that are refused.
        """
        return refused_together(self._verify_one, images)

    def _verify_one(self, image: Pulled) -> str | None:
        signer = self.signer(image.name, required=image.required)
        if signer is None:
            return None
        reference = Reference.parse(image.reference, "images")
        if reference.digest is None:
            raise SignatureError(
                "is pulled by a tag, which may name another image tomorrow: give its digest (images), or"
                " install from a bundle"
            )
        if self.is_known(signer, reference.digest):
            return None
        options = {**self.options, **ANONYMOUS}
        self.find(signer, open_repository(reference, reference, options), reference.digest)
        self.note(signer, reference.digest, image.name)
        return image.reference

    # What was verified before

    def is_known(self, signer: Signer, digest: str) -> bool:
        """Return whether an image was verified before, with the same signer and trust root."""
        return self.cache.get("verified", self._key(signer, digest)) is not None

    def note(self, signer: Signer, digest: str, name: str) -> None:
        """Keep that an image was verified."""
        self.cache.put("verified", self._key(signer, digest), {"name": name, "digest": digest})

    def _key(self, signer: Signer, digest: str) -> str:
        root = hashlib.sha256(self.root.content).hexdigest() if self.root else ""
        parts = [digest, {**asdict(signer), "images": ""}, root]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def refused_together(
    work: Callable[[Any], str | None], images: Iterable[Any], named: str = "reference"
) -> list[str]:
    """Return what `work` returns for images; raise one SignatureError with those of all that are refused.

    `named` is the attribute of an image by which it is called. What is no verdict on an image, such as a registry
    that does not answer, is raised as it is.
    """

    def one(image: Any) -> tuple[str | None, str]:
        try:
            return work(image), ""
        except SignatureError as error:
            return None, f"- {getattr(image, named)}: {error}"

    done = in_parallel(one, images, _WORKERS)
    if problems := sorted({problem for _found, problem in done if problem}):
        number = "1 image is" if len(problems) == 1 else f"{len(problems)} images are"
        raise SignatureError(f"verify: {number} refused.\n" + "\n".join(problems) + f"\n{_ADVICE}")
    return [found for found, _problem in done if found]


def _log_options(params: Mapping[str, Any]) -> Json:
    return {"timeout": params["request_timeout"], "retries": params["request_retries"]}
