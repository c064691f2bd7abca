# SPDX-FileCopyrightText: The streamops.knative contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt)
"""Options of the modules that verify the signatures of images."""

from __future__ import annotations


class ModuleDocFragment:
    """`extends_documentation_fragment: streamops.knative.signatures`."""

    DOCUMENTATION = r"""
options:
  verify:
    description:
      - Whether the images of the releases have to be signed, by upstream or by whom O(signers) names. An image that is
        not is refused by its name, before anything is changed.
      - By default on where the Python package C(sigstore) is installed and the images come straight from upstream, or
        from a bundle that was made with their signatures. Mirrors often hold no signatures.
      - An image that was verified is not verified again with the same signer and trust root.
    type: bool
  signers:
    description:
      - Who signs images; the first entry that fits an image counts, before those of upstream. An image of a release
        that none fits is refused; other images are verified if one fits.
      - "Those of upstream: C(gcr.io/knative-releases/*) are signed by
        C(signer@knative-releases.iam.gserviceaccount.com), of the issuer C(https://accounts.google.com);
        C(docker.io/envoyproxy/*) are not signed by their project."
    type: list
    elements: dict
    default: []
    suboptions:
      images:
        description: Pattern of repositories, such as V(registry.example.com/team/*); as the releases name them.
        type: str
        required: true
      identity:
        description: E-mail address or URI in the certificates of signatures without keys.
        type: str
      issuer:
        description: Who vouches for O(signers[].identity), such as V(https://token.actions.githubusercontent.com).
        type: str
      key:
        description: File with the public key (PEM; ECDSA, RSA or Ed25519), in place of an identity.
        type: path
      unsigned:
        description: Whether the images are taken without a signature.
        type: bool
        default: false
  trust_root:
    description:
      - File with the trust root (C(trusted_root.json)) that signatures without keys are traced back to.
      - By default that of a bundle, and elsewhere the public Sigstore's, which is fetched.
    type: path
"""
