// Block Kit's rich_text as DOM nodes.

import { h } from "./dom.js";
import { broadcast, channelMention, emoji, formatDate, groupMention, link, mention } from "./text.js";

const STYLES = { code: "code", bold: "strong", italic: "em", strike: "s", underline: "u" };

function styled(node, style = {}) {
  return Object.entries(STYLES).reduce(
    (inner, [name, tag]) => (style[name] ? h(tag, {}, inner) : inner), node);
}

function broken(text) {
  return text.split("\n").flatMap((line, index) => (index ? [h("br"), line] : [line]));
}

function leaf(element) {
  switch (element.type) {
    case "text": return styled(h("span", {}, broken(element.text)), element.style);
    case "link": return styled(link(element.url, element.text || element.url), element.style);
    case "user": return mention(element.user_id);
    case "usergroup": return groupMention(element.usergroup_id);
    case "channel": return channelMention(element.channel_id);
    case "broadcast": return broadcast(element.range);
    case "emoji": return emoji(element.name);
    case "date": return h("time", {}, formatDate(element.timestamp, element.format));
    case "color": return h("code", {}, element.value);
    default: return h("span", { class: "unknown" }, `[${element.type}]`);
  }
}

const plain = (element) => element.text ?? element.url ?? "";

function part(element) {
  switch (element.type) {
    case "rich_text_section":
      return h("div", { class: "rt-section" }, element.elements.map(leaf));
    case "rich_text_list": {
      const items = element.elements.map((item) => h("li", {}, item.elements.map(leaf)));
      return h(element.style === "ordered" ? "ol" : "ul",
        { class: `rt-indent-${Math.min(element.indent ?? 0, 4)}`,
          start: element.offset ? element.offset + 1 : null }, items);
    }
    case "rich_text_preformatted":
      return h("pre", { tabindex: "0" }, element.elements.map(plain).join(""));
    case "rich_text_quote":
      return h("blockquote", {}, element.elements.map(leaf));
    default:
      return h("div", { class: "unknown" }, `[${element.type}]`);
  }
}

export function richText(block) {
  return h("div", { class: "rich-text" }, (block.elements ?? []).map(part));
}
