// Block Kit's layout blocks.

import { element, picture } from "./elements.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { inputBlock } from "./inputs.js";
import { markdown } from "./markdown.js";
import { mrkdwn, textObject } from "./mrkdwn.js";
import { richText } from "./richtext.js";

const WORDS = {
  pending: "To do", in_progress: "In progress", complete: "Done", error: "Failed",
};

function section(block, place) {
  const accessory = block.accessory && element(block.accessory, block, place);
  return h("div", { class: accessory ? "section with-accessory" : "section" },
    h("div", { class: "section-main" },
      block.text && h("div", { class: "text" }, textObject(block.text)),
      block.fields && h("div", { class: "fields" },
        block.fields.map((field) => h("div", { class: "text" }, textObject(field))))),
    accessory && h("div", { class: "accessory" }, accessory));
}

function rich(value) {
  if (!value) return null;
  return value.type === "rich_text" ? richText(value) : h("div", {}, textObject(value));
}

export function taskCard(task) {
  const body = [task.details && h("div", { class: "task-details" }, rich(task.details)),
    task.output && h("div", { class: "task-output" }, rich(task.output)),
    task.sources?.length && h("div", { class: "task-sources" }, task.sources.map((source) =>
      h("a", { class: "link", href: source.url, target: "_blank", rel: "noopener noreferrer" },
        source.text)))].filter(Boolean);
  const mark = h("span", { class: `task-mark ${task.status}` },
    task.status === "complete" && icon("check"), task.status === "error" && icon("cross"));
  return h("li", { class: `task ${task.status}`, key: `task-${task.task_id}` }, mark,
    h("div", { class: "task-main" },
      h("div", { class: "task-title" }, task.title,
        h("span", { class: "visually-hidden" }, ` (${WORDS[task.status] ?? task.status})`)),
      body));
}

function plan(block) {
  const tasks = block.tasks ?? [];
  const done = tasks.filter((task) => task.status === "complete").length;
  const bar = h("div", { class: "bar", role: "progressbar", "aria-valuemin": 0,
    "aria-valuemax": tasks.length, "aria-valuenow": done, "aria-label": "Steps done" },
    tasks.map((task) => h("span", { class: task.status })));
  return h("details", { class: "plan", open: true },
    h("summary", {}, h("span", { class: "plan-title" },
      typeof block.title === "string" ? block.title : textObject(block.title)), bar,
      icon("chevron")),
    h("ol", { class: "tasks" }, tasks.map(taskCard)));
}

function context(block) {
  return h("div", { class: "context" }, (block.elements ?? []).map((item) =>
    item.type === "image" ? picture(item, "context-image")
      : h("span", { class: "text" }, textObject(item))));
}

function image(block) {
  return h("figure", { class: "image-block" },
    block.title && h("figcaption", {}, textObject(block.title)), picture(block, "image"));
}

function alertBlock(block) {
  return h("div", { class: `alert ${block.level ?? "info"}`, role: "alert" },
    textObject(block.text));
}

function draw(block, place) {
  switch (block.type) {
    case "section": return section(block, place);
    case "plan": return plan(block);
    case "task_card": return h("ol", { class: "tasks lone" }, taskCard(block));
    case "context": return context(block);
    case "actions": case "context_actions":
      return h("div", { class: block.type === "actions" ? "actions" : "context-actions" },
        block.elements.map((item) => element(item, block, place)));
    case "header": return h("h3", { class: "header" }, textObject(block.text));
    case "divider": return h("hr", { class: "divider" });
    case "markdown": return markdown(block.text);
    case "image": return image(block);
    case "rich_text": return richText(block);
    case "input": return inputBlock(block, place);
    case "alert": return alertBlock(block);
    default: return h("div", { class: "unknown" }, `[${block.type} block]`);
  }
}

// A block's id changes with every edit of its message; its part after the version does not.
const stable = (id) => (id ?? "").replace(/:v\d+(?=:|$)/, "");

/** All blocks of a message or view. */
export function blocks(list, place) {
  const seen = new Map();
  return list.map((block, index) => {
    const node = draw(block, place);
    const name = `${block.type}/${stable(block.block_id) || index}`;
    const count = seen.get(name) ?? 0;
    seen.set(name, count + 1);
    node.dataset.key = count ? `${name}/${count}` : name;
    node.classList.add("block");
    return node;
  });
}

/** What a message says: its blocks, else its text. */
export function content(message, place) {
  return message.blocks?.length ? blocks(message.blocks, place)
    : [h("div", { class: "text block", key: "text" }, mrkdwn(message.text))];
}
