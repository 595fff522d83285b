// Input blocks of modals. A view's values are read from the DOM when it is submitted.

import { act } from "./api.js";
import { choices, select } from "./elements.js";
import { h, uid } from "./dom.js";
import { textObject } from "./mrkdwn.js";

function textInput(element, id, changed) {
  const common = {
    id, class: "field", placeholder: element.placeholder?.text, minlength: element.min_length,
    maxlength: element.max_length, oninput: () => changed(node.value || null),
    autofocus: element.focus_on_load,
  };
  const node = element.multiline
    ? h("textarea", { ...common, rows: 5 })
    : h("input", { ...common, type: "text", autocomplete: "off" });
  if (element.initial_value) node.value = element.initial_value;
  return node;
}

/** The element, and its field with what is chosen so far: a text, an option's value, several
 *  values, or an option itself where the app suggested it. */
function draw(element, block, place, id) {
  const field = { choice: null };
  const set = (choice) => {
    field.choice = choice;
    if (block.dispatch_action) {
      act("block_action", { ...place, block_id: block.block_id, action_id: element.action_id,
        choice });
    }
  };
  switch (element.type) {
    case "plain_text_input": case "email_text_input": case "url_text_input":
    case "number_input":
      field.choice = element.initial_value ?? null;
      return [textInput(element, id, (value) => (field.choice = value)), field];
    case "static_select":
      field.choice = element.initial_option?.value ?? null;
      return [select(element, block, place, (option) => set(option.value)), field];
    case "external_select":
      field.choice = element.initial_option ?? null;
      return [select(element, block, place, set), field];
    case "radio_buttons":
      field.choice = element.initial_option?.value ?? null;
      return [choices(element, block, place, ([option]) => set(option?.value ?? null)), field];
    case "checkboxes":
      field.choice = (element.initial_options ?? []).map((option) => option.value);
      return [choices(element, block, place, (picked) => set(picked.map((each) => each.value))),
        field];
    default:
      return [h("div", { class: "unknown" }, `[${element.type}]`), field];
  }
}

export function inputBlock(block, place) {
  const id = uid("input");
  const [node, field] = draw(block.element, block, place, id);
  const box = h("div", { class: "input-block" },
    h("label", { for: id, class: "input-label" }, textObject(block.label),
      block.optional && h("span", { class: "optional" }, " (optional)")),
    node,
    block.hint && h("div", { class: "hint", id: `${id}-hint` }, textObject(block.hint)),
    h("div", { class: "input-error", id: `${id}-error`, role: "alert" }));
  node.setAttribute("aria-describedby", block.hint ? `${id}-hint ${id}-error` : `${id}-error`);
  if (!block.optional && !node.matches("button")) node.setAttribute("aria-required", "true");
  if (!node.matches("input,textarea")) node.setAttribute("aria-label", block.label.text);
  box.$input = { block, field };
  return box;
}

const empty = (choice) => choice === null || choice.length === 0;

const boxes = (root) => [...root.querySelectorAll(".input-block")];

/** `{block_id: {action_id: choice}}` of everything in this modal. */
export function values(root) {
  return Object.fromEntries(boxes(root).map(({ $input: { block, field } }) =>
    [block.block_id, { [block.element.action_id]: field.choice }]));
}

/** What Slack's own client would complain about, by block id. */
export function problems(root) {
  const found = {};
  for (const { $input: { block, field } } of boxes(root)) {
    const least = block.element.min_length;
    if (empty(field.choice) && !block.optional) {
      found[block.block_id] = "Please complete this field.";
    } else if (field.choice && least && field.choice.length < least) {
      found[block.block_id] = `Please enter at least ${least} characters.`;
    }
  }
  return found;
}

export function showErrors(root, errors) {
  let first = null;
  for (const box of boxes(root)) {
    const text = errors[box.$input.block.block_id] ?? "";
    box.classList.toggle("invalid", Boolean(text));
    box.querySelector("[aria-describedby]").setAttribute("aria-invalid", `${Boolean(text)}`);
    box.querySelector(".input-error").textContent = text;
    if (text) first ??= box.querySelector("input,textarea,button");
  }
  first?.focus();
}
