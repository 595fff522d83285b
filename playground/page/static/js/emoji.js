// Emoji by Slack's names. The ones that tell a run's state are drawn, so that they look the same
// on a machine without an emoji font.

import { h, s } from "./dom.js";

const UNICODE = {
  "+1": "👍", "-1": "👎", thumbsup: "👍", thumbsdown: "👎", tada: "🎉", rocket: "🚀", heart: "❤️",
  eyes: "👀", hand: "✋", raised_hand: "✋", white_check_mark: "✅", heavy_check_mark: "✔️",
  warning: "⚠️", octagonal_sign: "🛑", x: "❌", hourglass: "⌛", hourglass_flowing_sand: "⏳",
  bulb: "💡", bug: "🐛", lock: "🔒", mag: "🔍", memo: "📝", pencil2: "✏️", robot_face: "🤖",
  question: "❓", speech_balloon: "💬", wave: "👋", wrench: "🔧", hammer_and_wrench: "🛠️",
  package: "📦", link: "🔗", bell: "🔔", fire: "🔥", construction: "🚧", red_circle: "🔴",
  large_green_circle: "🟢", large_yellow_circle: "🟡", information_source: "ℹ️", joy: "😂",
  smile: "😄", thinking_face: "🤔", pray: "🙏", clap: "👏", raised_hands: "🙌",
};

const DRAWN = {
  eyes: () => [
    s("ellipse", { cx: 6.4, cy: 10, rx: 4.4, ry: 6, fill: "#fff", stroke: "#475569", "stroke-width": 1.2 }),
    s("ellipse", { cx: 14, cy: 10, rx: 4.4, ry: 6, fill: "#fff", stroke: "#475569", "stroke-width": 1.2 }),
    s("circle", { cx: 5.2, cy: 11, r: 2.2, fill: "#1e293b" }),
    s("circle", { cx: 12.8, cy: 11, r: 2.2, fill: "#1e293b" }),
  ],
  raised_hand: () => [
    s("path", {
      d: "M5 11V6.2a1.2 1.2 0 0 1 2.4 0V9 3.8a1.2 1.2 0 0 1 2.4 0V9 3.4a1.2 1.2 0 0 1 2.4 0V9.4 5a1.2 1.2 0 0 1 2.4 0v8c0 3.4-2 5.4-5 5.4-2.6 0-3.8-1.3-5.2-3.8L2.7 11.6c-.5-1 .9-2 1.7-1.1z",
      fill: "#fbbf24", stroke: "#92600a", "stroke-width": 0.9, "stroke-linejoin": "round",
    }),
  ],
  white_check_mark: () => [
    s("rect", { x: 2, y: 2, width: 16, height: 16, rx: 4, fill: "#16a34a" }),
    s("path", { d: "M5.8 10.4 8.8 13.3 14.4 7", fill: "none", stroke: "#fff", "stroke-width": 2.2, "stroke-linecap": "round", "stroke-linejoin": "round" }),
  ],
  warning: () => [
    s("path", { d: "M10 2.4 18.4 17H1.6z", fill: "#f59e0b", stroke: "#b45309", "stroke-width": 1, "stroke-linejoin": "round" }),
    s("path", { d: "M10 7.4v4.6", stroke: "#1f2937", "stroke-width": 1.8, "stroke-linecap": "round" }),
    s("circle", { cx: 10, cy: 14.5, r: 1.1, fill: "#1f2937" }),
  ],
  octagonal_sign: () => [
    s("path", { d: "M6.5 1.7h7l4.8 4.8v7l-4.8 4.8h-7L1.7 13.5v-7z", fill: "#dc2626" }),
    s("path", { d: "M6 10h8", stroke: "#fff", "stroke-width": 2.6, "stroke-linecap": "round" }),
  ],
};
DRAWN.hand = DRAWN.raised_hand;

export const REACTIONS = ["+1", "eyes", "white_check_mark", "tada", "heart", "thinking_face"];

/** The picture of `:name:`, or the name between colons when it is not known. */
export function emoji(name) {
  const base = name.split("::")[0];
  if (DRAWN[base]) {
    return h("span", { class: "emoji", role: "img", "aria-label": base.replaceAll("_", " ") },
      s("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, DRAWN[base]()));
  }
  if (!UNICODE[base]) return document.createTextNode(`:${name}:`);
  return h("span", { class: "emoji", role: "img", "aria-label": base.replaceAll("_", " ") },
    UNICODE[base]);
}

const BY_CHARACTER = new Map(
  Object.keys(DRAWN).map((name) => [UNICODE[name].replace("\uFE0F", ""), name]),
);
const CHARACTERS = new RegExp(`(${[...BY_CHARACTER.keys()].join("|")})\uFE0F?`, "u");

/** Text with the drawn emoji in place of their characters. */
export function withEmoji(text) {
  if (!CHARACTERS.test(text)) return [text];
  return text.replaceAll("\uFE0F", "").split(CHARACTERS).filter(Boolean).map((part) =>
    BY_CHARACTER.has(part) ? emoji(BY_CHARACTER.get(part)) : part);
}
