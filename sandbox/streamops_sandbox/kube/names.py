"""Rules for names, labels and annotations (k8s.io/apimachinery/pkg/util/validation)."""

from __future__ import annotations

import re
import secrets

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(rf"{_LABEL}\Z")
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*\Z")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?\Z")
# Without vowels and easily confused characters, as k8s.io/apimachinery/pkg/util/rand.
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_MAX_GENERATED = 63 - 5

SUBDOMAIN_RULE = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used "
    "for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_RULE = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and "
    "must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex "
    "used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
DNS_1035_RULE = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an "
    "alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', "
    "regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
LABEL_VALUE_RULE = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or "
    "'.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  "
    "or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
QUALIFIED_RULE = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end "
    "with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for "
    "validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)

#: Kinds by the form their names take; everything else takes an RFC 1123 subdomain.
_LABEL_KINDS = frozenset({"Namespace"})
_DNS_1035_KINDS = frozenset({"Service"})
#: RBAC names only have to fit into a path.
_PATH_SEGMENT_GROUPS = frozenset({"rbac.authorization.k8s.io"})


def generate(prefix: str) -> str:
    """A name from `generateName`: the prefix and five random characters."""
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(5))
    return prefix[:_MAX_GENERATED] + suffix


def problems(name: str, *, group: str, kind: str) -> list[str]:
    """What is wrong with an object's name; empty when it is fine."""
    if group in _PATH_SEGMENT_GROUPS:
        return _path_segment(name)
    if group == "" and kind in _LABEL_KINDS:
        return _check(name, _DNS_LABEL, 63, LABEL_RULE)
    if group == "" and kind in _DNS_1035_KINDS:
        return _check(name, _DNS_1035, 63, DNS_1035_RULE)
    return _check(name, _SUBDOMAIN, 253, SUBDOMAIN_RULE)


def _check(text: str, pattern: re.Pattern[str], limit: int, rule: str) -> list[str]:
    found = []
    if len(text) > limit:
        found.append(f"must be no more than {limit} characters")
    if not pattern.match(text):
        found.append(rule)
    return found


def _path_segment(name: str) -> list[str]:
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{bad}'" for bad in ("/", "%") if bad in name]


def label_key_problems(key: str) -> list[str]:
    """What is wrong with a label's or annotation's key."""
    prefix, slash, name = key.rpartition("/")
    found = []
    if slash and not prefix:
        found.append("prefix part must be non-empty")
    elif slash:
        found += ["prefix part " + text for text in _check(prefix, _SUBDOMAIN, 253, SUBDOMAIN_RULE)]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 characters")
    if not _QUALIFIED.match(name):
        found.append(QUALIFIED_RULE)
    return found


def label_value_problems(value: str) -> list[str]:
    """What is wrong with a label's value."""
    return _check(value, _LABEL_VALUE, 63, LABEL_VALUE_RULE)
