"""The page in a real browser. `--screenshots` writes docs/images as well."""

from __future__ import annotations

import contextlib
import html
import json
import math
import re
import shlex
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from apps.event_viewer.viewer_support import PATIENCE, ROOT, Start, Viewer, wait_until
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.http_server import Answer, answering
from support.ports import free_port

Make = Callable[..., dict[str, Any]]
pytestmark = pytest.mark.needs("chromium")
expect.set_options(timeout=60_000)
CHROMIUM = shutil.which("chromium")
HERE = Path(__file__).parent
AXE = HERE / "node_modules" / "axe-core" / "axe.min.js"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
)
POSTS = [
    ("Ada Example", "ada", "Our event pipeline moved to Knative today. One playbook, no YAML by hand."),
    ("Grace Ops", "grace_ops", "Rolled the signing keys at lunch, nobody noticed. That is the whole story."),
    ("Linus T.", "linus_t", "Is there a way to see *rejected* events? It took us hours to find a missing ce-id.\n\nhttps://example.com/notes"),
    ("Marie", "marie", "Scale to zero is great until your log viewer does it too."),
    ("Ada Example", "ada", "Tip: copy an event as curl, change a field, send it again. Debugging in ten seconds."),
]  # fmt: skip


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with watched(browser) as opened:
        yield opened


@contextlib.contextmanager
def watched(browser: Browser) -> Iterator[Page]:
    """A page; the test fails when its console shows an error or anything ran that should not."""
    context = browser.new_context(locale="en-GB", viewport={"width": 1200, "height": 760})
    opened = context.new_page()
    opened.set_default_timeout(60_000)
    problems: list[str] = []
    opened.on("console", lambda one: problems.append(one.text) if one.type == "error" else None)
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("dialog", lambda dialog: problems.append(f"dialog: {dialog.message}"))
    opened.problems = problems
    yield opened
    context.close()
    assert problems == []


def rows(page: Page) -> Any:
    return page.get_by_role("option")


def post(number: int) -> dict[str, Any]:
    name, user, text = POSTS[number % len(POSTS)]
    return {
        "specversion": "1.0",
        "id": str(1_590_000_000_000_000_000 + number),
        "source": "https://x.com",
        "type": "com.x.post",
        "time": "2026-01-31T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {
            "id": str(1_590_000_000_000_000_000 + number),
            "text": text,
            "lang": "en",
            "author": {"name": name, "username": user},
        },
    }


def test_new_events_appear_without_a_reload(start: Start, page: Page) -> None:
    viewer = start()
    viewer.send(post(0))
    page.goto(viewer.url)
    expect(rows(page)).to_have_count(1)
    expect(page.locator("#state")).to_have_text("Live")
    page.evaluate("window.notReloaded = true")
    viewer.send(post(1))
    expect(rows(page)).to_have_count(2)
    expect(rows(page).first).to_contain_text("nobody noticed")
    expect(rows(page).first).to_contain_text("Grace Ops")
    assert page.evaluate("window.notReloaded") is True
    # In the background the title tells how many have come.
    expect(page).to_have_title("Events")
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    viewer.send_batch([post(2), post(3)])
    expect(page).to_have_title("(2) Events")
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    expect(page).to_have_title("Events")


def test_the_first_event(start: Start, page: Page) -> None:
    """The empty page tells how to send one, and that works."""
    viewer = start()
    page.goto(viewer.url)
    expect(page.locator("#empty")).to_contain_text("No events yet")
    command = page.locator("#empty pre").text_content() or ""
    subprocess.run(["sh", "-c", command], check=True, capture_output=True)
    expect(rows(page)).to_have_count(1)
    expect(rows(page).first).to_contain_text("com.example.hello")
    expect(page.locator("#empty")).to_be_hidden()
    expect(page.locator("#total")).to_have_text("1")


def test_filters_and_search_live_in_the_address(start: Start, event: Make, page: Page) -> None:
    viewer = start()
    viewer.send_batch([post(number) for number in range(5)])
    viewer.send(event("build", type="dev.build", subject="build 7", data={"state": "green"}))
    page.goto(viewer.url)
    expect(rows(page)).to_have_count(6)
    page.get_by_label("Type").fill("dev.build")
    expect(rows(page)).to_have_count(1)
    expect(rows(page).first).to_contain_text("build 7")
    expect(page).to_have_url(re.compile("type=dev.build"))
    page.get_by_role("button", name="Clear").click()
    page.keyboard.press("Escape")
    page.get_by_label("Search in events").fill("SCALE to zero")
    expect(rows(page)).to_have_count(1)
    page.reload()
    expect(page.get_by_label("Search in events")).to_have_value("SCALE to zero")
    expect(rows(page)).to_have_count(1)
    # What comes later is filtered as well.
    viewer.send(event("other", data="nothing of the kind"))
    viewer.send(event("fits", data="we scale to zero"))
    expect(rows(page)).to_have_count(2)
    expect(rows(page).first).to_contain_text("we scale to zero")
    page.get_by_label("Search in events").fill("not anywhere")
    expect(page.locator("#empty")).to_contain_text("No event fits")


def test_pause_and_go_on(start: Start, event: Make, page: Page) -> None:
    viewer = start()
    page.goto(viewer.url)
    expect(page.locator("#empty")).to_contain_text("No events yet")
    expect(page.locator("#state")).to_have_text("Live")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_have_text("Paused")
    # A pause is part of the address as well: who is given it sees what there is, held.
    expect(page).to_have_url(re.compile("paused"))
    page.reload()
    expect(page.locator("#state")).to_have_text("Paused")
    viewer.send_batch([event(number) for number in range(3)])
    button = page.get_by_role("button", name="Resume (3)")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(rows(page)).to_have_count(0)
    button.click()
    expect(rows(page)).to_have_count(3)
    expect(page.locator("#state")).to_have_text("Live")
    expect(page).not_to_have_url(re.compile("paused"))


def test_open_copy_and_replay(start: Start, page: Page) -> None:
    target = start(READ_TOKEN="unused")
    viewer = start(REPLAY_SINK=target.url + "/")
    sent = {**post(2), "bign": 7}
    viewer.send(sent)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(viewer.url)
    rows(page).first.click()
    detail = page.get_by_role("complementary")
    expect(detail.get_by_role("heading", level=2)).to_have_text("com.x.post")
    expect(detail.locator("article")).to_contain_text("Linus T.")
    expect(detail.get_by_role("link", name="Open on X")).to_have_attribute(
        "href", f"https://x.com/i/status/{sent['id']}"
    )
    expect(detail.get_by_role("link", name="https://example.com/notes")).to_be_visible()
    expect(detail.locator("dl")).to_contain_text("bign")
    # The address leads back to it.
    page.reload()
    expect(detail.locator("article")).to_contain_text("Linus T.")
    detail.get_by_role("button", name="Copy as curl").click()
    expect(detail.get_by_role("status")).to_contain_text("copied")
    command = page.evaluate("navigator.clipboard.readText()")
    assert command.startswith("curl ")
    again = shlex.split(command.replace(viewer.url, target.url))
    answer = subprocess.run(again, capture_output=True, check=True, text=True)
    assert "202 Accepted" in answer.stdout
    headers = {"Authorization": "Bearer unused"}
    assert target.get("/api/events", headers=headers).json()["events"][0]["event"] == sent
    detail.get_by_role("button", name="Replay").click()
    expect(detail.get_by_role("status")).to_contain_text("answered 202")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()


def test_replay_to_an_address_of_ones_own(start: Start, event: Make, page: Page) -> None:
    target, viewer = start(), start(REPLAY_SINKS="*")
    viewer.send(event(1, data=[1, {"a": 2.50}]))
    page.goto(viewer.url)
    rows(page).first.click()
    detail = page.get_by_role("complementary")
    expect(detail.locator("pre")).to_contain_text("2.5")
    detail.get_by_label("to").fill(target.url)
    detail.get_by_role("button", name="Replay").click()
    expect(detail.get_by_role("status")).to_contain_text("answered 202")
    assert [record["event"] for record in target.events()] == [event(1, data=[1, {"a": 2.50}])]


def test_an_event_that_is_not_there(start: Start, event: Make, page: Page) -> None:
    viewer = start()
    viewer.send(event(1))
    detail = page.get_by_role("complementary")
    for name in ("%252Fs/gone", "%252Fs", "%25E0%25A4%25A/1"):
        page.goto(f"{viewer.url}/?event={name}")
        expect(detail).to_contain_text("not kept any more")
        expect(rows(page)).to_have_count(1)
    detail.get_by_role("button", name="Close").click()
    expect(detail).to_be_hidden()


def test_an_event_opened_while_the_viewer_is_away(
    start: Start, event: Make, page: Page, tmp_path: Path
) -> None:
    settings = {"STORE": tmp_path / "events.db", "PORT": free_port()}
    viewer = start(**settings)
    viewer.send(event(1, data="worth waiting for"))
    page.goto(viewer.url)
    expect(rows(page)).to_have_count(1)
    viewer.stop()
    rows(page).first.click()
    detail = page.get_by_role("complementary")
    expect(detail).to_contain_text("the viewer cannot be reached")
    start(**settings)
    expect(detail).to_contain_text("worth waiting for")
    page.problems.clear()  # the browser reports the connections that were refused


def test_survives_a_restart(start: Start, event: Make, page: Page, tmp_path: Path) -> None:
    settings = {"STORE": tmp_path / "events.db", "PORT": free_port()}
    viewer = start(**settings)
    viewer.send(event("before"))
    page.goto(viewer.url)
    expect(rows(page)).to_have_count(1)
    viewer.stop()
    expect(page.locator("#state")).to_have_text("Reconnecting")
    viewer = start(**settings)
    viewer.send(event("meanwhile"))
    expect(rows(page)).to_have_count(2)
    viewer.send(event("after"))
    expect(rows(page)).to_have_count(3)
    expect(page.locator("#state")).to_have_text("Live")
    page.problems.clear()  # the browser reports the connections that were refused


def test_markup_shows_as_text(start: Start, event: Make, page: Page) -> None:
    markup = (
        "<script>alert(1)</script><img src=x onerror=alert(2)><a href='javascript:alert(3)'>x</a>"
    )
    viewer = start()
    viewer.send(
        event(
            markup,
            type=markup,
            subject=markup,
            ext=markup,
            data={"id": "1", "text": markup + " javascript:alert(4)", "author": {"name": markup}},
        )
    )
    viewer.post(data=markup.encode(), headers={"ce-id": "x", "content-type": "text/html"})
    page.goto(viewer.url)
    expect(rows(page).first).to_contain_text(markup)
    rows(page).first.click()
    detail = page.get_by_role("complementary")
    expect(detail.locator("article")).to_contain_text(markup)
    expect(detail.locator("pre")).to_contain_text("onerror=alert(2)")
    page.get_by_role("link", name="Rejected").click()
    page.get_by_role("group").click()
    expect(page.locator("#rejected pre").last).to_contain_text(markup)
    links = page.evaluate("[...document.links].map((link) => link.protocol)")
    assert set(links) <= {"http:", "https:"}
    assert page.evaluate("document.querySelectorAll('img[src=x], [onerror]').length") == 0


#: What every card's post has.
CARD = {"created_at": "2026-01-31T12:00:00Z", "lang": "en"}
CARDS: list[tuple[dict[str, Any], dict[str, Any]]] = [
    (
        {
            "source": "https://x.com",
            "data": {
                "id": "1590000000000000001",
                "text": "By @ada &amp; co: #Knative, ada@example.com, C#1 https://example.com/#x",
                "author": {"name": "Ada Example", "username": "ada"},
            },
        },
        {
            "title": "Ada Example",
            "Ada Example": "https://x.com/ada",
            "@ada": "https://x.com/ada",
            "#Knative": "https://x.com/hashtag/Knative",
            "https://example.com/#x": "https://example.com/#x",
            "Open on X": "https://x.com/i/status/1590000000000000001",
            "Reply": "https://x.com/intent/post?in_reply_to=1590000000000000001",
            "Repost": "https://x.com/intent/retweet?tweet_id=1590000000000000001",
            "Like": "https://x.com/intent/like?tweet_id=1590000000000000001",
        },
    ),
    (
        {"source": "https://x.com", "data": {"id": "2", "text": "by an id", "author_id": "77"}},
        {"title": "User 77", "User 77": "https://x.com/i/user/77"},
    ),
    (
        {
            "source": "https://x.com",
            "data": {
                "id": "3",
                "text": "the first 280 characters …",
                "note_tweet": {"text": "the first 280 characters &amp; the #Rest"},
            },
        },
        {"title": "Post on X", "#Rest": "https://x.com/hashtag/Rest"},
    ),
    # As the producer has it with AUTHOR_NAMES, where X has told the name, and where it has not.
    (
        {
            "source": "https://x.com",
            "data": {
                "id": "4",
                "network": "x",
                "text": "a name &lt;3",
                "url": "https://x.com/ada/status/4",
                "author": {"id": "7", "name": "Ada", "handle": "ada", "url": "https://x.com/ada"},
            },
        },
        {"title": "Ada", "Ada": "https://x.com/ada", "@ada": "https://x.com/ada"},
    ),
    (
        {
            "source": "https://x.com",
            "data": {
                "id": "5",
                "network": "x",
                "text": "no name",
                "author": {"id": "78", "name": None, "handle": None, "url": None},
            },
        },
        {"title": "User 78", "User 78": "https://x.com/i/user/78"},
    ),
    ({"source": "https://x.com", "data": {"id": "6", "text": "by nobody"}}, {"title": "Post on X"}),
    (
        {
            "source": "https://bsky.app",
            "data": {
                "id": "at://did:plc:abc/app.bsky.feed.post/3k",
                "network": "bluesky",
                "text": "#CloudEvents with @grace.example.com",
                "url": "https://bsky.app/profile/did:plc:abc/post/3k",
                "author": {
                    "id": "did:plc:abc",
                    "name": None,
                    "handle": "ada.example.com",
                    "url": "https://bsky.app/profile/did:plc:abc",
                },
            },
        },
        {
            "title": "@ada.example.com",
            "@ada.example.com": "https://bsky.app/profile/did:plc:abc",
            "#CloudEvents": "https://bsky.app/hashtag/CloudEvents",
            "@grace.example.com": "https://bsky.app/profile/grace.example.com",
            "Open on Bluesky": "https://bsky.app/profile/did:plc:abc/post/3k",
        },
    ),
    (
        {
            "source": "https://mastodon.example.com",
            "data": {
                "id": "115",
                "network": "mastodon",
                "text": "The end of the film, @ada@example.org #Films",
                "url": "https://mastodon.example.com/@ada/115",
                "author": {
                    "id": "1",
                    "name": "Ada",
                    "handle": "ada@example.org",
                    "url": "https://example.org/@ada",
                },
                "mastodon": {"spoiler_text": "Gives the end away"},
            },
        },
        {
            "title": "Ada",
            "warning": "Gives the end away",
            "Ada": "https://example.org/@ada",
            "@ada@example.org": "https://example.org/@ada",
            "#Films": "https://mastodon.example.com/tags/Films",
            "Open on Mastodon": "https://mastodon.example.com/@ada/115",
        },
    ),
    (
        {
            "source": "https://blog.example.com/feed.xml",
            "data": {
                "id": "urn:1",
                "network": "feed",
                "text": "A #headline, no hashtag",
                "url": "javascript:alert(1)",
                "author": {"name": "The blog", "handle": None, "url": "javascript:alert(2)"},
            },
        },
        {"title": "The blog"},
    ),
]


@pytest.fixture(scope="module")
def cards(browser: Browser, viewer: Viewer) -> Iterator[Page]:
    """A page with all of CARDS, the last one first."""
    for carried, _shown in CARDS:
        event = {"specversion": "1.0", "type": "post", "datacontenttype": "application/json"}
        data = CARD | carried["data"]
        viewer.send({**event, "id": data["id"], "source": carried["source"], "data": data})
    with watched(browser) as opened:
        opened.goto(viewer.url)
        yield opened


@pytest.mark.parametrize("number", range(len(CARDS)), ids=[shown["title"] for _, shown in CARDS])
def test_card_shows_a_post_as_its_network_asks_for(cards: Page, number: int) -> None:
    """The way to the author, the network's mark, hashtags and mentions as links, the time as the way to the post."""
    carried, shown = CARDS[number]
    data = CARD | carried["data"]
    row = rows(cards).nth(len(CARDS) - 1 - number)
    network = data.get("network", "x")
    expect(row.locator("strong")).to_have_text(shown["title"])
    expect(row.locator(f".mark.{network}")).to_have_count(1)
    warning = shown.get("warning")
    if warning:
        expect(row).to_contain_text(warning)
        expect(row).not_to_contain_text(data["text"])
    row.click()
    card = cards.get_by_role("complementary").get_by_role("article")
    expect(card.locator("header > .mark")).to_have_class(f"mark {network}")
    text = card.locator("p")
    if warning:
        expect(text).to_be_hidden()
        card.get_by_text(warning).click()
    expect(text).to_be_visible()
    expect(text).to_have_text(html.unescape(data.get("note_tweet", data)["text"]))
    links = card.get_by_role("link").evaluate_all(
        "(all) => all.map((one) => [one.textContent, one.getAttribute('href')])"
    )
    wanted = {label: href for label, href in shown.items() if label not in ("title", "warning")}
    moment = card.locator("time").text_content()
    way = next((href for label, href in wanted.items() if label.startswith("Open on")), None)
    assert (moment in dict(links)) == (network != "feed")
    if way:
        assert dict(links)[moment] == way
    ours = {label for label, _ in links} - set(wanted) - {moment}
    assert wanted.items() <= dict(links).items()
    assert ours <= {"Open on X", "Reply", "Repost", "Like"}


def test_pipelines_tell_how_they_are(start: Start, page: Page, tmp_path: Path) -> None:
    told = {
        "/search": {
            "pipeline": "twitter", "source": "search", "state": "running", "query": "knative lang:en",
            "per_minute": 2.5, "seconds_behind": 12.0, "counters": {"delivered": 40.0},
            "budget": {"posts": 40, "left": 1960, "dollars": 0.2},
        },
        "/feed": {
            "pipeline": "blogs", "source": "feed", "state": "running", "per_minute": 0.0,
            "seconds_behind": 7300.0, "counters": {"delivered": 3.0},
            "reading": {"problem": "feeds do not answer: refused"},
        },
    }  # fmt: skip

    def answer(_method: str, path: str, *_: Any) -> Answer:
        return (200, {}, json.dumps(told[path]).encode()) if path in told else (404, {}, b"")

    with answering(answer) as server:
        (tmp_path / "urls").write_text("\n".join(server.url + path for path in (*told, "/gone")))
        viewer = start(PIPELINES_FILE=tmp_path / "urls")
        page.goto(viewer.url)
        page.get_by_role("link", name="Pipelines").click()
        twitter = page.get_by_role("article", name="twitter")
        for text in (
            "X, recent search",
            "knative lang:en",
            "2.5 a minute",
            "12 seconds",
            "running",
        ):
            expect(twitter).to_contain_text(text)
        expect(twitter).to_contain_text("1,960 posts left today; 40 posts read, US$0.20")
        blogs = page.get_by_role("article", name="blogs")
        for text in ("Feeds", "2 hours", "cost nothing", "feeds do not answer: refused"):
            expect(blogs).to_contain_text(text)
        gone = page.get_by_role("article", name=f"{server.url}/gone")
        expect(gone).to_contain_text("the producer answered 404")
        # It is kept live, and stands in the address.
        told["/search"]["per_minute"] = 7.0
        expect(twitter).to_contain_text("7 a minute")
        page.reload()
        expect(twitter).to_contain_text("7 a minute")
        expect(page.locator("#filters")).to_be_hidden()
        assert page.evaluate("document.documentElement.scrollWidth") == 1200
        page.get_by_role("link", name="Received").click()
        expect(page.locator("#pipelines")).to_be_hidden()


def test_no_pipelines_without_the_setting(start: Start, page: Page) -> None:
    page.goto(start().url)
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.get_by_role("link", name="Pipelines")).to_be_hidden()


def test_rejected_requests_with_reasons(start: Start, page: Page) -> None:
    viewer = start()
    viewer.post(data=b"{broken", headers={"content-type": "application/cloudevents+json"})
    page.goto(viewer.url + "/?view=rejected")
    first = page.get_by_role("listitem").first
    expect(first).to_contain_text("the body is not JSON")
    first.get_by_role("group").click()
    expect(first.locator("pre").last).to_contain_text("{broken")
    expect(page.locator("#rejected-total")).to_have_text("1")
    # Another one comes on top, and the one being read stays open.
    viewer.post(data=b"x", headers={"content-type": "text/plain"})
    expect(page.get_by_role("listitem")).to_have_count(2)
    expect(page.get_by_role("listitem").first).to_contain_text("not a CloudEvent")
    expect(page.get_by_role("listitem").nth(1).locator("pre").last).to_be_visible()


def test_keyboard(start: Start, event: Make, page: Page) -> None:
    viewer = start()
    viewer.send_batch([event(number, data=f"number {number}") for number in range(50)])
    page.goto(viewer.url)
    expect(rows(page).first).to_contain_text("number 49")
    page.keyboard.press("/")
    expect(page.get_by_label("Search in events")).to_be_focused()
    page.get_by_role("listbox").focus()
    for _ in range(3):
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(page.get_by_role("complementary")).to_contain_text("number 47")
    expect(page.locator("[aria-selected=true]")).to_contain_text("number 47")
    page.keyboard.press("j")
    expect(page.get_by_role("complementary")).to_contain_text("number 46")
    page.keyboard.press("k")
    expect(page.get_by_role("complementary")).to_contain_text("number 47")
    page.keyboard.press("Escape")
    expect(page.get_by_role("listbox")).to_be_focused()
    page.keyboard.press("End")
    active = page.get_by_role("listbox").get_attribute("aria-activedescendant")
    expect(page.locator(f"#{active}")).to_contain_text("number 0")
    expect(page.locator(f"#{active}")).to_be_in_viewport()


def test_ten_thousand_events(start: Start, event: Make, page: Page) -> None:
    """All can be scrolled to, few rows exist, and what is read stays put as new ones come."""
    viewer = start()
    for batch in range(10):
        viewer.send_batch(
            [event(batch * 1000 + n, data=f"n={batch * 1000 + n};") for n in range(1000)]
        )
    page.goto(viewer.url)
    expect(page.locator("#total")).to_have_text("10,000")
    box = page.get_by_role("listbox")

    def oldest_is_in_view() -> bool:
        box.press("End")  # of what has been loaded so far
        return "n=0;" in (rows(page).last.text_content() or "")

    wait_until(oldest_is_in_view)
    assert rows(page).count() < 60
    expect(rows(page).last).to_have_attribute("aria-setsize", "10000")
    box.evaluate("(list) => { list.scrollTop = 4000; }")
    middle = page.locator(".row", has_text="n=9928;")
    expect(middle).to_be_in_viewport()
    where = middle.bounding_box()
    viewer.send_batch([event(f"new {n}", data="new") for n in range(20)])
    expect(page.get_by_role("button", name="20 new")).to_be_visible()
    wait_until(lambda: middle.bounding_box() == where)
    page.get_by_role("button", name="20 new").click()
    expect(rows(page).first).to_contain_text("new")


def test_a_token_is_asked_for(start: Start, event: Make, page: Page) -> None:
    viewer = start(READ_TOKEN="open sesame")
    viewer.send(event(1, data="behind the door"))
    page.goto(viewer.url)
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#empty")).to_contain_text("Sign in to see the events")
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("textbox", name="Token").fill("wrong")
    dialog.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("the token is not valid")
    page.get_by_role("textbox", name="Token").fill("open sesame")
    dialog.get_by_role("button", name="Sign in").click()
    expect(rows(page).first).to_contain_text("behind the door")
    page.problems[:] = [one for one in page.problems if "401" not in one]


def test_somebody_who_may_not_read_is_told_so(start: Start, page: Page) -> None:
    viewer = start(
        USER_HEADER="X-User", TRUSTED_PROXIES="127.0.0.0/8", READ_USERS="ann", WRITE_USERS="eve"
    )
    page.context.set_extra_http_headers({"X-User": "eve"})
    page.goto(viewer.url)
    expect(page.locator("#empty")).to_contain_text("You may not read these events")
    page.problems[:] = [one for one in page.problems if "403" not in one]


def test_on_a_phone(start: Start, event: Make, page: Page) -> None:
    """An event takes the whole page; on the way back the list is where it was."""
    viewer = start()
    viewer.send_batch([event(number, data=f"number {number};") for number in range(100)])
    page.set_viewport_size({"width": 390, "height": 780})
    page.goto(viewer.url)
    expect(rows(page).first).to_contain_text("number 99;")
    page.get_by_role("listbox").evaluate("(list) => { list.scrollTop = 3000; }")
    row = page.locator(".row", has_text="number 61;")
    expect(row).to_be_in_viewport()
    where = row.bounding_box()
    row.click()
    expect(page.get_by_role("complementary")).to_contain_text("number 61;")
    expect(page.get_by_role("listbox")).to_be_hidden()
    page.get_by_role("button", name="Older event").click()
    expect(page.get_by_role("complementary")).to_contain_text("number 60;")
    page.get_by_role("button", name="Close").click()
    expect(row).to_be_in_viewport()
    wait_until(lambda: row.bounding_box() == where)


def test_a_large_event(start: Start, event: Make, page: Page) -> None:
    viewer = start()
    viewer.send(event(1, data={"numbers": list(range(100_000))}))
    page.goto(viewer.url)
    rows(page).first.click()
    expect(page.get_by_role("complementary").locator("pre")).to_contain_text("99999")


@pytest.mark.skipif(
    not AXE.is_file(), reason=f"needs axe-core: npm ci --prefix {HERE.relative_to(ROOT)}"
)
@pytest.mark.parametrize(("scheme", "width"), [("light", 1200), ("dark", 390)])
def test_accessible(start: Start, page: Page, tmp_path: Path, scheme: Any, width: int) -> None:
    (tmp_path / "urls").write_text("http://127.0.0.1:1/status")
    viewer = start(REPLAY_SINK="http://localhost:1/", PIPELINES_FILE=tmp_path / "urls")
    fill(viewer)
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 760})
    addresses = {"empty": "/?text=none"}
    addresses |= {view: f"/?view={view}" for view in ("rejected", "pipelines")}
    for state in ("events", "detail", "rejected", "empty", "pipelines"):
        page.goto(viewer.url + addresses.get(state, "/"))
        if state in ("events", "detail"):
            expect(rows(page).first).to_be_visible()
        if state == "empty":
            expect(page.locator("#empty")).to_contain_text("No event fits")
        if state == "pipelines":
            expect(page.get_by_role("article")).to_contain_text("cannot be reached")
        if state == "detail":
            rows(page).nth(3).click()
            expect(page.get_by_role("complementary").locator("pre")).to_be_visible()
        if state == "rejected":
            page.get_by_role("group").first.click()
        violations = page.evaluate(
            "async (source) => { (0, eval)(source); const found = await axe.run();"
            " return found.violations.map((one) => [one.id, one.nodes.map((node) => node.html)]); }",
            AXE.read_text(),
        )
        assert violations == [], state


def fill(viewer: Viewer) -> None:
    """What the screenshots show."""
    for number in range(30):
        viewer.send(post(number))
        if number % 7 == 3:
            build = {
                "specversion": "1.0",
                "id": f"build-{number}",
                "source": "https://ci.example.com/pipelines/42",
                "type": "dev.cdevents.build.finished",
                "subject": f"build/{number}",
                "data": {"status": "passed", "seconds": 12.50, "steps": ["lint", "unit", "e2e"]},
            }
            viewer.send(build)
    viewer.post(
        data=b'[{"text": "a list without attributes"}]',
        headers={"content-type": "application/cloudevents+json"},
    )
    viewer.post(data=b'{"text": "no ce- headers"}', headers={"content-type": "application/json"})
    wait_until(lambda: len(viewer.rejected()) == 2)


def an_hour(store: Path) -> None:
    """Counts and times as after an hour of work."""
    now = int(time.time() // 60)
    with sqlite3.connect(store, timeout=PATIENCE) as connection:
        connection.execute(
            "UPDATE events SET received = received - 1700 * (40 - seq) - 900 * (seq % 2)"
        )
        for ago in range(1, 60):
            accepted = round(60 + 30 * math.sin(ago / 7) + 17 * math.sin(ago * 1.7))
            connection.execute(
                "INSERT OR IGNORE INTO minutes VALUES (?, ?, 0, ?)",
                (now - ago, accepted, 6 * (ago % 23 == 5)),
            )
    connection.close()


@pytest.mark.parametrize(
    ("name", "scheme", "size", "opened"),
    [
        ("viewer-light", "light", (1200, 760), 1),
        ("viewer-dark", "dark", (1200, 760), 6),
        ("viewer-phone", "light", (390, 780), None),
    ],
)
def test_screenshots(
    request: pytest.FixtureRequest,
    start: Start,
    page: Page,
    tmp_path: Path,
    name: str,
    scheme: Any,
    size: tuple[int, int],
    opened: int | None,
) -> None:
    """Fits its window in each form; with --screenshots the documentation gets the picture."""
    sink = "http://broker-ingress.knative-eventing.svc.cluster.local/team/default"
    viewer = start(STORE=tmp_path / "events.db", REPLAY_SINK=sink)
    fill(viewer)
    an_hour(tmp_path / "events.db")
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.goto(viewer.url)
    expect(page.locator("#rate-text")).to_have_text(re.compile("last hour"))
    if opened is not None:
        rows(page).nth(opened).click()
        expect(page.get_by_role("complementary").locator("pre")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    assert json.loads(page.evaluate("JSON.stringify(document.body.scrollHeight)")) <= size[1]
    if request.config.getoption("--screenshots", default=False):
        page.screenshot(path=ROOT / "docs" / "images" / f"{name}.png")
