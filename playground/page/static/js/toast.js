// Short notices that go away by themselves.

import { h } from "./dom.js";

export function toast(text) {
  const area = document.getElementById("toasts");
  const close = () => note.remove();
  const note = h("div", { class: "toast" }, h("span", {}, text),
    h("button", { type: "button", class: "icon-button", "aria-label": "Dismiss", onclick: close },
      "×"));
  area.append(note);
  setTimeout(close, 8000);
}
