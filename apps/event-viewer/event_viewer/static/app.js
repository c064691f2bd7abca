// The page: what is shown is told by its address, and kept live by the stream.

import { eventName, FILTERS, isFiltered, read, sourceAndId, VIEWS, write } from "./address.js";
import * as api from "./api.js";
import * as detail from "./detail.js";
import { $, h, plural } from "./dom.js";
import * as empty from "./empty.js";
import { EventList, MOST } from "./list.js";
import * as pipelinesView from "./pipelines.js";
import { brief } from "./post.js";
import * as rate from "./rate.js";
import * as rejectedView from "./rejected.js";

const PAGE = 500;
const RETRY_MS = 3000;
const STATS_MS = 3000;
const PIPELINES_MS = 5000;
const STATS_AFTER_NEWS_MS = 1500;
const GATHER_MS = 40;
const TYPING_MS = 250;
const ANNOUNCE_MS = 10_000;

const list = new EventList($("list"));
let session = { read: true, write: false, replay: false, sinks: [], any_sink: false };
let state = read();
let stream = null;
let epochShown = ""; // the epoch of the history shown: another one's numbers mean other events
let cursor = null; // of the older events
let loading = false;
let held = state.paused ? [] : null; // events that came while paused
let unseen = 0; // events that came above what is in view
let missed = 0; // events that came while the page was not looked at
let arrived = []; // events that came in the last moments
let load = 0; // the number of the current list; answers for an earlier one are dropped
let why = ""; // why the list could not be loaded
let retry = 0; // the timer of the next attempt
let detailFailed = false; // to show the event opened, which the next attempt does as well

function go(changes, { replace = false } = {}) {
  const next = write({ ...state, ...changes });
  history[replace ? "replaceState" : "pushState"](null, "", next);
  follow();
}

/** Show what the address says. */
function follow() {
  const before = state;
  state = read();
  const filtered = JSON.stringify(before.filters) !== JSON.stringify(state.filters);
  showFilters();
  showView();
  if (before.paused !== state.paused) holdOrRelease();
  if (filtered) start();
  if (before.event !== state.event) showDetail();
}

// Events

/** Load the list and listen to what follows; `again`: what is there already may stay. */
async function start({ again = false } = {}) {
  const mine = (load += 1);
  stream?.close();
  arrived = [];
  if (!again) clear();
  try {
    const page = await api.events(state.filters, null, PAGE);
    if (mine !== load) return;
    const records = page.events.map(brief);
    const epoch = page.position.split("-")[0];
    why = "";
    if (again && epoch === epochShown && records.some((one) => list.has(one))) {
      arrived = records.reverse();
      take();
    } else {
      clear();
      cursor = page.next;
      list.append(records);
      suggest(records);
      if (!records.length) older();
    }
    epochShown = epoch;
    $("total").textContent = page.total.toLocaleString();
    listen(page.position);
    if (detailFailed) {
      detailFailed = false;
      showDetail();
    }
  } catch (problem) {
    if (mine === load) await trouble(problem);
  }
  showEmpty();
}

function clear() {
  list.clear();
  cursor = null;
  unseen = 0;
  if (held) held = [];
  showNewer();
}

function listen(position) {
  stream = api.stream(state.filters, position);
  stream.onopen = () => tell("live");
  stream.onmessage = (message) => {
    if (!arrived.length) setTimeout(take, GATHER_MS);
    arrived.push(brief(JSON.parse(message.data)));
    if (arrived.length > MOST) arrived.shift(); // in the background timers may take a minute
  };
  // Another history (the viewer lost its own): the old one is not shown any longer.
  stream.addEventListener("reset", clear);
  stream.onerror = () => {
    tell("lost");
    // The browser tries again by itself, unless the viewer has answered with an error.
    if (stream.readyState === EventSource.CLOSED) tryAgain();
  };
}

function tryAgain() {
  clearTimeout(retry);
  retry = setTimeout(start, RETRY_MS, { again: true });
}

function take() {
  const gone = new Set(arrived.map((one) => one.removes).filter(Boolean));
  const records = arrived.filter((one) => !gone.has(one.source + "\n" + one.id));
  arrived = [];
  if (gone.size) {
    list.remove(gone);
    if (held) held = held.filter((one) => !gone.has(one.source + "\n" + one.id));
  }
  suggest(records);
  if (held) {
    const known = new Set(held.map((one) => one.seq));
    held.push(...records.filter((one) => !known.has(one.seq) && !list.has(one)));
    held.splice(0, held.length - MOST);
    tell("paused");
    return;
  }
  const away = !list.atTop;
  const fresh = list.prepend(records);
  if (away) unseen += fresh;
  if (document.hidden) missed += fresh;
  showNewer();
  showEmpty();
  showTitle();
  announce(fresh);
  if (Date.now() - lastStats > STATS_AFTER_NEWS_MS) showStats();
}

async function older() {
  if (!cursor || loading || list.records.length >= MOST) return;
  loading = true;
  const mine = load;
  try {
    let page;
    do {
      page = await api.events(state.filters, cursor, PAGE);
      if (mine !== load) break;
      cursor = page.next;
    } while (cursor && !page.events.length); // a search's time is over before it has found any
    if (mine === load) {
      loading = false; // the list may ask for more at once
      list.append(page.events.map(brief));
      showEmpty();
    }
  } catch {
    // Scrolling on tries again.
  }
  loading = false;
}

function suggest(records) {
  for (const [name, box] of [["type", $("types")], ["source", $("sources")]]) {
    const known = new Set([...box.options].map((option) => option.value));
    for (const record of records) {
      if (known.size < 50 && !known.has(record[name])) {
        known.add(record[name]);
        box.append(h("option", { value: record[name] }));
      }
    }
  }
}

// What is shown

const TEXTS = { live: "Live", lost: "Reconnecting", paused: "Paused" };

function tell(what) {
  const shown = held && what === "live" ? "paused" : what;
  $("state").className = `state ${shown}`;
  if ($("state").textContent !== TEXTS[shown]) $("state").textContent = TEXTS[shown];
  showPause();
}

function showPause() {
  const count = held?.length ? ` (${held.length.toLocaleString()})` : "";
  $("pause").textContent = held ? `Resume${count}` : "Pause";
  $("pause").setAttribute("aria-pressed", Boolean(held));
}

function showFilters() {
  for (const name of FILTERS) {
    if (document.activeElement !== $(name)) $(name).value = state.filters[name];
  }
  $("clear").hidden = !isFiltered(state);
}

function showView() {
  $("filters").hidden = state.view !== "events";
  for (const view of VIEWS) {
    $(view).hidden = view !== state.view;
    const way = $(`view-${view}`);
    way.href = write({ ...state, view, event: null });
    if (view === state.view) way.setAttribute("aria-current", "page");
    else way.removeAttribute("aria-current");
  }
  if (state.view === "rejected") showRejected();
  else if (state.view === "pipelines") showPipelines();
  else list.render(true);
}

async function showPipelines() {
  if (document.hidden || state.view !== "pipelines") return;
  try {
    pipelinesView.show($("pipelines"), (await api.pipelines()).pipelines);
  } catch (problem) {
    await trouble(problem);
  }
}

async function showRejected() {
  try {
    rejectedView.show($("rejected"), (await api.rejected()).rejected);
  } catch (problem) {
    await trouble(problem);
  }
}

function showEmpty() {
  const isEmpty = list.records.length === 0;
  $("empty").hidden = !isEmpty;
  $("list").classList.toggle("bare", isEmpty);
  if (!isEmpty) return;
  const reason = why || (isFiltered(state) ? "filtered" : "none");
  empty.show($("empty"), reason, {
    mayWrite: session.write,
    clear: () => $("filters").reset(),
    signIn: () => $("login").showModal(),
  });
}

function showNewer() {
  if (list.atTop) unseen = 0;
  $("newer").hidden = unseen === 0;
  $("newer").textContent = `↑ ${unseen.toLocaleString()} new`;
}

function showTitle() {
  if (!document.hidden) missed = 0;
  document.title = missed ? `(${missed.toLocaleString()}) Events` : "Events";
}

let announced = 0;
function announce(fresh) {
  // A screen reader hears of news now and then, not of every event.
  if (fresh && Date.now() - announced > ANNOUNCE_MS) {
    announced = Date.now();
    $("announcer").replaceChildren(`${plural(fresh, "new event")}`);
  }
}

async function showDetail() {
  const pane = $("detail");
  document.body.classList.toggle("with-detail", Boolean(state.event));
  pane.hidden = !state.event;
  list.render(true);
  if (!state.event) {
    list.mark(null);
    return;
  }
  const wanted = state.event;
  const { source, id } = sourceAndId(wanted);
  let found = null;
  let reason = "This event is not kept any more, or never came.";
  try {
    found = await api.event(source, id);
  } catch (problem) {
    reason = `It cannot be shown now: ${problem.message}.`;
    detailFailed = true;
    await trouble(problem);
  }
  if (wanted !== state.event) return;
  const does = { close, step: (by) => list.step(by) };
  if (found) detail.show(pane, found, session, does);
  else detail.showNone(pane, reason, does);
  list.mark(found?.record.seq ?? null);
  pane.focus({ preventScroll: true });
}

function close() {
  go({ event: null });
  $("list").focus();
}

let lastRejected = -1;
let lastStats = 0;
async function showStats() {
  if (document.hidden || !session.read) return;
  lastStats = Date.now();
  try {
    const { total, rejected, minutes } = await api.stats();
    $("total").textContent = total.toLocaleString();
    $("rejected-total").textContent = rejected.toLocaleString();
    rate.draw($("rate"), $("rate-text"), minutes);
    const refused = minutes.reduce((sum, one) => sum + one.rejected, 0);
    if (refused !== lastRejected && state.view === "rejected") await showRejected();
    lastRejected = refused;
  } catch {
    // The stream tells when the viewer is away.
  }
}

// Access

async function trouble({ status }) {
  if (status === 401) {
    why = "unknown";
    if (!$("login").open) $("login").showModal();
  } else if (status === 403) {
    why = "forbidden";
  } else {
    why = "lost";
    tell("lost");
    tryAgain();
  }
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
  clearTimeout(typing);
  go({ filters: Object.fromEntries(FILTERS.map((name) => [name, ""])), event: null });
  setTimeout(showFilters);
});

const pause = () => go({ paused: !state.paused }, { replace: true });

function holdOrRelease() {
  const records = held ?? [];
  held = state.paused ? [] : null;
  list.prepend(records);
  showEmpty();
  tell(stream?.readyState === EventSource.OPEN ? "live" : "lost");
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
  // The way back from the tenth event opened is as short as from the first.
  go({ event: eventName(record) }, { replace: Boolean(state.event) });
});

for (const name of ["view-events", "view-rejected"]) {
  $(name).addEventListener("click", (click) => {
    if (click.ctrlKey || click.metaKey || click.shiftKey) return;
    click.preventDefault();
    go({ view: name.slice("view-".length), event: null });
  });
}
addEventListener("popstate", follow);
const KEYS = {
  "/": () => $("text").focus(),
  p: pause,
  j: () => list.step(1),
  k: () => list.step(-1),
};
addEventListener("keydown", (press) => {
  if ($("login").open) return;
  if (press.key === "Escape" && state.event) close();
  if (/^(INPUT|SELECT|TEXTAREA)$/.test(press.target.tagName)) return;
  if (press.ctrlKey || press.metaKey || press.altKey || !KEYS[press.key]) return;
  if (state.view !== "events") return;
  press.preventDefault();
  KEYS[press.key]();
});
document.addEventListener("visibilitychange", () => {
  showTitle();
  showStats();
  showPipelines();
});

try {
  session = await api.session();
} catch {
  // Shown as what it is by the first page of events.
}
$("view-pipelines").hidden = !session.pipelines;
showFilters();
showView();
showPause();
await start();
await showDetail();
await showStats();
setInterval(showStats, STATS_MS);
setInterval(showPipelines, PIPELINES_MS);
