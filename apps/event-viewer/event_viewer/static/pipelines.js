// The view Pipelines: the status of each producer that sends to this viewer.

import { h, plural } from "./dom.js";
import { mark } from "./marks.js";

const SOURCES = {
  search: ["x", "X, recent search"],
  stream: ["x", "X, filtered stream"],
  replay: ["x", "a file of posts"],
  jetstream: ["bluesky", "Bluesky"],
  mastodon: ["mastodon", "Mastodon"],
  feed: ["feed", "Feeds"],
};
const number = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const dollars = new Intl.NumberFormat(undefined, { style: "currency", currency: "USD" });
let shown = "";

/** Fill `pane` with the answer of /api/pipelines. */
export function show(pane, pipelines) {
  const data = JSON.stringify(pipelines);
  if (data === shown && pane.firstChild) return;
  shown = data;
  const heading = h("h2", { className: "hidden" }, "Pipelines");
  pane.replaceChildren(
    heading,
    pipelines.length
      ? h("ul", {}, ...pipelines.map((one) => h("li", {}, entry(one))))
      : h("p", { className: "empty" }, "No pipeline is known to this viewer."),
  );
}

function entry(one) {
  const [network, title] = SOURCES[one.source] ?? ["feed", one.source ?? ""];
  const list = h("dl");
  const row = (name, value) => list.append(h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  if (one.source) {
    row("Source", title);
    if (one.query) row("Query", one.query);
    row("Rate", one.per_minute === null ? "unknown" : `${number.format(one.per_minute)} a minute`);
    row("Behind", one.seconds_behind === null ? "nothing read yet" : duration(one.seconds_behind));
    row("Budget", budget(one.budget));
    if (one.delivered !== null) row("Delivered", `${number.format(one.delivered)} since its start`);
  }
  const isWell = !one.problem && one.state === "running";
  return h(
    "article",
    { className: "pipeline", "aria-label": one.name || one.url },
    h(
      "header",
      {},
      one.source ? mark(network) : null,
      h("h3", {}, one.name || one.url),
      h("span", { className: isWell ? "badge" : "badge bad" }, one.state ?? "unknown"),
    ),
    one.problem ? h("p", { className: "problem" }, one.problem) : null,
    list,
  );
}

function budget(told) {
  if (!told) return "its posts cost nothing";
  const left = told.left === null ? "no limit" : `${plural(told.left, "post")} left today`;
  return `${left}; ${plural(told.posts, "post")} read, ${dollars.format(told.dollars)}`;
}

function duration(seconds) {
  if (seconds < 90) return plural(Math.round(seconds), "second");
  if (seconds < 5400) return plural(Math.round(seconds / 60), "minute");
  return plural(Math.round(seconds / 3600), "hour");
}
