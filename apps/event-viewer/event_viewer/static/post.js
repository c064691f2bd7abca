// What an event says: posts as posts, anything else by its data.

import { h, isLink, link, linked, plural, time } from "./dom.js";

const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">" };
const NETWORKS = { bluesky: "Bluesky", mastodon: "Mastodon", feed: "the web" };
const HUES = 6;
const TEXT = 400;
const graphemes = new Intl.Segmenter();

/** The post an event carries ({text, author, name, time, language, address}), or null. */
export function postOf(event) {
  const data = event.data?.data ?? event.data;
  const network = NETWORKS[data?.network];
  if (typeof data?.text !== "string") return null;
  if (!network && !/^\d{1,20}$/.test(String(data.id ?? ""))) return null;
  const user = data.author ?? data.user ?? event.data?.includes?.users?.[0] ?? {};
  const name = user.username ?? user.screen_name ?? user.handle;
  return {
    // X escapes these three in a post's text.
    text: network ? data.text : data.text.replace(/&(amp|lt|gt);/g, (entity) => ENTITIES[entity]),
    author: name ? `@${String(name).replace(/^@/, "")}` : data.author_id ? `User ${data.author_id}` : "",
    name: typeof user.name === "string" ? user.name : "",
    time: data.created_at ?? event.time ?? "",
    language: typeof data.lang === "string" ? data.lang : "",
    network: network ?? "X",
    address: network ? (isLink(String(data.url)) ? data.url : "") : `https://x.com/i/status/${data.id}`,
  };
}

/** What a deletion takes out of the list, as source and id; "" for any other event. */
const removes = ({ type, source, subject }) =>
  type.endsWith(".deleted") && subject ? `${source}\n${subject}` : "";

/** What the list shows and needs of a record; the rest is asked for when it is opened. */
export function brief({ seq, received, event }) {
  const { source, id, type } = event;
  const post = postOf(event);
  return {
    seq,
    received,
    source,
    id,
    type,
    removes: removes(event),
    post: post && { name: post.name, author: post.author },
    title: (post && (post.name || post.author)) || (event.subject ?? id),
    text: (post ? post.text : summary(event)).slice(0, TEXT),
  };
}

/** A text that tells what an event without a post is about. */
function summary({ data, data_base64: base64 }) {
  if (data === undefined || data === null) {
    return base64 ? plural(Math.floor(base64.length * 0.75), "byte") : "No data";
  }
  if (typeof data === "string") return data;
  return typeof data.text === "string" ? data.text : JSON.stringify(data);
}

/** A round picture with the author's initial, in the author's colour; braces where none is known. */
export function avatar(post) {
  if (!post?.author) return h("span", { className: "avatar other", "aria-hidden": "true" }, "{ }");
  const hue = [...post.author].reduce((sum, one) => (sum * 7 + one.codePointAt(0)) % 9973, 7) % HUES;
  const name = (post.name || post.author).replace(/^@/, "");
  const [first] = graphemes.segment(name);
  return h(
    "span",
    { className: `avatar hue-${hue}`, "aria-hidden": "true" },
    (first?.segment ?? "?").toUpperCase(),
  );
}

/** A post as people know it. */
export function card(post) {
  return h(
    "article",
    { className: "post" },
    h(
      "header",
      {},
      avatar(post),
      post.name || post.author ? h("strong", {}, post.name || post.author) : null,
      post.name ? h("span", { className: "quiet" }, post.author) : null,
    ),
    h("p", { lang: post.language, dir: "auto" }, ...linked(post.text)),
    h(
      "footer",
      { className: "quiet" },
      post.time ? time(post.time, true) : null,
      h("span", { className: "badge" }, post.network),
      post.address ? link(post.address, `Open on ${post.network}`) : null,
    ),
  );
}
