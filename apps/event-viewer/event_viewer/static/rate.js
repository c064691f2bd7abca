// The small plot: events in each minute of the last hour, rejected requests in red on top.

import { plural } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 28;
const STEP = 3;
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
let drawn = "";

export function draw(svg, caption, minutes) {
  // Drawn anew only with something new to show, or a bar's tooltip would go while it is read.
  const data = JSON.stringify(minutes);
  if (data === drawn) return;
  drawn = data;
  const most = Math.max(1, ...minutes.map((one) => one.accepted + one.rejected));
  svg.setAttribute("viewBox", `0 0 ${minutes.length * STEP} ${HEIGHT}`);
  svg.replaceChildren(...minutes.map((one, index) => bar(one, index, most)));
  const sum = (name) => minutes.reduce((total, one) => total + one[name], 0);
  const hour = document.createElement("strong");
  hour.textContent = sum("accepted").toLocaleString();
  caption.replaceChildren(hour, " last hour");
  const text = `${plural(sum("accepted"), "event")} in the last hour, ${sum("rejected").toLocaleString()} rejected, at most ${most.toLocaleString()} in a minute`;
  svg.setAttribute("aria-label", text);
  caption.title = text;
}

function bar({ minute, accepted, rejected }, index, most) {
  const group = document.createElementNS(SVG, "g");
  const title = document.createElementNS(SVG, "title");
  const refused = rejected ? `, ${rejected.toLocaleString()} rejected` : "";
  title.textContent = `${clock.format(new Date(minute))}: ${plural(accepted, "event")}${refused}`;
  const height = (count) => (count ? Math.max(1, Math.round((count / most) * HEIGHT)) : 0);
  const top = HEIGHT - height(accepted);
  group.append(
    title,
    rect(index, 0, HEIGHT, "ground"),
    rect(index, top, height(accepted), "accepted"),
    rect(index, Math.max(0, top - height(rejected)), height(rejected), "refused"),
  );
  return group;
}

function rect(index, y, height, kind) {
  const element = document.createElementNS(SVG, "rect");
  const sizes = { x: index * STEP, width: kind === "ground" ? STEP : STEP - 1, y, height };
  for (const [name, value] of Object.entries(sizes)) element.setAttribute(name, value);
  element.setAttribute("class", kind);
  return element;
}
