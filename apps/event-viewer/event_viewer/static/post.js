// What an event says: posts as posts, anything else by its data.

import { h, isLink, link, linked, plural, time } from "./dom.js";
import { mark } from "./marks.js";

const ENTITIES = { "&amp;": "&", "&lt;": "<", "&gt;": ">" };
/** Each network's name, and where its hashtags and people are; `origin` is the event's source. */
const NETWORKS = {
  x: {
    name: "X",
    tag: (tag) => `https://x.com/hashtag/${tag}`,
    mention: /^@(\w{1,15})/,
    person: ([, name]) => `https://x.com/${name}`,
  },
  bluesky: {
    name: "Bluesky",
    tag: (tag) => `https://bsky.app/hashtag/${tag}`,
    mention: /^@([a-z0-9-]+(?:\.[a-z0-9-]+)+)/i,
    person: ([, handle]) => `https://bsky.app/profile/${handle}`,
  },
  mastodon: {
    name: "Mastodon",
    tag: (tag, origin) => `${origin}/tags/${tag}`,
    mention: /^@(\w+)@([a-z0-9-]+(?:\.[a-z0-9-]+)+)/i,
    person: ([, name, host]) => `https://${host}/@${name}`,
  },
  feed: { name: "the web" },
};
const TAG = /^#([\p{L}\p{N}_]*[\p{L}_][\p{L}\p{N}_]*)/u;
/** A hashtag or a mention that begins a word. */
const MARKED = /(?<![\p{L}\p{N}_/&.@#])([#@][\p{L}\p{N}_][\p{L}\p{N}_.@-]*)/u;
const HUES = 6;
const TEXT = 400;
const graphemes = new Intl.Segmenter();

const text = (value) => (typeof value === "string" ? value : "");
const address = (value) => (isLink(text(value)) ? value : "");

/** The post an event carries, or null: its text and time, its author, its network and addresses there. */
export function postOf(event) {
  const data = event.data?.data ?? event.data;
  if (typeof data?.text !== "string") return null;
  const known = Object.hasOwn(NETWORKS, data.network ?? "");
  if (!known && !/^\d{1,20}$/.test(String(data.id ?? ""))) return null;
  const network = known ? data.network : "x";
  const user = data.author ?? data.user ?? event.data?.includes?.users?.[0] ?? {};
  const post = {
    network,
    text: network === "x" ? textOnX(data) : data.text,
    warning: text(data.mastodon?.spoiler_text),
    time: data.created_at ?? event.time ?? "",
    language: text(data.lang),
    origin: event.source.replace(/\/$/, ""),
    id: String(data.id),
  };
  if (network === "x") return { ...post, ...authorOnX(user, data.author_id ?? user.id), address: `https://x.com/i/status/${data.id}` };
  const handle = text(user.handle);
  return {
    ...post,
    name: text(user.name),
    author: handle ? `@${handle.replace(/^@/, "")}` : text(user.id),
    profile: address(user.url),
    address: address(data.url),
  };
}

/** X shortens a long post's `text`, and escapes three characters of it. */
function textOnX(data) {
  const whole = text(data.note_tweet?.text) || text(data.note_post?.text) || data.text;
  return whole.replace(/&(amp|lt|gt);/g, (entity) => ENTITIES[entity]);
}

/** Only with an expansion X names the author; else there may be the id. */
function authorOnX(user, id) {
  const handle = text(user.username ?? user.screen_name ?? user.handle).replace(/^@/, "");
  if (handle) return { name: text(user.name), author: `@${handle}`, profile: `https://x.com/${encodeURIComponent(handle)}` };
  if (/^\d{1,20}$/.test(id ?? "")) return { name: "", author: `User ${id}`, profile: `https://x.com/i/user/${id}` };
  return { name: text(user.name), author: "", profile: "" };
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
    post: post && { name: post.name, author: post.author, network: post.network },
    title: post ? post.name || post.author || `Post on ${NETWORKS[post.network].name}` : (event.subject ?? id),
    text: (post ? post.warning || post.text : summary(event)).slice(0, TEXT),
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

/** An avatar with the author's initial and the network's mark; braces for other events. */
export function avatar(post) {
  if (!post) return h("span", { className: "avatar other", "aria-hidden": "true" }, "{ }");
  const who = post.name || post.author;
  if (!who) return h("span", { className: "avatar other", "aria-hidden": "true" }, mark(post.network));
  const hue = [...(post.author || who)].reduce((sum, one) => (sum * 7 + one.codePointAt(0)) % 9973, 7) % HUES;
  const [first] = graphemes.segment(who.replace(/^@|^did:plc:/, ""));
  return h(
    "span",
    { className: `avatar hue-${hue}`, "aria-hidden": "true" },
    (first?.segment ?? "?").toUpperCase(),
    mark(post.network),
  );
}

/** A post by its network's display rules: author, full text with links, time, link to the post. */
export function card(post) {
  const { name } = NETWORKS[post.network];
  const person = (label, properties) =>
    post.profile ? h("a", { href: post.profile, target: "_blank", rel: "noopener noreferrer", ...properties }, label) : h("span", properties, label);
  const said = h("p", { lang: post.language, dir: "auto" }, ...linked(post.text).flatMap((node) => marked(node, post)));
  const moment = post.time ? time(post.time, true) : null;
  return h(
    "article",
    { className: "post" },
    h(
      "header",
      {},
      avatar(post),
      h(
        "span",
        { className: "author" },
        post.name || post.author ? person(h("strong", { dir: "auto" }, post.name || post.author)) : h("strong", {}, `Post on ${name}`),
        post.name && post.author ? person(post.author, { className: "quiet" }) : null,
      ),
      mark(post.network),
    ),
    // What its author has put behind a warning is shown to those who ask for it.
    post.warning ? h("details", {}, h("summary", { dir: "auto" }, post.warning), said) : said,
    h(
      "footer",
      { className: "quiet" },
      moment && post.address ? link(post.address, moment) : moment,
      post.address ? link(post.address, `Open on ${name}`) : h("span", {}, `From ${name}`),
      ...(post.network === "x" ? actions(post.id) : []),
    ),
  );
}

/** What X wants to be possible with each post. */
const actions = (id) =>
  [["Reply", `post?in_reply_to=${id}`], ["Repost", `retweet?tweet_id=${id}`], ["Like", `like?tweet_id=${id}`]]
    .map(([label, intent]) => link(`https://x.com/intent/${intent}`, label));

/** The nodes of a text with its hashtags and mentions as links; other nodes as they are. */
function marked(node, { network, origin }) {
  if (node.nodeType !== Node.TEXT_NODE) return [node];
  const { tag, mention, person } = NETWORKS[network];
  return node.data.split(MARKED).flatMap((part, index) => {
    if (index % 2 === 0) return part ? [part] : [];
    const found = (part[0] === "#" ? tag && TAG : mention)?.exec(part);
    if (!found) return [part];
    const target = part[0] === "#" ? tag(encodeURIComponent(found[1]), origin) : person(found);
    return isLink(target) ? [link(target, found[0]), part.slice(found[0].length)] : [part];
  });
}
