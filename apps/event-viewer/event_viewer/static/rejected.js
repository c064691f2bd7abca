// The requests that were refused, with the reason.

import { h, plural, time } from "./dom.js";

let shown = new Map(); // by their JSON: one that is open stays open when others come

export function show(pane, rejected) {
  if (!rejected.length) {
    shown = new Map();
    pane.replaceChildren(
      h(
        "div",
        { className: "empty" },
        h("h2", {}, "Nothing has been rejected"),
        h("p", {}, "Requests that are no valid CloudEvents appear here, with the reason."),
      ),
    );
    return;
  }
  const entries = new Map();
  for (const one of rejected) {
    const key = JSON.stringify(one);
    entries.set(entries.has(key) ? `${key} ${entries.size}` : key, shown.get(key) ?? h("li", {}, entry(one)));
  }
  shown = entries;
  const first = pane.querySelector("ol") ?? h("ol");
  const gone = new Set(first.children);
  let next = first.firstChild;
  for (const item of entries.values()) {
    gone.delete(item);
    if (item === next) next = next.nextSibling;
    else first.insertBefore(item, next);
  }
  for (const item of gone) item.remove();
  if (!first.isConnected) {
    const what = "Refused requests, newest first. None of these events was stored.";
    const heading = h("h2", { className: "hidden" }, "Rejected requests");
    pane.replaceChildren(heading, h("p", { className: "quiet" }, what), first);
  }
}

function entry(one) {
  const headers = Object.entries(one.headers).map(([name, value]) => `${name}: ${value}`);
  const part = (title, text) => (text ? [h("h3", {}, title), h("pre", { tabIndex: 0 }, text)] : []);
  const body = one.size > one.body.length ? "The start of the body" : "Body";
  return h(
    "details",
    {},
    h(
      "summary",
      {},
      h("span", { className: "badge bad" }, String(one.status)),
      h("span", { className: "reason" }, one.reason),
      h("span", { className: "quiet" }, time(one.received)),
    ),
    h("p", { className: "quiet" }, `From ${one.client || "unknown"}, ${plural(one.size, "byte")}`),
    ...part("Headers", headers.join("\n")),
    ...part(body, one.body),
  );
}
