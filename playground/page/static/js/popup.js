// Menus, selects and dialogs. One floating menu at a time; Esc and a click elsewhere close it.

import { h, uid } from "./dom.js";
import { textObject } from "./mrkdwn.js";

let current = null;

export function closeMenu({ focus = false } = {}) {
  if (!current) return;
  const { menu, anchor } = current;
  current = null;
  menu.remove();
  anchor.setAttribute("aria-expanded", "false");
  if (focus) anchor.focus();
}

document.addEventListener("pointerdown", (event) => {
  if (current && !current.menu.contains(event.target) && !current.anchor.contains(event.target)) {
    closeMenu();
  }
});
window.addEventListener("resize", () => closeMenu());

function place(menu, anchor) {
  const box = anchor.getBoundingClientRect();
  const { width, height } = menu.getBoundingClientRect();
  const below = box.bottom + 4 + height < innerHeight || box.top < height;
  const left = Math.max(8, Math.min(box.left, innerWidth - width - 8));
  menu.style.left = `${left}px`;
  menu.style.top = `${below ? box.bottom + 4 : box.top - height - 4}px`;
}

function step(menu, from, by) {
  const items = [...menu.querySelectorAll("[role=menuitem],[role=option]")];
  const at = items.indexOf(from);
  items[(at + by + items.length) % items.length]?.focus();
}

/** items: [{label: nodes, description, url, danger, onpick}] or {heading}; `search(text)` fills
 *  the list from outside. */
export function openMenu(anchor, items, { role = "menu", label, search = null } = {}) {
  if (current?.anchor === anchor) return closeMenu();
  label ??= "Options";
  closeMenu();
  const body = h("div", { role, "aria-label": label });
  const fill = (wanted) => {
    body.replaceChildren(...wanted.map((item) => {
      if (item.heading) return h("div", { class: "menu-heading" }, item.heading);
      const pick = () => {
        closeMenu({ focus: true });
        item.onpick?.();
      };
      const content = [h("span", {}, item.label),
        item.description && h("small", {}, item.description)];
      return h(item.url ? "a" : "button", {
        class: `menu-item${item.danger ? " danger" : ""}`, tabindex: "-1",
        role: role === "menu" ? "menuitem" : "option", "aria-selected": item.selected && "true",
        type: item.url ? null : "button", href: item.url,
        target: item.url && "_blank", rel: item.url && "noopener noreferrer", onclick: pick,
      }, content);
    }));
    if (!wanted.length) body.append(h("div", { class: "menu-heading" }, "Nothing found"));
  };
  let menu;
  const keys = (event) => {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by) {
      event.preventDefault();
      step(menu, document.activeElement, by);
    } else if (event.key === "Escape") {
      event.stopPropagation();
      closeMenu({ focus: true });
    } else if (event.key === "Tab") {
      closeMenu({ focus: true });
    }
  };
  const find = search && h("input", {
    class: "field", type: "search", placeholder: "Search…", "aria-label": `Search: ${label}`,
    oninput: async (event) => {
      const text = event.target.value;
      const found = await search(text);
      if (text === event.target.value) fill(found);
    },
  });
  menu = h("div", { class: "menu", onkeydown: keys }, find, body);
  (document.querySelector("dialog[open]:last-of-type") ?? document.body).append(menu);
  current = { menu, anchor };
  anchor.setAttribute("aria-expanded", "true");
  fill(items);
  place(menu, anchor);
  (find ?? menu.querySelector("[aria-selected=true],[role=menuitem],[role=option]"))?.focus();
  if (find) search("").then((found) => (fill(found), place(menu, anchor)));
}

/** Slack's confirmation dialog; answers true or false. */
export function confirm({ title, text, confirm: yes, deny: no, style }) {
  return new Promise((resolve) => {
    const answer = (value) => () => {
      dialog.close();
      dialog.remove();
      resolve(value);
    };
    const told = uid("told");
    const dialog = h("dialog", { class: "dialog dialog-small",
      "aria-label": title.text, "aria-describedby": told },
      h("h2", {}, textObject(title)),
      h("div", { class: "dialog-body", id: told }, textObject(text)),
      h("div", { class: "dialog-foot" },
        h("button", { type: "button", class: "button", onclick: answer(false) }, textObject(no)),
        h("button", {
          type: "button", class: `button ${style === "danger" ? "danger" : "primary"}`,
          onclick: answer(true),
        }, textObject(yes))));
    dialog.addEventListener("cancel", (event) => (event.preventDefault(), answer(false)()));
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector(".dialog-foot button:last-child").focus();
  });
}
