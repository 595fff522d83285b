// Names and faces.

import { agentMark } from "./icons.js";
import { h } from "./dom.js";
import { store } from "./store.js";

const COLOURS = 6;

export function avatar(id, size = "") {
  const user = store.users.get(id);
  if (user?.is_bot) return h("span", { class: `avatar agent ${size}` }, agentMark());
  const name = user?.real_name || user?.name || "?";
  const initials = name.split(/\s+/).map((part) => part[0]).slice(0, 2).join("").toUpperCase();
  let sum = 0;
  for (const letter of id) sum = (sum * 31 + letter.charCodeAt(0)) % 9973;
  return h("span", { class: `avatar tint-${sum % COLOURS} ${size}`, "aria-hidden": "true" }, initials);
}

export const nameOf = (id) => store.users.get(id)?.real_name || store.users.get(id)?.name || id;
export const handleOf = (id) => store.users.get(id)?.name ?? id;
