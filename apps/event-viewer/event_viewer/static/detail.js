// One event: as a post where it is one, its attributes, its data, and what can be done with it.

import * as api from "./api.js";
import { h, isLink, link, time } from "./dom.js";
import { formatted } from "./json.js";
import { card, postOf } from "./post.js";

/** Fill `pane` with a record; `raw` is its event's JSON as it came. */
export function show(pane, { record, raw }, session, close) {
  const { event } = record;
  const post = postOf(event);
  const said = h("p", { className: "said", role: "status" });
  pane.replaceChildren(
    h(
      "header",
      {},
      h("h2", {}, event.type),
      h("button", { type: "button", className: "close", onclick: close, "aria-label": "Close" }, "×"),
    ),
    h(
      "div",
      { className: "actions" },
      h("button", { type: "button", onclick: () => copy(curl(raw), said, "The command") }, "Copy as curl"),
      h("button", { type: "button", onclick: () => copy(raw, said, "The event") }, "Copy as JSON"),
      ...(session.replay ? replayer(event, session.sinks, said) : []),
    ),
    said,
    ...(post ? [card(post)] : []),
    h("h3", {}, "Attributes"),
    attributes(record),
    h("h3", {}, "Event"),
    formatted(raw),
  );
}

function attributes(record) {
  const list = h("dl", { className: "attributes" });
  const row = (name, value) => list.append(h("div", {}, h("dt", {}, name), h("dd", {}, value)));
  for (const [name, value] of Object.entries(record.event)) {
    if (name === "data" || name === "data_base64" || value === null) continue;
    const text = String(value);
    row(name, name === "time" ? time(text, true) : isLink(text) ? link(text) : text);
  }
  row("received", time(record.received, true));
  row("number", String(record.seq));
  return list;
}

function replayer(event, sinks, said) {
  const choices = sinks.map((sink) => h("option", { value: sink }, sink));
  const sink =
    sinks.length > 1
      ? h("select", { className: "sink", "aria-label": "Sink to replay to" }, ...choices)
      : null;
  const button = h("button", { type: "button", className: "primary" }, "Replay");
  button.addEventListener("click", async () => {
    button.disabled = true;
    said.textContent = "Replaying …";
    try {
      const answer = await api.replay(event.source, event.id, sink?.value ?? sinks[0] ?? "");
      said.textContent = `Replayed: ${answer.sink} answered ${answer.status}.`;
    } catch (problem) {
      said.textContent = `Not replayed: ${problem.message}.`;
    }
    button.disabled = false;
  });
  return sink ? [sink, button] : [button];
}

/** A command for a POSIX shell that sends the event to this viewer again. */
function curl(raw) {
  const quoted = `'${raw.replaceAll("'", "'\\''")}'`;
  return (
    `curl -i ${location.origin}/ -H 'Content-Type: application/cloudevents+json; charset=utf-8'` +
    ` --data-binary ${quoted}`
  );
}

async function copy(text, said, what) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers give the clipboard to pages from https and localhost only.
    const area = h("textarea", { value: text, className: "hidden" });
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  said.textContent = `${what} is copied.`;
}
