// The requests that were refused, with the reason.

import { h, plural, time } from "./dom.js";

export function show(pane, rejected) {
  if (!rejected.length) {
    pane.replaceChildren(h("p", { className: "empty" }, "Nothing has been rejected."));
    return;
  }
  pane.replaceChildren(
    h("ol", {}, ...rejected.map((one) => h("li", {}, entry(one)))),
  );
}

function entry(one) {
  const headers = Object.entries(one.headers).map(([name, value]) => `${name}: ${value}`);
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
    h("pre", { tabIndex: 0 }, `${headers.join("\n")}\n\n${one.body}`),
  );
}
