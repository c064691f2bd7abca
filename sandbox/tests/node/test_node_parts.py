"""Parts of the node by themselves: networks, log files, references in commands."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from streamops_sandbox.node import logs
from streamops_sandbox.node.env import expand
from streamops_sandbox.node.network import Network


def test_no_two_clusters_share_a_network_and_no_two_pods_an_address() -> None:
    first, second = Network.reserve(), Network.reserve()
    try:
        assert first.number != second.number
        addresses = [first.allocate() for _ in range(300)]
        assert len(set(addresses)) == 300
        assert first.node_ip not in addresses
        first.release(addresses[0])
        assert first.allocate() != addresses[0], "an address has to rest before it comes again"
        assert first.metadata_ip(addresses[0]) not in addresses
    finally:
        first.close()
        second.close()


async def follow(path: Path, log: logs.ContainerLog) -> bytes:
    return b"".join([chunk async for chunk in logs.read(path, log, follow=True)])


def test_a_log_begins_anew_and_its_followers_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "_MAX_BYTES", 2000)

    async def run() -> bytes:
        log = logs.ContainerLog(tmp_path / "0.log")
        stream = logs.LogStream(log, "stdout")
        following = asyncio.create_task(follow(log.path, log))
        for number in range(200):
            stream.feed(f"line {number}\n".encode())
            if number % 7 == 0:
                await asyncio.sleep(0)
        stream.feed(b"rest")
        stream.end()
        log.close()
        return await following

    lines = asyncio.run(run()).decode().splitlines()
    numbers = [int(line.removeprefix("line ")) for line in lines[:-1]]
    assert numbers == sorted(set(numbers))
    assert lines[-2:] == ["line 199", "rest"]
    assert (tmp_path / "0.log").stat().st_size < 2100


def test_long_lines_come_out_whole(tmp_path: Path) -> None:
    async def run() -> bytes:
        log = logs.ContainerLog(tmp_path / "0.log")
        stream = logs.LogStream(log, "stderr")
        stream.feed(b"x" * 50_000)
        stream.feed(b"y\nnext\n")
        log.close()
        return b"".join([chunk async for chunk in logs.read(log.path, log, tail=2)])

    assert asyncio.run(run()) == b"x" * 50_000 + b"y\nnext\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$(A)", "1"),
        ("$(A)$(B)", "12"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$1"),
        ("$(C)", "$(C)"),
        ("$A ${A} $", "$A ${A} $"),
        ("$(A", "$(A"),
    ],
)
def test_references(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected
