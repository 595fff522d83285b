// Line icons, drawn for this page.

import { s } from "./dom.js";

const PATHS = {
  hash: "M6.5 3 5 17M14.5 3 13 17M3.5 7.5h14M2.5 12.5h14",
  lock: "M5 9h10v8H5zM7 9V6.5a3 3 0 0 1 6 0V9",
  reply: "M4 4h12a1 1 0 0 1 1 1v7a1 1 0 0 1-1 1H9l-4 3.5V13H4a1 1 0 0 1-1-1V5a1 1 0 0 1 1-1z",
  smile: "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15zM7 12c1.5 2 4.5 2 6 0M7.5 7.5v.6M12.5 7.5v.6",
  close: "M5 5l10 10M15 5 5 15",
  send: "M3 10 17 3.5 13 17l-3-5.5zM10 11.5 17 3.5",
  stop: "M5.5 5.5h9v9h-9z",
  more: "M4.5 10h.01M10 10h.01M15.5 10h.01",
  chevron: "M6 8l4 4 4-4",
  check: "M4.5 10.5 8.5 14.5 15.5 6",
  cross: "M6 6l8 8M14 6l-8 8",
  dash: "M6 10h8",
  clock: "M10 3a7 7 0 1 0 0 14 7 7 0 0 0 0-14zM10 6v4l2.5 2",
  branch: "M6 6.5v7M6 6.5a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6zM6 17.1a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6zM14 8.5a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6zM14 8.5c0 3-3 4-8 5",
  merge: "M6 6.5v7M6 6.5a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6zM6 17.1a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6zM14 12.5a1.8 1.8 0 1 0 0-3.6 1.8 1.8 0 0 0 0 3.6zM6 6.5c.5 3 3 4.3 6.2 4.3",
  file: "M5 2.5h6.5L15 6v11.5H5zM11.5 2.5V6H15",
  sun: "M10 6.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM10 1.5v2M10 16.5v2M1.5 10h2M16.5 10h2M4 4l1.4 1.4M14.6 14.6 16 16M4 16l1.4-1.4M14.6 5.4 16 4",
  moon: "M16.5 12A7 7 0 0 1 8 3.5a7 7 0 1 0 8.5 8.5z",
  external: "M8 5H4v11h11v-4M11 4h5v5M16 4l-7 7",
  eye: "M2.5 10s3-5 7.5-5 7.5 5 7.5 5-3 5-7.5 5-7.5-5-7.5-5zM10 8a2 2 0 1 0 0 4 2 2 0 0 0 0-4z",
  thumbUp: "M7 9l3-6c1.5 0 2 1 1.8 2.5L11.5 8H16c1 0 1.5 1 1.2 2l-1.5 5.5c-.2.8-.8 1.5-1.7 1.5H7zM7 9H3.5v8H7",
  thumbDown: "M7 11l3 6c1.5 0 2-1 1.8-2.5L11.5 12H16c1 0 1.5-1 1.2-2l-1.5-5.5C15.5 3.7 14.9 3 14 3H7zM7 11H3.5V3H7",
};

export function icon(name, className = "icon") {
  return s("svg", { viewBox: "0 0 20 20", class: className, "aria-hidden": "true" },
    s("path", { d: PATHS[name], fill: "none", stroke: "currentColor",
      "stroke-width": name === "more" ? 2.8 : 1.6,
      "stroke-linecap": "round", "stroke-linejoin": "round" }));
}

/** The agent's face: a compass needle. */
export function agentMark() {
  return s("svg", { viewBox: "0 0 36 36", "aria-hidden": "true" },
    s("circle", { cx: 18, cy: 18, r: 11, fill: "none", stroke: "currentColor", "stroke-width": 2.2 }),
    s("path", { d: "M23.5 12.5 20 20l-7.5 3.5L16 16z", fill: "currentColor" }));
}
