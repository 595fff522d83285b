// Dark or light: the system's wish, until somebody chooses.

import { h, morph } from "./dom.js";
import { icon } from "./icons.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const chosen = () => localStorage.getItem("journeyman.theme");
const now = () => chosen() ?? (dark.matches ? "dark" : "light");

export function themeButton() {
  const draw = () => {
    document.documentElement.dataset.theme = now();
    const other = now() === "dark" ? "light" : "dark";
    morph(button, h("button", { type: "button", class: "icon-button", title: `Use the ${other} theme`,
      "aria-label": `Use the ${other} theme`, onclick: toggle }, icon(other === "dark" ? "moon" : "sun")));
  };
  const toggle = () => {
    localStorage.setItem("journeyman.theme", now() === "dark" ? "light" : "dark");
    draw();
  };
  const button = h("button", {});
  dark.addEventListener("change", draw);
  draw();
  return button;
}
