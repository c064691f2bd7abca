// What an event says: posts as posts, anything else by its data.

import { h, link, linked, time } from "./dom.js";

const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">" };

/** The post an event carries ({id, text, author, time, address}), or null. */
export function postOf(event) {
  const data = event.data?.data ?? event.data;
  if (typeof data?.text !== "string" || !/^\d{1,20}$/.test(String(data.id ?? ""))) return null;
  const user = data.author ?? data.user ?? event.data?.includes?.users?.[0] ?? {};
  const name = user.username ?? user.screen_name;
  return {
    // X escapes these three in a post's text.
    text: data.text.replace(/&(amp|lt|gt);/g, (entity) => ENTITIES[entity]),
    author: name ? `@${name}` : data.author_id ? `User ${data.author_id}` : "Post",
    name: typeof user.name === "string" ? user.name : "",
    time: data.created_at ?? event.time ?? "",
    language: typeof data.lang === "string" ? data.lang : "",
    address: `https://x.com/i/status/${data.id}`,
  };
}

/** One or two lines that tell what an event is about. */
export function summary(event) {
  const post = postOf(event);
  if (post) return post.text;
  const data = event.data;
  if (data === undefined) {
    return event.data_base64 ? `${Math.floor(event.data_base64.length * 0.75)} bytes` : "No data";
  }
  if (typeof data === "string") return data;
  return typeof data?.text === "string" ? data.text : JSON.stringify(data);
}

/** A post as people know it. */
export function card(post) {
  return h(
    "article",
    { className: "post" },
    h(
      "header",
      {},
      h("span", { className: "avatar", "aria-hidden": "true" }, initial(post)),
      h("strong", {}, post.name || post.author),
      post.name ? h("span", { className: "quiet" }, post.author) : null,
    ),
    h("p", { lang: post.language, dir: "auto" }, ...linked(post.text)),
    h(
      "footer",
      { className: "quiet" },
      post.time ? time(post.time, true) : null,
      link(post.address, "Open on X"),
    ),
  );
}

export const initial = (post) => (post.name || post.author).replace(/^@/, "").charAt(0).toUpperCase();
