// Building and patching DOM. Text always becomes text nodes; nothing here parses HTML.

const SVG = "http://www.w3.org/2000/svg";

function dispatch(event) {
  event.currentTarget.$on?.[event.type]?.(event);
}

function listen(node, type, handler) {
  node.$on ??= {};
  if (!(type in node.$on)) node.addEventListener(type, dispatch);
  node.$on[type] = handler;
}

function append(node, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child instanceof Node ? child : String(child));
  }
  return node;
}

/** h("button", {class: "x", onclick: fn, "aria-label": "…", key: "k"}, "text", node, …) */
export function h(tag, props, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "key") node.dataset.key = value;
    else if (name.startsWith("on")) listen(node, name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  return append(node, children);
}

/** The same for SVG. */
export function s(tag, props, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(props ?? {})) node.setAttribute(name, value);
  return append(node, children);
}

export const fragment = (...children) => append(document.createDocumentFragment(), children);

const same = (a, b) =>
  a.nodeType === b.nodeType && a.nodeName === b.nodeName && a.dataset?.key === b.dataset?.key;

// What a person changed by hand stays: folded or open, typed or chosen.
const KEPT = new Set(["open", "value", "checked", "tabindex", "aria-pressed", "data-chosen"]);

/** Makes `node` look like `next` and keeps every element that still belongs: focus, scroll and
 *  selection survive. */
export function morph(node, next) {
  if (node.nodeType === Node.TEXT_NODE) {
    if (node.data !== next.data) node.data = next.data;
    return;
  }
  for (const { name } of [...node.attributes]) {
    if (!next.hasAttribute(name) && !KEPT.has(name)) node.removeAttribute(name);
  }
  for (const { name, value } of next.attributes) {
    if (KEPT.has(name) && node.hasAttribute(name)) continue;
    if (name === "open") continue;
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  for (const [type, handler] of Object.entries(next.$on ?? {})) listen(node, type, handler);
  for (const type of Object.keys(node.$on ?? {})) if (!next.$on?.[type]) node.$on[type] = null;
  if (!node.hasAttribute("data-opaque")) morphChildren(node, next);
}

/** The same for the children only; keyed elements move instead of being rebuilt. */
export function morphChildren(node, next) {
  const keyed = new Map();
  for (const child of node.children) if (child.dataset?.key) keyed.set(child.dataset.key, child);
  let at = node.firstChild;
  for (const wanted of [...next.childNodes]) {
    const key = wanted.dataset?.key;
    let found = key ? keyed.get(key) : at;
    if (found && !same(found, wanted)) found = null;
    if (found) {
      if (key) keyed.delete(key);
      if (found === at) at = at.nextSibling;
      else node.insertBefore(found, at);
      morph(found, wanted);
    } else {
      node.insertBefore(wanted, at);
    }
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

/** Keeps `parent` in step with `items`; an item whose signature did not change is not rendered. */
export function list(parent, items, { key, signature, render }) {
  const old = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let at = parent.firstChild;
  for (const item of items) {
    const id = key(item);
    const sign = signature(item);
    let node = old.get(id);
    if (!node) {
      node = render(item);
      node.dataset.key = id;
      parent.insertBefore(node, at);
    } else {
      old.delete(id);
      if (node.$sign !== sign) {
        const next = render(item);
        next.dataset.key = id;
        morph(node, next);
      }
      if (node === at) at = at.nextSibling;
      else parent.insertBefore(node, at);
    }
    node.$sign = sign;
  }
  for (const node of old.values()) node.remove();
}

let serial = 0;
export const uid = (prefix) => `${prefix}-${++serial}`;
