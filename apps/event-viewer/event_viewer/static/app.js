// The page: what is shown is told by its address, and kept live by the stream.

import * as api from "./api.js";
import * as detail from "./detail.js";
import { $, h, plural } from "./dom.js";
import { EventList, MOST } from "./list.js";
import * as rate from "./rate.js";
import * as rejectedView from "./rejected.js";

const FILTERS = ["text", "type", "source"];
const PAGE = 500;
const STATS_MS = 5000;
const TYPING_MS = 250;

const list = new EventList($("list"));
let session = { read: true, replay: false, sinks: [] };
let state = read();
let stream = null;
let cursor = null; // of the older events
let loading = false;
let held = null; // events that came while paused
let unseen = 0; // events that came above what is in view
let arrived = []; // events of this frame
let load = 0; // the number of the current list; answers for an earlier one are dropped

// The address

function read() {
  const parameters = new URLSearchParams(location.search);
  const filters = Object.fromEntries(FILTERS.map((name) => [name, parameters.get(name) ?? ""]));
  return {
    filters,
    view: parameters.get("view") === "rejected" ? "rejected" : "events",
    event: parameters.get("event"),
  };
}

function address(changes) {
  const next = { ...state, ...changes };
  const parameters = new URLSearchParams(
    Object.entries(next.filters).filter(([, value]) => value),
  );
  if (next.view !== "events") parameters.set("view", next.view);
  if (next.event) parameters.set("event", next.event);
  return `?${parameters}`;
}

function go(changes, { replace = false } = {}) {
  history[replace ? "replaceState" : "pushState"](null, "", address(changes));
  follow();
}

/** Show what the address says. */
function follow() {
  const before = state;
  state = read();
  const filtered = JSON.stringify(before.filters) !== JSON.stringify(state.filters);
  showFilters();
  showView();
  if (filtered) start();
  if (before.event !== state.event) showDetail();
}

// Events

async function start() {
  const mine = (load += 1);
  stream?.close();
  list.clear();
  arrived = [];
  cursor = null;
  if (held) held = [];
  try {
    const page = await api.events(state.filters, null, PAGE);
    if (mine !== load) return;
    cursor = page.next;
    list.append(page.events);
    suggest(page.events);
    $("total").textContent = page.total.toLocaleString();
    listen(page.position);
  } catch (problem) {
    if (mine === load) await trouble(problem);
  }
  showEmpty();
}

function listen(position) {
  stream = api.stream(state.filters, position);
  stream.onopen = () => tell("live");
  stream.onmessage = (message) => {
    if (!arrived.length) requestAnimationFrame(take);
    arrived.push(JSON.parse(message.data));
  };
  // Another history (the viewer lost its own): the old one is not shown any longer.
  stream.addEventListener("reset", () => list.clear());
  stream.onerror = () => {
    tell("lost");
    // The browser tries again by itself, unless the viewer has answered with an error.
    if (stream.readyState === EventSource.CLOSED) setTimeout(start, 3000);
  };
}

function take() {
  const records = arrived;
  arrived = [];
  suggest(records);
  if (held) {
    held.push(...records);
    held.splice(0, held.length - MOST);
    tell("paused");
    return;
  }
  const away = !list.atTop;
  const fresh = list.prepend(records);
  if (away) unseen += fresh;
  showNewer();
  showEmpty();
  announce(fresh);
}

async function older() {
  if (!cursor || loading || list.records.length >= MOST) return;
  loading = true;
  const mine = load;
  try {
    const page = await api.events(state.filters, cursor, PAGE);
    if (mine === load) {
      cursor = page.next;
      list.append(page.events);
    }
  } catch {
    // Scrolling on tries again.
  }
  loading = false;
}

function suggest(records) {
  for (const [name, box] of [["type", $("types")], ["source", $("sources")]]) {
    const known = new Set([...box.options].map((option) => option.value));
    for (const { event } of records) {
      if (known.size < 50 && !known.has(event[name])) {
        known.add(event[name]);
        box.append(h("option", { value: event[name] }));
      }
    }
  }
}

// What is shown

const TEXTS = { live: "Live", lost: "Reconnecting", paused: "Paused" };

function tell(what) {
  const shown = held && what === "live" ? "paused" : what;
  $("state").className = `state ${shown}`;
  $("state").textContent = TEXTS[shown];
  $("pause").textContent = !held ? "Pause" : held.length ? `Resume (${held.length.toLocaleString()})` : "Resume";
}

function showFilters() {
  for (const name of FILTERS) {
    if (document.activeElement !== $(name)) $(name).value = state.filters[name];
  }
  $("clear").hidden = !FILTERS.some((name) => state.filters[name]);
}

function showView() {
  const isRejected = state.view === "rejected";
  $("events").hidden = isRejected;
  $("filters").hidden = isRejected;
  $("rejected").hidden = !isRejected;
  $("view-events").href = address({ view: "events", event: null });
  $("view-rejected").href = address({ view: "rejected", event: null });
  const [shown, other] = isRejected ? ["view-rejected", "view-events"] : ["view-events", "view-rejected"];
  $(shown).setAttribute("aria-current", "page");
  $(other).removeAttribute("aria-current");
  if (isRejected) showRejected();
  else list.render(true);
}

async function showRejected() {
  try {
    rejectedView.show($("rejected"), (await api.rejected()).rejected);
  } catch (problem) {
    await trouble(problem);
  }
}

function showEmpty() {
  const filtered = FILTERS.some((name) => state.filters[name]);
  $("empty").hidden = list.records.length > 0;
  $("list").classList.toggle("bare", list.records.length === 0);
  $("empty").textContent = filtered
    ? "No event fits these filters. New ones that fit will appear here."
    : "No events yet. They appear here as they arrive.";
}

function showNewer() {
  if (list.atTop) unseen = 0;
  $("newer").hidden = unseen === 0;
  $("newer").textContent = `↑ ${unseen.toLocaleString()} new`;
}

let announced = 0;
function announce(fresh) {
  // A screen reader hears of news now and then, not of every event.
  if (fresh && Date.now() - announced > 10000) {
    announced = Date.now();
    $("announcer").replaceChildren(`${plural(fresh, "new event")}`);
  }
}

async function showDetail() {
  const pane = $("detail");
  document.body.classList.toggle("with-detail", Boolean(state.event));
  pane.hidden = !state.event;
  if (!state.event) {
    list.mark(null);
    return;
  }
  const wanted = state.event;
  const [source, id] = wanted.split("/").map(decodeURIComponent);
  const found = await api.event(source, id ?? "").catch(trouble);
  if (wanted !== state.event) return;
  if (found) {
    detail.show(pane, found, session, close);
    list.mark(found.record.seq);
  } else {
    pane.replaceChildren(
      h("p", { className: "empty" }, "This event is not kept any more."),
      h("button", { type: "button", onclick: close }, "Close"),
    );
  }
  pane.focus({ preventScroll: true });
}

function close() {
  go({ event: null });
  $("list").focus();
}

let lastRejected = -1;
async function showStats() {
  if (document.hidden || !session.read) return;
  try {
    const { total, minutes } = await api.stats();
    const rejected = minutes.reduce((sum, one) => sum + one.rejected, 0);
    $("total").textContent = total.toLocaleString();
    $("rejected-total").textContent = rejected.toLocaleString();
    rate.draw($("rate"), $("rate-text"), minutes);
    if (rejected !== lastRejected && state.view === "rejected") await showRejected();
    lastRejected = rejected;
  } catch {
    // The stream tells when the viewer is away.
  }
}

// Access

async function trouble(problem) {
  if (problem.status === 401) {
    if (!$("login").open) $("login").showModal();
  } else {
    tell("lost");
    setTimeout(start, 3000);
  }
  return null;
}

$("login-form").addEventListener("submit", async (submit) => {
  submit.preventDefault();
  try {
    await api.logIn($("token").value);
    location.reload();
  } catch (problem) {
    $("login-error").textContent = problem.message;
  }
});

// What people do

let typing = 0;
$("filters").addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const filters = Object.fromEntries(FILTERS.map((name) => [name, $(name).value.trim()]));
    go({ filters, event: null }, { replace: true });
  }, TYPING_MS);
});
$("filters").addEventListener("submit", (submit) => submit.preventDefault());
$("filters").addEventListener("reset", () => {
  go({ filters: Object.fromEntries(FILTERS.map((name) => [name, ""])), event: null });
  setTimeout(showFilters);
});

function pause() {
  if (held) {
    const records = held;
    held = null;
    list.prepend(records);
    showEmpty();
  } else {
    held = [];
  }
  $("pause").setAttribute("aria-pressed", Boolean(held));
  tell(held ? "paused" : stream?.readyState === EventSource.OPEN ? "live" : "lost");
}
$("pause").addEventListener("click", pause);

$("newer").addEventListener("click", () => {
  $("list").scrollTop = 0;
  showNewer();
  $("list").focus();
});
$("list").addEventListener("scroll", showNewer, { passive: true });
list.addEventListener("end", older);
list.addEventListener("choose", ({ detail: record }) => {
  const { source, id } = record.event;
  go({ event: `${encodeURIComponent(source)}/${encodeURIComponent(id)}` });
});

for (const name of ["view-events", "view-rejected"]) {
  $(name).addEventListener("click", (click) => {
    if (click.ctrlKey || click.metaKey || click.shiftKey) return;
    click.preventDefault();
    go({ view: name.slice("view-".length), event: null });
  });
}
addEventListener("popstate", follow);
addEventListener("keydown", (press) => {
  if (press.key === "Escape" && state.event) close();
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(press.target.tagName) || press.ctrlKey || press.metaKey) return;
  if (press.key === "/") {
    press.preventDefault();
    $("text").focus();
  } else if (press.key === "p") {
    pause();
  }
});
document.addEventListener("visibilitychange", showStats);

try {
  session = await api.session();
} catch {
  // Shown as what it is by the first page of events.
}
showFilters();
showView();
await start();
await showDetail();
await showStats();
setInterval(showStats, STATS_MS);
