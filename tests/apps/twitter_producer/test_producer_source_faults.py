"""Nothing is lost whichever source is read, and deletions arrive: rounds of random faults.

FAULT_ROUNDS is the number of rounds for each source (`make soak` has more), FAULT_SEED repeats a
run: it is printed, as is what came of each source and of all.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import pytest
from support.producer import Kit, Producer, Sink, wait_for
from support.producer_networks import Networks

SOURCES = ("search", "stream", "jetstream", "mastodon", "feed")
ROUNDS = int(os.environ.get("FAULT_ROUNDS", "10"))
#: `make soak` tries others.
SEED = os.environ.get("FAULT_SEED") or (
    secrets.token_hex(4) if "FAULT_ROUNDS" in os.environ else "streamops"
)
PER_ROUND = 5
DELETIONS = 5
#: A feed's entries that are remembered for its deletions at least.
REMEMBERED = 50
#: After it X has given up a compliance job whose list has not come.
QUARTER_OF_AN_HOUR = 16 * 60

pytestmark = pytest.mark.timeout(120 + 4 * ROUNDS)


class World(Protocol):
    """What a source reads, and how it breaks."""

    #: Faults of a request, and the paths that they strike.
    kinds: tuple[str, ...]
    paths: tuple[str, ...]
    #: Posts that may wait to be read: a feed lists 50.
    most_waiting: int

    def settings(self, sink: Sink) -> dict[str, Any]: ...
    def post(self, *texts: str) -> list[str]: ...
    def delete(self, post_id: str) -> None: ...
    def fault(self, kind: str, path: str) -> None: ...
    def disconnect(self) -> None: ...
    def mend(self) -> None: ...


class XWorld:
    """X, by search or by the stream."""

    def __init__(self, kit: Kit, source: str) -> None:
        self._kit, self._source, self._x = kit, source, kit.x()
        limits = ("search/user", "stream/app", "rules/app", "rules-change/app", "compliance/app")
        self._x.control("PUT", "/limits", dict.fromkeys(limits, 1_000_000))
        self._ahead = 0
        self.most_waiting = 10_000
        self.kinds = ("status", "drop", "garbage", "truncate")
        self.paths = ("/2/tweets/search", "/2/tweets/search", "/2/compliance", "/storage")

    def settings(self, sink: Sink) -> dict[str, Any]:
        return self._kit.searching(
            self._x,
            sink,
            source=self._source,
            budget_posts=0,
            overlap_seconds=5,
            backoff_max_seconds=0.1,
            poll_interval_seconds=0.1,
            x_timeout_seconds=2,
            compliance_interval_seconds=0.5,
        )

    def post(self, *texts: str) -> list[str]:
        return self._x.publish(*({"text": text} for text in texts), matching="text")

    def delete(self, post_id: str) -> None:
        self._x.control("DELETE", f"/posts/{post_id}")

    def fault(self, kind: str, path: str) -> None:
        self._x.fault(kind, path=path)

    def disconnect(self) -> None:
        self._x.control("POST", "/disconnect")

    def mend(self) -> None:
        self._x.control("DELETE", "/faults")
        self._ahead += QUARTER_OF_AN_HOUR
        self._x.control("PUT", "/clock", {"ahead_seconds": self._ahead})


class NetworkWorld:
    """A network that needs no key."""

    def __init__(self, kit: Kit, source: str) -> None:
        self._source, self._networks = source, Networks(kit)
        self._networks.control("PUT", "/mastodon/limit", {"requests": 1_000_000})
        self.most_waiting = 40 if source == "feed" else 10_000
        self._place = {"feed": "feeds/a"}.get(source, source)
        self.kinds = ("status", "drop", "garbage")
        if source != "jetstream":
            self.kinds += ("truncate",)
        self.paths = {
            "jetstream": ("/subscribe",),
            "mastodon": ("/api/v1/timelines", "/api/v1/statuses"),
            "feed": ("/feeds",),
        }[source]

    def settings(self, sink: Sink) -> dict[str, Any]:
        return self._networks.settings(self._source, sink)

    def post(self, *texts: str) -> list[str]:
        return self._networks.post(self._place, *({"text": text} for text in texts))

    def delete(self, post_id: str) -> None:
        self._networks.delete(self._place, post_id)

    def fault(self, kind: str, path: str) -> None:
        self._networks.fault(kind, path=path)

    def disconnect(self) -> None:
        if self._source != "feed":
            self._networks.control("POST", f"/{self._source}/disconnect")

    def mend(self) -> None:
        self._networks.control("DELETE", "/faults")


class Rounds:
    """Strikes a running producer, and starts another one after it."""

    def __init__(self, kit: Kit, world: World, sink: Sink, source: str) -> None:
        self._kit, self._world, self._sink = kit, world, sink
        self.random = random.Random(f"{SEED} {source}")
        self._settings = world.settings(sink)
        self.producer: Producer = kit.producer(**self._settings)
        self.struck: Counter[str] = Counter()

    def strike(self, *, ends: bool = True) -> None:
        """Do one thing that goes wrong in production; `ends`: a process may end too."""
        weights = {"kill": 3 * ends, "terminate": 2 * ends, "sink": 4, "disconnect": 2}
        weights |= dict.fromkeys(self._world.kinds, 2)
        [kind] = self.random.choices(list(weights), list(weights.values()))
        self.struck[kind] += 1
        if kind == "kill":
            time.sleep(self.random.uniform(0, 0.8))
            self.producer.kill()
            self.producer = self._kit.producer(**self._settings)
        elif kind == "terminate":
            assert self.producer.saying("started")
            assert self.producer.stop() == 0, self.producer.log
            self.producer = self._kit.producer(**self._settings)
        elif kind == "sink":
            status = self.random.choice([0, 401, 404, 429, 500, 503])
            self._sink.answers += [(status, {"Retry-After": "0"})] * self.random.randint(1, 4)
        elif kind == "disconnect":
            self._world.disconnect()
        else:
            self._world.fault(kind, self.random.choice(self._world.paths))
            if self.random.random() < 0.5:  # what holds a connection open meets it only then
                self._world.disconnect()


@pytest.fixture(scope="module")
def totals() -> Iterator[Counter[str]]:
    """Sums over all sources, printed at the end."""
    sums: Counter[str] = Counter()
    yield sums
    print(
        f"\n{sums['rounds']} rounds over {sums['sources']} sources, seed {SEED}: {sums['posts']} "
        f"posts and {sums['deletions']} deletions, 0 lost; {sums['kills']} kills, "
        f"{sums['duplicates']} delivered twice"
    )


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_is_lost_over_kills_and_faults(kit: Kit, totals: Counter[str], source: str) -> None:
    print(f"FAULT_SEED={SEED} FAULT_ROUNDS={ROUNDS}")
    world: World = (XWorld if source in ("search", "stream") else NetworkWorld)(kit, source)
    sink = kit.sink()
    rounds = Rounds(kit, world, sink, source)
    ids: list[str] = []
    for number in range(ROUNDS):
        wait_for(
            lambda known=frozenset(ids): len(known - set(sink.ids)) <= world.most_waiting,
            90,
            lambda known=frozenset(ids): _missing(known, sink, rounds),
        )
        ids += world.post(*(f"#knative {number}.{n} \"'\n🐦" for n in range(PER_ROUND)))
        rounds.strike()
        time.sleep(0.05)
    world.mend()
    sink.answers.clear()
    wait_for(lambda: set(sink.ids) >= set(ids), 90, lambda: _missing(ids, sink, rounds))
    posts = [event.id for event in sink.received if not event.id.endswith(".deleted")]
    assert set(posts) == set(ids)
    gone = rounds.random.sample(ids[-REMEMBERED:], DELETIONS)
    for post_id in gone:
        world.delete(post_id)
        rounds.strike(ends=False)
    world.mend()
    told = [f"{post_id}.deleted" for post_id in gone]
    wait_for(lambda: set(sink.ids) >= set(told), 90, lambda: _missing(told, sink, rounds))
    assert rounds.producer.stop() == 0
    assert {i for i in sink.ids if i.endswith(".deleted")} == set(told), "no other deletion"
    duplicates = len(sink.ids) - len(set(sink.ids))
    kills = rounds.struck["kill"]
    assert kills or not duplicates
    print(
        f"{source}: {ROUNDS} rounds, {len(ids)} posts and {len(gone)} deletions, 0 lost, "
        f"{duplicates} delivered twice after {kills} kills; {dict(rounds.struck)}"
    )
    totals.update(
        rounds=ROUNDS,
        sources=1,
        posts=len(ids),
        deletions=len(gone),
        kills=kills,
        duplicates=duplicates,
    )


def _missing(ids: Iterable[str], sink: Sink, rounds: Rounds) -> str:
    lost = sorted(set(ids) - set(sink.ids))
    return f"{len(lost)} missing, such as {lost[:3]}: {rounds.producer.log[-5:]}"
