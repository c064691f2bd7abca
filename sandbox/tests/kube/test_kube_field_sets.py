"""Field sets behave as sets of paths, whatever they hold."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streamops_sandbox.kube import fieldset

ELEMENTS = st.sampled_from(["f:a", "f:b", 'k:{"name":"x"}', 'v:"y"'])
PATHS = st.frozensets(st.lists(ELEMENTS, min_size=1, max_size=4).map(tuple), max_size=8)


def build(paths):
    result: fieldset.Set = {}
    for path in sorted(paths):
        fieldset.insert(result, path)
    return result


def read(node):
    return frozenset(fieldset.paths(node))


@given(PATHS)
def test_holds_what_was_put_in(paths):
    assert read(build(paths)) == paths


@given(PATHS)
def test_order_does_not_matter(paths):
    backwards: fieldset.Set = {}
    for path in sorted(paths, reverse=True):
        fieldset.insert(backwards, path)
    assert backwards == build(paths)


@given(PATHS, PATHS)
def test_operations(left, right):
    one, two = build(left), build(right)
    assert read(fieldset.union(one, two)) == left | right
    assert read(fieldset.difference(one, two)) == left - right
    assert read(fieldset.intersection(one, two)) == left & right
    assert (read(one), read(two)) == (left, right), "neither is changed"


def test_paths_in_words():
    path = ("f:spec", 'k:{"containerPort":80,"protocol":"TCP"}', 'v:"x"', "i:3")
    assert fieldset.describe(path) == '.spec[containerPort=80,protocol="TCP"][="x"][3]'
