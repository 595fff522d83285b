// Names, links and dates: what every kind of text in a message is made of.

import { h } from "./dom.js";
import { emoji } from "./emoji.js";
import { store } from "./store.js";

const SAFE = /^(https?:|mailto:)/i;

/** A link, or plain text when the target is nothing a browser should follow. */
export function link(url, label) {
  if (!SAFE.test(url)) return h("span", {}, label ?? url);
  const target = store.locate(url);
  if (target) {
    return h(
      "a",
      { href: url, class: "link", onclick: (event) => (event.preventDefault(), store.open(target)) },
      label ?? url,
    );
  }
  return h(
    "a",
    { href: url, class: "link", target: "_blank", rel: "noopener noreferrer" },
    label ?? url,
  );
}

export function mention(id) {
  const user = store.users.get(id);
  return h("span", { class: id === store.me ? "mention mention-me" : "mention" },
    `@${user ? user.name : id}`);
}

export function groupMention(id, label) {
  return h("span", { class: "mention" }, label ?? `@${store.groups.get(id)?.handle ?? id}`);
}

export function channelMention(id, label) {
  const channel = store.channels.get(id);
  const name = `#${label || channel?.name || id}`;
  if (!channel) return h("span", { class: "mention" }, name);
  return h("button", { class: "mention", type: "button", onclick: () => store.openChannel(id) },
    name);
}

export function broadcast(range) {
  return h("span", { class: "mention mention-me" }, `@${range}`);
}

export { emoji };

const time = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const seconds = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });
const DATES = {
  date_num: { year: "numeric", month: "2-digit", day: "2-digit" },
  date: { dateStyle: "long" },
  date_short: { dateStyle: "medium" },
  date_long: { dateStyle: "full" },
};

const day = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();

function nearby(date) {
  const days = Math.round((day(date) - day(new Date())) / 86_400_000);
  return { 0: "today", 1: "tomorrow", "-1": "yesterday" }[days];
}

function capital(text, first) {
  return first ? text[0].toUpperCase() + text.slice(1) : text;
}

/** Slack's `<!date^…>` tokens in the reader's own time zone. */
export function formatDate(unix, pattern) {
  const date = new Date(unix * 1000);
  return pattern.replace(/\{(\w+)\}/g, (whole, token, at) => {
    if (token === "time") return time.format(date);
    if (token === "time_secs") return seconds.format(date);
    if (token === "ago") return ago(unix);
    const [, base, pretty] = /^(.*?)(_pretty)?$/.exec(token);
    if (!DATES[base]) return whole;
    const near = pretty && nearby(date);
    if (near) return capital(near, at === 0);
    return new Intl.DateTimeFormat(undefined, DATES[base]).format(date);
  });
}

export const clock = (ts) => time.format(new Date(Number(ts) * 1000));

export function fullTime(ts) {
  return new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "medium" })
    .format(new Date(Number(ts) * 1000));
}

export function dayLabel(ts) {
  const date = new Date(Number(ts) * 1000);
  return capital(
    nearby(date) ??
      new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" })
        .format(date),
    true,
  );
}

export const sameDay = (a, b) =>
  day(new Date(Number(a) * 1000)) === day(new Date(Number(b) * 1000));

export function ago(unix) {
  const past = Date.now() / 1000 - unix;
  const relative = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" });
  for (const [unit, size] of [["day", 86400], ["hour", 3600], ["minute", 60]]) {
    if (Math.abs(past) >= size) return relative.format(-Math.round(past / size), unit);
  }
  return relative.format(0, "minute");
}

export const plural = (count, word) => `${count} ${word}${count === 1 ? "" : "s"}`;
