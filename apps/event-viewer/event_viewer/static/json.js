// Shows JSON indented and coloured, as it was sent: numbers and spellings are not touched.

import { h } from "./dom.js";

const TOKEN = /("(?:[^"\\]|\\.)*")|([{}[\],:])|([^\s{}[\],:"]+)/g;

/** The JSON of a member of the object in `text`, as it stands there; null when there is none. */
export function member(text, name) {
  let depth = 0;
  let start = null;
  const tokens = [...text.matchAll(TOKEN)];
  for (const [number, { 0: token, 2: sign, index }] of tokens.entries()) {
    if (sign === "}" || sign === "]") depth -= 1;
    const isEnd = depth === 0 || (depth === 1 && sign === ",");
    if (start !== null && isEnd) return text.slice(start, index).trim();
    if (sign === "{" || sign === "[") depth += 1;
    if (depth === 1 && token === `"${name}"` && tokens[number + 1]?.[0] === ":") {
      start = tokens[number + 1].index + 1;
    }
  }
  return null;
}

/** A <pre> with the JSON in `text`. */
export function formatted(text) {
  const out = h("pre", { className: "json", tabIndex: 0 });
  let depth = 0;
  let previous = "";
  const line = () => out.append("\n" + "  ".repeat(depth));
  const tokens = [...text.matchAll(TOKEN)];
  tokens.forEach(([token, string, sign, word], index) => {
    if (sign === "}" || sign === "]") {
      depth -= 1;
      if (previous !== "{" && previous !== "[") line();
    } else if (previous === "{" || previous === "[" || previous === ",") {
      line();
    }
    if (string) {
      const isKey = tokens[index + 1]?.[0] === ":";
      out.append(h("span", { className: isKey ? "key" : "string" }, token));
    } else if (word) {
      out.append(h("span", { className: "word" }, token));
    } else {
      out.append(sign === ":" ? ": " : token);
      if (sign === "{" || sign === "[") depth += 1;
    }
    previous = token;
  });
  return out;
}
