// What is shown, as the page's address tells it: filters, the view, the event opened, a pause.

export const VIEWS = ["events", "rejected", "pipelines"];
export const FILTERS = ["text", "type", "source"];

export function read() {
  const parameters = new URLSearchParams(location.search);
  return {
    filters: Object.fromEntries(FILTERS.map((name) => [name, parameters.get(name) ?? ""])),
    view: VIEWS.includes(parameters.get("view")) ? parameters.get("view") : "events",
    event: parameters.get("event"),
    paused: parameters.has("paused"),
  };
}

export function write({ filters, view, event, paused }) {
  const parameters = new URLSearchParams(Object.entries(filters).filter(([, value]) => value));
  if (view !== "events") parameters.set("view", view);
  if (event) parameters.set("event", event);
  if (paused) parameters.set("paused", "");
  return `?${parameters}`;
}

/** An event's name in the address; source and id may hold slashes. */
export const eventName = ({ source, id }) => `${encodeURIComponent(source)}/${encodeURIComponent(id)}`;

/** Source and id of such a name; empty ones, which no event has, when it is none. */
export function sourceAndId(name) {
  try {
    const [source, id = ""] = name.split("/").map(decodeURIComponent);
    return { source, id };
  } catch {
    return { source: "", id: "" };
  }
}

export const isFiltered = ({ filters }) => FILTERS.some((name) => filters[name]);
