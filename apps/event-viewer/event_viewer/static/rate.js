// The small plot: events in each minute of the last hour, rejected requests in red on top.

import { plural } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";
const HEIGHT = 24;

export function draw(svg, caption, minutes) {
  const most = Math.max(1, ...minutes.map((one) => one.accepted + one.rejected));
  svg.setAttribute("viewBox", `0 0 ${minutes.length * 3} ${HEIGHT}`);
  const bar = (index, from, count, kind) => {
    const height = count ? Math.max(1, (count / most) * HEIGHT) : 0;
    const rect = document.createElementNS(SVG, "rect");
    const sizes = { x: index * 3, width: 2, y: HEIGHT - from - height, height };
    for (const [name, value] of Object.entries(sizes)) rect.setAttribute(name, value);
    rect.setAttribute("class", kind);
    return rect;
  };
  svg.replaceChildren(
    ...minutes.flatMap((one, index) => [
      bar(index, 0, one.accepted || 0, "accepted"),
      bar(index, (one.accepted / most) * HEIGHT, one.rejected, "refused"),
    ]),
  );
  const hour = minutes.reduce((sum, one) => sum + one.accepted, 0);
  const now = minutes.at(-1)?.accepted ?? 0;
  caption.textContent = `${now.toLocaleString()}/min`;
  const text = `${plural(hour, "event")} in the last hour, at most ${most.toLocaleString()} in a minute`;
  svg.setAttribute("aria-label", text);
  caption.title = text;
}
