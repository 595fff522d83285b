// Slack's mrkdwn as DOM nodes.

import { h } from "./dom.js";
import { withEmoji } from "./emoji.js";
import { broadcast, channelMention, emoji, formatDate, groupMention, link, mention } from "./text.js";

const unescape = (text) =>
  text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");

const TOKEN = new RegExp(
  [
    /`([^`\n]+)`/,
    /<([^<>\n]+)>/,
    /:([a-z0-9_+'-]+(?:::skin-tone-\d)?):/,
    /(?<![\p{L}\p{N}*])\*(?=\S)([^*\n]*[^*\s])\*(?![\p{L}\p{N}*])/,
    /(?<![\p{L}\p{N}_])_(?=\S)([^_\n]*[^_\s])_(?![\p{L}\p{N}_])/,
    /(?<![\p{L}\p{N}~])~(?=\S)([^~\n]*[^~\s])~(?![\p{L}\p{N}~])/,
  ].map((part) => part.source).join("|"),
  "gu",
);

function special(body) {
  if (body.startsWith("@")) return mention(body.slice(1).split("|")[0]);
  if (body.startsWith("#")) {
    const [id, label] = body.slice(1).split("|");
    return channelMention(id, label);
  }
  if (body.startsWith("!date^")) {
    const [form, fallback] = body.split("|");
    const [, unix, pattern, url] = form.split("^");
    if (!Number.isFinite(Number(unix))) return document.createTextNode(fallback ?? "");
    const shown = formatDate(Number(unix), pattern);
    return url ? link(url, shown) : h("time", { title: fallback }, shown);
  }
  if (body.startsWith("!subteam^")) {
    const [id, label] = body.slice(9).split("|");
    return groupMention(id, label);
  }
  if (body.startsWith("!")) return broadcast(body.slice(1).split("|")[0]);
  const [url, label] = body.split("|");
  return link(unescape(url), label === undefined ? unescape(url) : unescape(label));
}

function inline(text) {
  const out = [];
  let last = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [whole, code, angle, name, bold, italic, strike] = match;
    if (match.index > last) out.push(withEmoji(unescape(text.slice(last, match.index))));
    last = match.index + whole.length;
    if (code !== undefined) out.push(h("code", {}, unescape(code)));
    else if (angle !== undefined) out.push(special(angle));
    else if (name !== undefined) out.push(emoji(name));
    else if (bold !== undefined) out.push(h("strong", {}, inline(bold)));
    else if (italic !== undefined) out.push(h("em", {}, inline(italic)));
    else out.push(h("s", {}, inline(strike)));
  }
  if (last < text.length) out.push(withEmoji(unescape(text.slice(last))));
  return out.flat();
}

function lines(text) {
  const out = [];
  let quote = null;
  text.split("\n").forEach((line, index) => {
    const quoted = /^(?:&gt;|>) ?(.*)$/.exec(line);
    if (quoted) {
      if (!quote) out.push((quote = h("blockquote", {})));
      else quote.append(h("br"));
      quote.append(...inline(quoted[1]));
      return;
    }
    if (index > 0 && !quote) out.push(h("br"));
    quote = null;
    out.push(...inline(line));
  });
  return out;
}

/** Nodes of a mrkdwn text. */
export function mrkdwn(text) {
  return text.split("```").flatMap((part, index, all) => {
    if (index % 2 === 1 && index < all.length - 1) {
      return [h("pre", { tabindex: "0" }, unescape(part.replace(/^\n|\n$/g, "")))];
    }
    if (index % 2 === 1) return lines(`\`\`\`${part}`);
    const trimmed = part.replace(index > 0 ? /^\n/ : /^$/, "")
      .replace(index < all.length - 1 ? /\n$/ : /$^/, "");
    return trimmed ? lines(trimmed) : [];
  });
}

/** Nodes of a Block Kit text object. */
export function textObject(object) {
  if (!object) return [];
  if (typeof object === "string") return [object];
  if (object.type === "mrkdwn" && !object.verbatim) return mrkdwn(object.text);
  if (object.type === "mrkdwn") return mrkdwn(object.text);
  return object.emoji === false
    ? [object.text]
    : object.text.split(/:([a-z0-9_+-]+):/).flatMap((part, index) =>
        index % 2 ? [emoji(part)] : withEmoji(part));
}
