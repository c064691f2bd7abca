// What stands in place of the list when there is nothing in it: why, and what to do.

import { copy } from "./copy.js";
import { h } from "./dom.js";

const FIRST = `curl -i ${location.origin}/ \\
  -H 'ce-specversion: 1.0' -H 'ce-id: 1' -H 'ce-source: /me' \\
  -H 'ce-type: com.example.hello' \\
  -H 'Content-Type: application/json' -d '{"text": "Hello"}'`;

/** Fill `pane`; `why` is a key of CONTENT, and `does` are things the page can do about it. */
export function show(pane, why, does) {
  if (pane.dataset.why === why) return;
  pane.dataset.why = why;
  pane.replaceChildren(...CONTENT[why](does));
}

const CONTENT = {
  none: ({ mayWrite }) => [
    h("h2", {}, "No events yet"),
    h("p", {}, "They appear here as they arrive."),
    ...(mayWrite ? example() : []),
  ],
  filtered: ({ clear }) => [
    h("h2", {}, "No event fits these filters"),
    h("p", {}, "New ones that fit will appear here."),
    h("button", { type: "button", onclick: clear }, "Clear the filters"),
  ],
  lost: () => [h("h2", {}, "The viewer cannot be reached"), h("p", {}, "Trying again …")],
  unknown: ({ signIn }) => [
    h("h2", {}, "Sign in to see the events"),
    h("button", { type: "button", className: "primary", onclick: signIn }, "Sign in"),
  ],
  forbidden: () => [
    h("h2", {}, "You may not read these events"),
    h("p", {}, "Ask whoever runs this viewer for the right to."),
  ],
};

function example() {
  const said = h("p", { className: "said", role: "status" });
  return [
    h("p", {}, "Send one from a terminal:"),
    h("pre", { tabIndex: 0 }, FIRST),
    h("button", { type: "button", onclick: () => copy(FIRST, said, "The command") }, "Copy"),
    said,
  ];
}
