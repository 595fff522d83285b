// Interactive Block Kit elements. `place` says where an element stands: {channel, ts} of a message
// or {view} of a modal or home.

import { act } from "./api.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { textObject } from "./mrkdwn.js";
import { confirm, openMenu } from "./popup.js";
import { store } from "./store.js";

/** Asks first if the element says so, then sends its action. */
async function fire(place, block, element, payload) {
  if (element.confirm && !(await confirm(element.confirm))) return;
  await act("block_action", {
    ...place,
    block_id: block.block_id,
    action_id: element.action_id,
    ...payload,
  });
}

function button(element, block, place) {
  const classes = ["button", element.style].filter(Boolean).join(" ");
  const label = element.accessibility_label;
  const press = async (event) => {
    const pressed = event.currentTarget;
    if (element.url) {
      const target = store.locate(element.url);
      if (target) store.open(target);
      else window.open(element.url, "_blank", "noopener");
    }
    pressed.classList.add("busy");
    await fire(place, block, element, {});
    pressed.classList.remove("busy");
  };
  return h("button", { type: "button", class: classes, "aria-label": label, onclick: press,
    key: element.action_id && `${element.action_id}/${element.value ?? ""}` },
    textObject(element.text));
}

function optionItems(options, pick, chosen) {
  return options.map((option) => ({
    label: textObject(option.text),
    description: option.description && textObject(option.description),
    selected: chosen === option.value,
    url: option.url && !store.locate(option.url) ? option.url : null,
    danger: /^(stop|cancel|delete)\b/i.test(option.text.text),
    onpick: () => {
      const target = option.url && store.locate(option.url);
      if (target) store.open(target);
      pick(option);
    },
  }));
}

function overflow(element, block, place) {
  const pick = (option) => fire(place, block, element, { choice: option.value });
  return h("button", {
    type: "button", class: "icon-button", "aria-label": "More actions", "aria-haspopup": "menu",
    "aria-expanded": "false", key: element.action_id,
    onclick: (event) =>
      openMenu(event.currentTarget, optionItems(element.options, pick), { label: "More actions" }),
  }, icon("more"));
}

function grouped(element, pick, chosen) {
  if (!element.option_groups) return optionItems(element.options ?? [], pick, chosen);
  return element.option_groups.flatMap((group) => [
    { heading: textObject(group.label) },
    ...optionItems(group.options, pick, chosen),
  ]);
}

/** A single select; `onpick(option)` is told instead of sending an action when it is given. */
export function select(element, block, place, onpick = null) {
  const outside = element.type === "external_select";
  const pick = (anchor) => (option) => {
    anchor.dataset.chosen = option.value;
    anchor.querySelector("span").replaceChildren(...textObject(option.text));
    if (onpick) onpick(option);
    else fire(place, block, element, { choice: outside ? option : option.value });
  };
  const open = (event) => {
    const anchor = event.currentTarget;
    const items = (from) => grouped(from, pick(anchor), anchor.dataset.chosen);
    const search = async (value) => items(await act("suggest", {
      ...place, block_id: block.block_id, action_id: element.action_id, value }) ?? {});
    openMenu(anchor, outside ? [] : items(element),
      { role: "listbox", label: element.placeholder?.text, search: outside ? search : null });
  };
  return h("button", {
    type: "button", class: "select", "aria-haspopup": "listbox", "aria-expanded": "false",
    "data-chosen": element.initial_option?.value, key: element.action_id, onclick: open,
  }, h("span", {}, textObject(
    element.initial_option?.text ?? element.placeholder ?? { type: "plain_text", text: "Choose…" })),
  icon("chevron"));
}

/** Radio buttons and checkboxes; `onpick(options)` as above. */
export function choices(element, block, place, onpick = null) {
  const many = element.type === "checkboxes";
  const before = many ? element.initial_options ?? [] : [element.initial_option].filter(Boolean);
  const name = `${block.block_id}-${element.action_id}-${Math.random()}`;
  const box = h("div", { class: "choices", role: many ? "group" : "radiogroup" });
  const tell = () => {
    const on = [...box.querySelectorAll("input")].map((input) => input.checked);
    const picked = element.options.filter((_, index) => on[index]);
    if (onpick) onpick(picked);
    else fire(place, block, element,
      { choice: many ? picked.map((each) => each.value) : picked[0].value });
  };
  for (const option of element.options) {
    box.append(h("label", { class: "choice" },
      h("input", { type: many ? "checkbox" : "radio", name, onchange: tell,
        checked: before.some((each) => each.value === option.value) }),
      h("span", {}, textObject(option.text),
        option.description && h("small", {}, textObject(option.description)))));
  }
  return box;
}

function feedback(element, block, place) {
  const one = (choice, picture) => h("button", {
    type: "button", class: "icon-button", title: choice.text.text,
    "aria-label": choice.accessibility_label ?? choice.text.text,
    onclick: async (event) => {
      const pressed = event.currentTarget;
      await fire(place, block, element, { choice: choice.value });
      for (const other of pressed.parentNode.children) other.removeAttribute("aria-pressed");
      pressed.setAttribute("aria-pressed", "true");
    },
  }, icon(picture));
  return h("span", { class: "feedback" }, one(element.positive_button, "thumbUp"),
    one(element.negative_button, "thumbDown"));
}

function iconButton(element, block, place) {
  return h("button", { type: "button", class: "icon-button", title: element.text?.text,
    "aria-label": element.accessibility_label ?? element.text?.text,
    onclick: () => fire(place, block, element, {}) }, icon("cross"));
}

export function picture(element, className) {
  const source = element.image_url ??
    (element.slack_file && `api/file?${new URLSearchParams({ id: element.slack_file.id ?? "" })}`);
  return h("img", { class: className, src: source, alt: element.alt_text, loading: "lazy" });
}

/** Any element of an actions block or an accessory. */
export function element(item, block, place) {
  switch (item.type) {
    case "button": case "workflow_button": return button(item, block, place);
    case "overflow": return overflow(item, block, place);
    case "static_select": case "external_select": return select(item, block, place);
    case "radio_buttons": case "checkboxes": return choices(item, block, place);
    case "feedback_buttons": return feedback(item, block, place);
    case "icon_button": return iconButton(item, block, place);
    case "image": return picture(item, "accessory-image");
    default: return h("span", { class: "unknown" }, `[${item.type}]`);
  }
}
