"""YAML as Kubernetes reads and people write it; PyYAML is asked for only when it is needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

try:
    import yaml
except ImportError:  # `_require` tells what to do
    yaml = None  # type: ignore[assignment]  # stands for the missing module

from ansible_collections.streamops.knative.plugins.module_utils._kubernetes.errors import KubeError

# The C parser where PyYAML was built with it: ten times as fast.
_BASE = getattr(yaml, "CSafeLoader", None) or getattr(yaml, "SafeLoader", object)
_OTHERWISE = ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")


class InvalidYaml(KubeError):
    """Reads as ":line: what is wrong", to follow the name of the text."""


def documents(text: str) -> Iterator[tuple[int, Any]]:
    """(line, document) of each document in a YAML or JSON text; raises InvalidYaml."""
    _require()
    loader = _Loader(text)
    try:
        while loader.check_node():
            node = loader.get_node()
            yield node.start_mark.line + 1, loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        raise InvalidYaml(f":{line}: not valid YAML: {error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise InvalidYaml(f": not valid YAML: {error}") from error
    finally:
        loader.dispose()


def dump(value: Any) -> str:
    """Block style, keys sorted."""
    _require()
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text: str = yaml.dump(value, Dumper=dumper, default_flow_style=False, sort_keys=True)
    return text


def _require() -> None:
    if yaml is None:
        raise KubeError("PyYAML is missing on this host: pip install PyYAML")


class _Loader(_BASE):  # type: ignore[misc,valid-type]  # known only when it runs
    """Reads YAML as Kubernetes does: dates stay text, "=" is a text, a key stands once."""

    def construct_mapping(self, node: yaml.Node, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        if isinstance(node, yaml.MappingNode):
            for key, _value in node.value:
                if key.tag != "tag:yaml.org,2002:merge" and key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key '{key.value}' stands twice", key.start_mark
                    )
                if isinstance(key.value, str):
                    seen.add(key.value)
        mapping: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        return mapping


if yaml is not None:
    _Loader.yaml_implicit_resolvers = {
        first: [entry for entry in resolvers if entry[0] not in _OTHERWISE]
        for first, resolvers in _Loader.yaml_implicit_resolvers.items()
    }
