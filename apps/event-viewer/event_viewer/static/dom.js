// Builds elements. Text only ever becomes text nodes, so nothing in an event can become markup.

export const $ = (id) => document.getElementById(id);

/** Those whose property is another thing or cannot be set. */
const ATTRIBUTES = /^(aria-.*|list)$/;

/** An element with properties (or attributes, where there is no such property) and children. */
export function h(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key in element && !ATTRIBUTES.test(key)) element[key] = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** Only these may be followed: an event's other schemes (javascript:, data:) stay text. */
export const isLink = (text) => /^https?:\/\/[^\s]+$/i.test(text);

export const link = (address, text = address) =>
  h("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, text);

/** A text's nodes, with its web addresses as links. */
export function linked(text) {
  return text
    .split(/(https?:\/\/[^\s<>"]+[^\s<>".,;:!?)\]}'])/i)
    .map((part) => (isLink(part) ? link(part) : document.createTextNode(part)));
}

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** A time in the reader's zone; the day only where it is not today. */
export function time(text, complete = false) {
  const moment = new Date(text);
  if (Number.isNaN(moment.getTime())) return document.createTextNode(text);
  const today = moment.toDateString() === new Date().toDateString();
  const shown = (today && !complete ? clock : full).format(moment);
  return h("time", { dateTime: text, title: text }, shown);
}

export const plural = (count, word) =>
  `${count.toLocaleString()} ${word}${count === 1 ? "" : "s"}`;
