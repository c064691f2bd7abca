"""Push the images of a bundle to a registry, for an installation from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .._knative.releases import PROJECTS, Version
from .._knative.signers import SIGNERS
from .._kubernetes.download import cache_dir
from .._module.progress import paced
from .._module.task import Run
from .._oci.connect import open_repository
from .._oci.trust_root import verifies
from .._oci.verification import Verification
from . import contents, signed
from .archive import Archive
from .errors import BundleError
from .transfer import Transfer
from .upload import Uploader, release_folder


def push(run: Run, params: dict[str, Any]) -> dict[str, Any]:
    """Make the registry hold the images of the bundle; return the result of `knative_bundle_push`.

    `params` are the options of that module. Raises BundleError for a bundle that is damaged or another.
    """
    archive = Archive.read(Path(params["path"]).absolute())
    bundle = contents.read(archive)
    options = {name: f"{name}_version" for name in PROJECTS}
    wanted = {
        name: str(Version.parse(params[version], version))
        for name, version in options.items()
        if params[version]
    }
    if found := contents.mismatches(bundle, params["components"], wanted):
        raise BundleError("\n".join([f"path: {archive.path} is another bundle:", *found]))
    cache = cache_dir(params["cache_dir"])
    verified = _verified(params, archive, bundle, cache)
    uploader = Uploader(
        archive,
        bundle,
        params["registry"].rstrip("/"),
        lambda reference: open_repository(reference, reference, params),
        Transfer("pushed", params["timeout"], paced(run.progress)),
        max(1, params["parallel"]),
    )
    missing = uploader.missing()
    if missing:
        uploader.verify()
    folder = release_folder(archive, bundle, cache)
    if not run.check_mode:
        uploader.push(missing)
    references = uploader.references()
    return {
        "changed": bool(missing),
        "images": references,
        "folder": str(folder),
        "components": bundle.components,
        "versions": bundle.versions,
        "platforms": bundle.platforms,
        "verified": verified,
        "pushed": [references[one.image.reference] for one in missing],
        "bytes": sum(one.size for one in missing),
    }


def _verified(
    params: dict[str, Any], archive: Archive, bundle: contents.Contents, cache: Path
) -> list[str]:
    """Return the images whose signatures were verified now: by default where there are some to verify."""
    if not verifies(params["verify"], are_expected=signed.has_signatures(archive)):
        return []
    return signed.verify(Verification.of(params, SIGNERS, cache), archive, bundle)
