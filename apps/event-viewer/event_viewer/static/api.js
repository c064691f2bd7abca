// The viewer's API (see /api/openapi.json).

export class Problem extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

async function call(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Problem(0, "the viewer cannot be reached");
  }
  if (!answer.ok) {
    const told = await answer.json().catch(() => ({}));
    throw new Problem(answer.status, told.error ?? `the viewer answered ${answer.status}`);
  }
  return answer;
}

const json = async (path, options) => (await call(path, options)).json();
const post = (path, body) =>
  json(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });

const query = (parameters) =>
  new URLSearchParams(Object.entries(parameters).filter(([, value]) => value)).toString();

export const session = () => json("/api/session");
export const logIn = (token) => post("/api/session", { token });
export const stats = () => json("/api/stats");
export const pipelines = () => json("/api/pipelines");
export const rejected = () => json("/api/rejected?limit=200");
export const events = (filters, cursor, limit) =>
  json(`/api/events?${query({ ...filters, cursor, limit })}`);
export const replay = (source, id, sink) => post("/api/replay", { source, id, sink });
export const remove = (source, id) => post("/api/removals", { source, id });
export const stream = (filters, after) =>
  new EventSource(`/api/stream?${query({ ...filters, after })}`);

/** One record, and its event's JSON exactly as it was sent; null when it is not kept any more. */
export async function event(source, id) {
  if (!source || !id) return null;
  const text = await (await call(`/api/events?${query({ source, id, limit: 1 })}`)).text();
  const [record] = JSON.parse(text).events;
  if (!record) return null;
  const start = text.indexOf('"event":', text.indexOf('"events":')) + '"event":'.length;
  return { record, raw: text.slice(start, text.lastIndexOf('}],"next":')) };
}
