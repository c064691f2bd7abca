"""Rules for names, labels and annotations (k8s.io/apimachinery/pkg/util/validation)."""

from __future__ import annotations

import contextlib
import ipaddress
import re
import secrets

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(rf"{_LABEL}\Z")
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
_SUBDOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})*\Z")
_QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
_CONFIG_KEY = re.compile(r"[-._a-zA-Z0-9]+\Z")
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
CONFIG_KEY_RULE = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  "
    "or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
_TWO_SLASHES_RULE = (
    QUALIFIED_RULE.replace("name part", "a valid label key")
    + " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
)

_LABEL_KINDS = {"": ("Namespace", "Service"), "apps": ("StatefulSet",)}
#: Kinds whose names become parts of other names, with the longest they may have.
_SHORT_NAMES = {"CronJob": 52}
#: RBAC names only have to fit into a path.
_PATH_SEGMENT_GROUPS = frozenset({"rbac.authorization.k8s.io"})


def generate(prefix: str) -> str:
    """Return a name from `generateName`: the prefix and five random characters."""
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(5))
    return prefix[:_MAX_GENERATED] + suffix


def problems(name: str, *, group: str, kind: str) -> list[str]:
    """Return what is wrong with an object's name; empty for a valid one."""
    if group in _PATH_SEGMENT_GROUPS:
        return path_segment(name)
    if kind in _LABEL_KINDS.get(group, ()):
        return dns_label(name)
    limit = _SHORT_NAMES.get(kind, 253) if group == "batch" else 253
    if limit < len(name) <= 253 and not subdomain(name):
        return [f"must be no more than {limit} characters"]
    return subdomain(name)


def subdomain(text: str) -> list[str]:
    """Return what is wrong with a DNS subdomain."""
    return _check(text, _SUBDOMAIN, 253, SUBDOMAIN_RULE)


def dns_label(text: str) -> list[str]:
    """Return what is wrong with a DNS label."""
    rule = "must not contain dots" if _SUBDOMAIN.match(text) else LABEL_RULE
    return _check(text, _DNS_LABEL, 63, rule)


def dns_1035_label(text: str) -> list[str]:
    """Return what is wrong with a DNS label that starts with a letter."""
    return _check(text, _DNS_1035, 63, DNS_1035_RULE)


def port_name(text: str) -> list[str]:
    """Return what is wrong with a port's name (IANA service name)."""
    found = []
    if len(text) > 15:
        found.append("must be no more than 15 characters")
    if not re.fullmatch("[-a-z0-9]*", text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    elif not re.search("[a-z]", text):
        found.append("must contain at least one letter (a-z)")
    elif "--" in text:
        found.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return found


def network(text: str) -> list[str]:
    """Return what is wrong with a range of addresses."""
    with contextlib.suppress(ValueError):
        ipaddress.ip_network(text, strict=False)
        if "/" in text:
            return []
    return ["must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"]


def config_key(text: str) -> list[str]:
    """Return what is wrong with a key of a ConfigMap or Secret."""
    found = _check(text, _CONFIG_KEY, 253, CONFIG_KEY_RULE)
    if text == "." or text.startswith(".."):
        found.append("must not be '.'" if text == "." else "must not start with '..'")
    return found


def _check(
    text: str, pattern: re.Pattern[str], limit: int, rule: str, unit: str = "characters"
) -> list[str]:
    found = []
    if len(text) > limit:
        found.append(f"must be no more than {limit} {unit}")
    if not pattern.match(text):
        found.append(rule)
    return found


def path_segment(name: str) -> list[str]:
    """Return what keeps a name out of a URL's path."""
    if name in (".", ".."):
        return [f"may not be '{name}'"]
    return [f"may not contain '{bad}'" for bad in ("/", "%") if bad in name]


def label_key_problems(key: str) -> list[str]:
    """Return what is wrong with a label's or annotation's key."""
    prefix, slash, name = key.rpartition("/")
    if "/" in prefix:
        return [_TWO_SLASHES_RULE]
    found = []
    if slash and not prefix:
        found.append("prefix part must be non-empty")
    elif slash:
        found += ["prefix part " + text for text in subdomain(prefix)]
    if not name:
        found.append("name part must be non-empty")
    elif len(name) > 63:
        found.append("name part must be no more than 63 bytes")
    if not _QUALIFIED.match(name):
        found.append(QUALIFIED_RULE)
    return found


def label_value_problems(value: str) -> list[str]:
    """Return what is wrong with a label's value."""
    return _check(value, _LABEL_VALUE, 63, LABEL_VALUE_RULE, "bytes")
