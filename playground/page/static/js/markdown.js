// The Markdown that agents and merge requests use: no HTML, except folded sections.

import { h } from "./dom.js";
import { emoji, link, mention } from "./text.js";
import { withEmoji } from "./emoji.js";

const TOKEN = new RegExp(
  [
    /(`+)(.+?)\1(?!`)/,
    /!?\[([^\]]*)\]\(\s*<?([^\s)>]+)>?(?:\s+"[^"]*")?\s*\)/,
    /<(https?:[^>\s]+)>/,
    /<@([A-Z0-9_]+)>/,
    /\*\*(?=\S)(.+?)\*\*(?!\*)|__(?=\S)(.+?)__(?!_)/,
    /~~(?=\S)(.+?)~~/,
    /(?<![\p{L}\p{N}*])\*(?=[^\s*])([^*]*[^\s*])\*(?!\*)|(?<![\p{L}\p{N}_])_(?=[^\s_])([^_]*[^\s_])_(?![\p{L}\p{N}_])/,
    /(https?:\/\/[^\s<>|)]+[^\s<>|).,;:!?])/,
    /:([a-z0-9_+-]+):/,
    /\\([\\`*_{}[\]()#+.!|<>~-])/,
  ].map((part) => part.source).join("|"),
  "gu",
);

export function inline(text) {
  const out = [];
  let last = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [whole, , code, label, url, angle, user, b1, b2, strike, i1, i2, bare, name, escaped] =
      match;
    if (match.index > last) out.push(...withEmoji(text.slice(last, match.index)));
    last = match.index + whole.length;
    if (code !== undefined) out.push(h("code", {}, code.trim() || code));
    else if (url !== undefined) out.push(link(url, label || url));
    else if (angle ?? bare) out.push(link(angle ?? bare));
    else if (user !== undefined) out.push(mention(user));
    else if (b1 ?? b2) out.push(h("strong", {}, inline(b1 ?? b2)));
    else if (strike !== undefined) out.push(h("s", {}, inline(strike)));
    else if (i1 ?? i2) out.push(h("em", {}, inline(i1 ?? i2)));
    else if (name !== undefined) out.push(emoji(name));
    else out.push(escaped);
  }
  if (last < text.length) out.push(...withEmoji(text.slice(last)));
  return out;
}

const cells = (row) =>
  row.trim().replace(/^\||(?<!\\)\|$/g, "").split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll("\\|", "|"));

function table(rows) {
  const align = cells(rows[1]).map((rule) =>
    /^:-+:$/.test(rule) ? "center" : /-:$/.test(rule) ? "right" : null);
  const row = (line, tag) =>
    h("tr", {}, cells(line).map((cell, at) =>
      h(tag, { class: align[at] && `align-${align[at]}` }, inline(cell))));
  return h("div", { class: "table-scroll", tabindex: "0" },
    h("table", {}, h("thead", {}, row(rows[0], "th")),
      h("tbody", {}, rows.slice(2).map((line) => row(line, "td")))));
}

const ITEM = /^(\s*)([-*+]|\d+[.)])\s+(.*)$/;

function listBlock(lines) {
  const root = { indent: -1, node: h("div", {}) };
  const stack = [root];
  for (const line of lines) {
    const match = ITEM.exec(line);
    if (!match) {
      const item = stack.at(-1).item;
      item.append(" ", ...inline(line.trim()));
      continue;
    }
    const indent = match[1].length;
    while (indent < stack.at(-1).indent) stack.pop();
    if (indent > stack.at(-1).indent) {
      const ordered = /\d/.test(match[2]);
      const node = h(ordered ? "ol" : "ul",
        { start: ordered && match[2] !== "1." ? parseInt(match[2], 10) : null });
      (stack.at(-1).item ?? stack.at(-1).node).append(node);
      stack.push({ indent, node });
    }
    const task = /^\[([ xX])\]\s+(.*)$/.exec(match[3]);
    const item = h("li", { class: task && "task-item" });
    if (task) {
      item.append(h("input", { type: "checkbox", disabled: true, checked: task[1] !== " ",
        "aria-label": task[1] === " " ? "open" : "done" }));
    }
    item.append(...inline(task ? task[2] : match[3]));
    stack.at(-1).node.append(item);
    stack.at(-1).item = item;
  }
  return [...root.node.childNodes];
}

const STARTS = [
  /^\s*(`{3,}|~{3,})/, /^#{1,6}\s/, /^\s*([-*_])(\s*\1){2,}\s*$/, /^>/, ITEM, /^<\/?details/,
  /^<summary>/,
];

function take(lines, from, keep) {
  let end = from;
  while (end < lines.length && keep(lines[end], end)) end += 1;
  return [lines.slice(from, end), end];
}

function blocks(lines, out) {
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    let body;
    const fence = /^(\s*)(`{3,}|~{3,})/.exec(line);
    const heading = /^(#{1,6})\s+(.*?)\s*#*$/.exec(line);
    if (!line.trim()) {
      at += 1;
    } else if (fence) {
      [body, at] = take(lines, at + 1, (text) => !text.trim().startsWith(fence[2]));
      at += 1;
      out.append(h("pre", { tabindex: "0" }, body.join("\n")));
    } else if (heading) {
      out.append(h(`h${Math.min(heading[1].length + 2, 6)}`, {}, inline(heading[2])));
      at += 1;
    } else if (/^<details/.test(line)) {
      let depth = 0;
      [body, at] = take(lines, at + 1, (text) => {
        if (/^<details/.test(text)) depth += 1;
        return !(/^<\/details>/.test(text) && depth-- === 0);
      });
      at += 1;
      const summary = /<summary>(.*?)<\/summary>/.exec([line, ...body].join("\n"));
      const fold = h("details", {}, h("summary", {}, inline(summary?.[1] ?? "Details")));
      blocks(body.filter((text) => !text.includes("<summary>")), fold);
      out.append(fold);
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      out.append(h("hr"));
      at += 1;
    } else if (line.startsWith(">")) {
      [body, at] = take(lines, at, (text) => text.startsWith(">"));
      const quote = h("blockquote", {});
      blocks(body.map((text) => text.replace(/^> ?/, "")), quote);
      out.append(quote);
    } else if (ITEM.test(line)) {
      [body, at] = take(lines, at, (text) => ITEM.test(text) || /^\s+\S/.test(text));
      out.append(...listBlock(body));
    } else if (line.includes("|") && /^[\s|:-]*-[\s|:-]*$/.test(lines[at + 1] ?? "")) {
      [body, at] = take(lines, at, (text) => text.includes("|"));
      out.append(table(body));
    } else {
      [body, at] = take(lines, at, (text, index) =>
        text.trim() && (index === at || !STARTS.some((start) => start.test(text))));
      out.append(h("p", {}, body.flatMap((text, index) =>
        index ? [h("br"), ...inline(text)] : inline(text))));
    }
  }
}

/** Markdown as one element. */
export function markdown(text) {
  const out = h("div", { class: "markdown" });
  blocks(text.replace(/<!--[\s\S]*?-->/g, "").split("\n"), out);
  return out;
}
