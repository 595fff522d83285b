// One message: who, when, its blocks, files, reactions, replies.

import { act } from "./api.js";
import { content } from "./blocks.js";
import { h } from "./dom.js";
import { emoji, REACTIONS } from "./emoji.js";
import { icon } from "./icons.js";
import { avatar, handleOf, nameOf } from "./people.js";
import { openMenu } from "./popup.js";
import { store } from "./store.js";
import { clock, fullTime } from "./text.js";

function reactions(message) {
  if (!message.reactions.length) return null;
  return h("div", { class: "reactions", key: "reactions" }, message.reactions.map(({ name, users }) => {
    const mine = users.includes(store.me);
    const label = `${name.replaceAll("_", " ")}, ${users.map(handleOf).join(", ")}`;
    return h("button", {
      type: "button", class: "reaction", title: label, "aria-label": label, "aria-pressed": `${mine}`,
      key: name, onclick: () => react(message, name, mine),
    }, emoji(name), h("span", {}, String(users.length)));
  }));
}

const react = (message, name, mine) =>
  act(mine ? "unreact" : "react", { channel: message.channel, ts: message.ts, name });

function size(bytes) {
  return bytes < 1024 ? `${bytes} bytes` : `${Math.round(bytes / 1024)} kB`;
}

function files(message) {
  return message.files.map((file) => {
    const url = `api/file?${new URLSearchParams({ id: file.id })}`;
    if (/^image\/(png|jpeg|gif|webp)$/.test(file.mimetype)) {
      return h("figure", { class: "image-block block", key: file.id },
        h("figcaption", {}, file.title || file.name),
        h("img", { class: "image", src: url, alt: file.alt_text || file.title || file.name }));
    }
    return h("a", { class: "file block", href: url, download: file.name, key: file.id }, icon("file"),
      h("span", {}, h("strong", {}, file.title || file.name), h("small", {}, size(file.size))));
  });
}

function replies(message) {
  const found = store.repliesOf(message.channel, message.ts);
  if (!found.length) return null;
  const people = [...new Set(found.map((reply) => reply.user))].slice(0, 4);
  return h("button", { type: "button", class: "replies", key: "replies",
    onclick: () => store.openThread(message.ts) },
    people.map((id) => avatar(id, "tiny")),
    h("strong", {}, found.length === 1 ? "1 reply" : `${found.length} replies`),
    h("span", { class: "muted" }, `last ${clock(found.at(-1).ts)}`));
}

function toolbar(message, inThread) {
  const pick = (event) => openMenu(event.currentTarget, REACTIONS.map((name) => ({
    label: [emoji(name), ` ${name.replaceAll("_", " ")}`],
    onpick: () => react(message, name, false),
  })), { label: "Add a reaction" });
  return h("div", { class: "toolbar", key: "toolbar" },
    h("button", { type: "button", class: "icon-button", "aria-label": "Add a reaction",
      "aria-haspopup": "menu", title: "Add a reaction", onclick: pick }, icon("smile")),
    !inThread && h("button", { type: "button", class: "icon-button", "aria-label": "Reply in thread",
      title: "Reply in thread", onclick: () => store.openThread(message.ts) }, icon("reply")));
}

const isCard = (message) =>
  message.ephemeral || message.blocks.some((block) => block.type !== "rich_text");

/** Whether this message goes under the one before without its own head. */
export function continues(message, before) {
  return Boolean(before) && before.user === message.user && !isCard(message) && !isCard(before) &&
    message.ts - before.ts < 300 && !store.repliesOf(before.channel, before.ts).length;
}

export function renderMessage(message, { inThread = false, compact = false } = {}) {
  const user = store.users.get(message.user);
  const keys = (event) => {
    if (event.target !== event.currentTarget) return;
    if (event.key === "Enter" && !inThread) store.openThread(message.ts);
  };
  const time = h("time", { class: "when", title: fullTime(message.ts) }, clock(message.ts));
  const head = h("div", { class: "message-head", key: "head" },
    h("strong", {}, nameOf(message.user)),
    user?.is_bot && h("span", { class: "badge" }, "Agent"), time);
  const place = { channel: message.channel, ts: message.ts };
  return h("article", {
    class: ["message", message.ephemeral && "ephemeral", compact && "compact"]
      .filter(Boolean).join(" "),
    tabindex: "-1", "aria-label": `${nameOf(message.user)}, ${clock(message.ts)}`,
    "data-ts": message.ts, onkeydown: keys,
  },
  h("div", { class: "gutter", key: "gutter" }, compact ? time : avatar(message.user)),
  h("div", { class: "message-main", key: "main" },
    message.ephemeral && h("div", { class: "only-you", key: "only" }, icon("eye"),
      "Only visible to you"),
    !compact && head,
    h("div", { class: "message-body", key: "body" }, content(message, place), files(message),
      message.edited && h("span", { class: "edited", key: "edited",
        title: `Edited ${fullTime(message.edited)}` }, "(edited)")),
    reactions(message),
    !inThread && replies(message)),
  !message.ephemeral && toolbar(message, inThread));
}

/** Everything that a drawn message depends on, beside the store's people. */
export function signature(message, options = {}) {
  const under = options.inThread ? 0 : store.repliesOf(message.channel, message.ts).at(-1)?.ts;
  return JSON.stringify([message, options, under, store.me,
    options.inThread ? 0 : store.repliesOf(message.channel, message.ts).length,
    store.mergeRequests.size]);
}

