// The list: thousands of events, of which only the rows in view exist.

import { h, time } from "./dom.js";
import { avatar } from "./post.js";

const SPARE_ROWS = 6;
export const MOST = 10000;

export class EventList extends EventTarget {
  /** `box` scrolls; fires "choose" (detail: a brief record) and "end" (older ones are wanted). */
  constructor(box) {
    super();
    this.box = box;
    this.records = []; // brief ones, newest first
    this.keys = new Set();
    this.rows = new Map();
    this.active = -1; // where the keyboard is
    this.chosen = null; // seq of the record shown in detail
    this.height = this.rowHeight; // it changes with the page's layout
    this.space = h("div", { className: "space", role: "presentation" });
    box.append(this.space);
    box.addEventListener("scroll", () => this.render(), { passive: true });
    box.addEventListener("keydown", (press) => this.onKey(press));
    box.addEventListener("click", (click) => {
      const row = click.target.closest("[role=option]");
      if (row) this.choose(this.records.findIndex((one) => String(one.seq) === row.dataset.seq));
    });
    new ResizeObserver(() => this.render()).observe(box);
  }

  get rowHeight() {
    return parseFloat(getComputedStyle(this.box).getPropertyValue("--row")) || 80;
  }

  get atTop() {
    return this.box.scrollTop < this.height / 2;
  }

  clear() {
    this.records = [];
    this.keys.clear();
    this.active = -1;
    this.box.scrollTop = 0;
    this.render(true);
  }

  /** Add newer records (oldest first, as they came); what is in view stays where it is. */
  prepend(records) {
    const fresh = records.filter((one) => this.#remember(one));
    if (!fresh.length) return 0;
    const stay = !this.atTop;
    this.records = [...fresh.reverse(), ...this.records];
    for (const gone of this.records.splice(MOST)) this.keys.delete(gone.seq);
    if (this.active >= 0) this.active = Math.min(this.active + fresh.length, this.records.length - 1);
    this.#resize();
    if (stay) this.box.scrollTop += fresh.length * this.height;
    this.render(true);
    return fresh.length;
  }

  /** Add older records (newest first). */
  append(records) {
    const room = MOST - this.records.length;
    this.records.push(...records.filter((one) => this.#remember(one)).slice(0, room));
    this.render(true);
  }

  /** Take out what was removed from the history: `gone` holds sources and ids. */
  remove(gone) {
    const left = this.records.filter((one) => !gone.has(one.source + "\n" + one.id));
    if (left.length === this.records.length) return;
    this.records = left;
    this.active = Math.min(this.active, left.length - 1);
    this.render(true);
  }

  #remember(record) {
    if (this.keys.has(record.seq)) return false;
    this.keys.add(record.seq);
    return true;
  }

  has(record) {
    return this.keys.has(record.seq);
  }

  #resize() {
    this.space.style.height = `${this.records.length * this.height}px`;
  }

  /** Rows have become higher or lower: the same ones stay in view, and the active one with them. */
  #relayout(height) {
    const top = (this.box.scrollTop / this.height) * height;
    this.height = height;
    this.#resize();
    this.box.scrollTop = top;
    if (this.active >= 0) this.#reveal();
  }

  #reveal() {
    const top = this.active * this.height;
    if (top < this.box.scrollTop) this.box.scrollTop = top;
    else if (top + this.height > this.box.scrollTop + this.box.clientHeight) {
      this.box.scrollTop = top + this.height - this.box.clientHeight;
    }
  }

  render(changed = false) {
    if (changed) this.#resize();
    if (!this.box.clientHeight) return; // not shown now
    const height = this.rowHeight;
    if (height !== this.height) this.#relayout(height);
    const first = Math.max(0, Math.floor(this.box.scrollTop / height) - SPARE_ROWS);
    const shown = Math.ceil(this.box.clientHeight / height) + 2 * SPARE_ROWS;
    const last = Math.min(this.records.length, first + shown);
    const wanted = new Map();
    for (let index = first; index < last; index += 1) {
      const record = this.records[index];
      const row = this.rows.get(record.seq) ?? draw(record);
      this.rows.delete(record.seq);
      wanted.set(record.seq, row);
      row.style.transform = `translateY(${index * height}px)`;
      row.setAttribute("aria-posinset", index + 1);
      row.setAttribute("aria-setsize", this.records.length);
      row.setAttribute("aria-selected", record.seq === this.chosen);
      row.classList.toggle("active", index === this.active);
    }
    for (const row of this.rows.values()) row.remove();
    this.rows = wanted;
    // In the document they stand in the order they are seen in.
    let next = this.space.firstChild;
    for (const row of wanted.values()) {
      if (row === next) next = next.nextSibling;
      else this.space.insertBefore(row, next);
    }
    const active = this.records[this.active];
    if (active && wanted.has(active.seq)) {
      this.box.setAttribute("aria-activedescendant", wanted.get(active.seq).id);
    } else {
      this.box.removeAttribute("aria-activedescendant");
    }
    if (last >= this.records.length - 20) this.dispatchEvent(new Event("end"));
  }

  onKey(press) {
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height) - 1);
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity };
    if (press.key in steps) {
      press.preventDefault();
      this.move(this.active + steps[press.key]);
    } else if ((press.key === "Enter" || press.key === " ") && this.active >= 0) {
      press.preventDefault();
      this.choose(this.active);
    }
  }

  move(index) {
    this.active = Math.max(0, Math.min(this.records.length - 1, index));
    this.#reveal();
    this.render();
  }

  choose(index) {
    const record = this.records[index];
    if (!record) return;
    this.active = index;
    this.dispatchEvent(new CustomEvent("choose", { detail: record }));
  }

  /** The event after (1) or before (-1) the active one is chosen, as long as there is one. */
  step(by) {
    if (!this.records[this.active + by]) return;
    this.move(this.active + by);
    this.choose(this.active);
  }

  /** The record with that seq is shown in detail; null: none is. */
  mark(seq) {
    this.chosen = seq;
    const index = this.records.findIndex((one) => one.seq === seq);
    if (index >= 0) this.active = index;
    this.render();
  }
}

function draw(record) {
  const row = h(
    "div",
    { id: `event-${record.seq}`, className: "row", role: "option" },
    avatar(record.post),
    h(
      "span",
      { className: "line" },
      h("strong", { dir: "auto" }, record.title),
      h("span", { className: "badge" }, record.type),
      time(record.received),
    ),
    h("span", { className: "text", dir: "auto" }, record.text),
  );
  row.dataset.seq = record.seq;
  return row;
}
