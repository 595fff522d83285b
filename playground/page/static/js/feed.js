// A scrolling list of messages: day lines, the unread line, arrow keys, staying at the end.

import { h, list } from "./dom.js";
import { continues, renderMessage, signature } from "./message.js";
import { dayLabel, sameDay } from "./text.js";

const NEAR = 80;

/** Lets the arrow keys walk through the messages of `root`. */
export function walk(root) {
  root.addEventListener("keydown", (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!by || event.target.matches("input,textarea,[role=menuitem],[role=option]")) return;
    const items = [...root.querySelectorAll(".message")];
    const at = items.indexOf(event.target.closest(".message"));
    const next = items[Math.max(0, Math.min(items.length - 1, at + by))];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}

function rows(messages, options, firstUnread) {
  const out = [];
  messages.forEach((message, index) => {
    const before = messages[index - 1];
    if (!before || !sameDay(before.ts, message.ts)) out.push({ day: message.ts });
    if (message.ts === firstUnread) out.push({ unread: message.ts });
    const compact = continues(message, out.at(-1).message);
    out.push({ message, options: { ...options, compact } });
  });
  return out;
}

function line(row) {
  return row.day
    ? h("div", { class: "day" }, h("span", {}, dayLabel(row.day)))
    : h("div", { class: "unread-line", role: "separator" }, h("span", {}, "New"));
}

/** Draws `messages` into `root` and keeps a reader who is at the end at the end. */
export function feed(root, messages, { options = {}, firstUnread = null, name }) {
  const other = root.dataset.shows !== name;
  const atEnd = other || root.scrollHeight - root.scrollTop - root.clientHeight < NEAR;
  list(root, rows(messages, options, firstUnread), {
    key: (row) => row.message ? row.message.ts : row.day ? `day-${row.day}` : "unread",
    signature: (row) => row.message ? signature(row.message, row.options)
      : row.day ? dayLabel(row.day) : row.unread,
    render: (row) => (row.message ? renderMessage(row.message, row.options) : line(row)),
  });
  const articles = root.querySelectorAll(".message");
  for (const article of articles) if (article !== document.activeElement) article.tabIndex = -1;
  const last = articles[articles.length - 1];
  if (last) last.tabIndex = 0;
  if (atEnd && (other || messages.length)) root.scrollTop = root.scrollHeight;
  root.dataset.shows = name;
}

