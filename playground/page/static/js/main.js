// Puts the columns together and draws them whenever the store changed.

import { connect } from "./api.js";
import { ChannelView, ThreadView } from "./channel.js";
import { ForgeView } from "./forge.js";
import { drawModal } from "./modal.js";
import { drawSidebar } from "./sidebar.js";
import { h, morphChildren } from "./dom.js";
import { store } from "./store.js";
import { themeButton } from "./theme.js";

const part = (id) => document.getElementById(id);
const channel = new ChannelView(part("channel"));
const thread = new ThreadView(part("thread"));
const forge = new ForgeView(part("forge"));
const switcher = part("side-switch");
part("theme").append(themeButton());

function drawSwitch() {
  const show = (side) => () => ((store.side = side), store.changed());
  morphChildren(switcher, h("div", {}, [["thread", "Thread"], ["forge", "Merge request"]].map(
    ([name, title]) => h("button", { type: "button", key: name, "aria-pressed": null,
      class: store.side === name ? "chosen" : null, onclick: show(name) }, title))));
}

function draw() {
  document.body.dataset.side = store.side;
  document.body.dataset.thread = store.thread ? "open" : "closed";
  drawSidebar(part("sidebar-content"));
  channel.draw();
  thread.draw();
  forge.draw();
  drawSwitch();
  drawModal();
}

store.subscribe(draw);
document.addEventListener("visibilitychange", () => store.changed());
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open],.menu")) return;
  if (store.thread && part("thread").contains(document.activeElement)) {
    store.closeThread();
    channel.composer.field.focus();
  }
});
connect();
