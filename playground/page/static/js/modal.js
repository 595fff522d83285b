// Modals: the top view of the stack, its values, its errors.

import { act } from "./api.js";
import { blocks } from "./blocks.js";
import { h } from "./dom.js";
import { problems, showErrors, values } from "./inputs.js";
import { textObject } from "./mrkdwn.js";
import { store } from "./store.js";

let dialog = null;
let shown = null; // {id, hash}

function close() {
  const id = shown?.id;
  dialog?.close();
  dialog?.remove();
  dialog = shown = null;
  return id;
}

function dismiss() {
  const view = close();
  if (view) act("close_view", { view });
}

async function submit(event) {
  event.preventDefault();
  const { id } = shown;
  const wrong = problems(dialog);
  if (Object.keys(wrong).length) return showErrors(dialog, wrong);
  const button = dialog.querySelector("[type=submit]");
  button.disabled = true;
  const answer = await act("submit_view", { view: id, values: values(dialog) });
  if (shown?.id !== id) return;
  button.disabled = false;
  showErrors(dialog, answer?.errors ?? {});
}

// What was typed before an update stays where the block is the same.
function carry(from, to) {
  const old = new Map([...from.querySelectorAll(".input-block")].map((box) =>
    [JSON.stringify(box.$input.block), box]));
  for (const box of to.querySelectorAll(".input-block")) {
    const before = old.get(JSON.stringify(box.$input.block));
    if (before) box.replaceWith(before);
  }
}

function draw(view) {
  const { body } = view;
  const content = h("div", { class: "dialog-body" }, blocks(body.blocks, { view: view.id }));
  const form = h("form", { onsubmit: submit, novalidate: true },
    h("div", { class: "dialog-head" }, h("h2", {}, textObject(body.title)),
      h("button", { type: "button", class: "icon-button", "aria-label": "Close", onclick: dismiss },
        "×")),
    content,
    h("div", { class: "dialog-foot" },
      h("button", { type: "button", class: "button", onclick: dismiss },
        textObject(body.close ?? { type: "plain_text", text: "Cancel" })),
      body.submit && h("button", { type: "submit", class: "button primary" },
        textObject(body.submit))));
  if (dialog && shown.id === view.id) {
    carry(dialog, form);
    dialog.replaceChildren(form);
  } else {
    close();
    dialog = h("dialog", { class: "dialog", "aria-label": body.title.text }, form);
    dialog.addEventListener("cancel", (event) => (event.preventDefault(), dismiss()));
    document.body.append(dialog);
    dialog.showModal();
    (dialog.querySelector("[autofocus]") ?? dialog.querySelector(".dialog-body input, .dialog-body textarea, .dialog-body button"))?.focus();
  }
  shown = { id: view.id, hash: view.hash };
}

export function drawModal() {
  const view = store.modals.at(-1);
  if (!view) close();
  else if (view.id !== shown?.id || view.hash !== shown?.hash) draw(view);
}
