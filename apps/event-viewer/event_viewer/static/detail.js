// One event: as a post where it is one, its data, its attributes, and what can be done with it.

import * as api from "./api.js";
import { copy, curl } from "./copy.js";
import { h, isLink, link, plural, time } from "./dom.js";
import { formatted, member } from "./json.js";
import { card, postOf } from "./post.js";

/** Colouring more than this takes longer than it helps. */
const MOST_COLOURED = 100_000;

/** Fill `pane` with a record; `raw` is its event's JSON as it came. */
export function show(pane, { record, raw }, session, { close, step }) {
  const { event } = record;
  const post = postOf(event);
  const said = h("p", { className: "said", role: "status" });
  const button = (text, onclick) => h("button", { type: "button", onclick }, text);
  pane.replaceChildren(
    head(event.type, { close, step }),
    h(
      "div",
      { className: "actions" },
      button("Copy as curl", () => copy(curl(raw), said, "The command")),
      button("Copy as JSON", () => copy(raw, said, "The event")),
      session.replay ? replayer(event, session, said) : null,
      session.remove ? button("Remove for good", () => removeEvent(event, said)) : null,
      said,
    ),
    ...(post ? [card(post)] : data(event, raw)),
    h("h3", {}, "Attributes"),
    attributes(record),
    ...(post ? data(event, raw) : []),
  );
  pane.scrollTop = 0;
}

/** Fill `pane` with the reason why there is no event to show. */
export function showNone(pane, reason, does) {
  pane.replaceChildren(head("Not here", does), h("p", { className: "quiet" }, reason));
}

function head(title, { close, step }) {
  const icon = (text, label, key, onclick) =>
    h("button", { type: "button", className: "icon", onclick, "aria-label": label, title: `${label} (${key})` }, text);
  return h(
    "header",
    {},
    h("h2", { title }, title),
    icon("↑", "Newer event", "k", () => step(-1)),
    icon("↓", "Older event", "j", () => step(1)),
    icon("×", "Close", "Escape", close),
  );
}

function data(event, raw) {
  const text = member(raw, "data");
  const base64 = typeof event.data_base64 === "string" ? event.data_base64 : null;
  const heading = h("h3", {}, "Data");
  if (text !== null && text !== "null") {
    return [heading, text.length > MOST_COLOURED ? plain(text) : formatted(text)];
  }
  if (base64 === null) return [heading, h("p", { className: "quiet" }, "None")];
  heading.append(` (${plural(Math.floor(base64.replace(/=+$/, "").length * 0.75), "byte")} as Base64)`);
  return [heading, plain(base64)];
}

const plain = (text) => h("pre", { tabIndex: 0 }, text);

function attributes(record) {
  const list = h("dl", { className: "attributes" });
  const row = (name, value) => list.append(h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  for (const [name, value] of Object.entries(record.event)) {
    if (name === "data" || name === "data_base64" || value === null) continue;
    const text = String(value);
    row(name, name === "time" ? time(text, true) : isLink(text) ? link(text) : text);
  }
  row("received", time(record.received, true));
  return list;
}

async function removeEvent(event, said) {
  if (!confirm("Remove this event from the history? It cannot be brought back.")) return;
  try {
    await api.remove(event.source, event.id);
    said.textContent = "Removed.";
  } catch (problem) {
    said.textContent = `Not removed: ${problem.message}.`;
  }
}

/** Where to replay to, and the button. The one sink is named, of several one is chosen. */
function replayer(event, { sinks, any_sink: anySink }, said) {
  const field =
    anySink
      ? h("input", { type: "url", required: true, value: sinks[0] ?? "", list: "sinks", placeholder: "http://…" })
      : sinks.length > 1
        ? h("select", {}, ...sinks.map((sink) => h("option", { value: sink }, sink)))
        : null;
  const button = h("button", { className: "primary" }, "Replay");
  const to = h("span", {}, "to ");
  const form = h(
    "form",
    { className: "replay" },
    button,
    field ? h("label", {}, to, field) : h("span", { className: "quiet", title: sinks[0] }, to, sinks[0]),
    anySink ? h("datalist", { id: "sinks" }, ...sinks.map((value) => h("option", { value }))) : null,
  );
  form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    button.disabled = true;
    said.textContent = "Replaying …";
    try {
      const answer = await api.replay(event.source, event.id, field?.value ?? sinks[0]);
      said.textContent = `Replayed: ${answer.sink} answered ${answer.status}.`;
    } catch (problem) {
      said.textContent = `Not replayed: ${problem.message}.`;
    }
    button.disabled = false;
  });
  return form;
}
