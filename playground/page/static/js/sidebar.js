// Workspace, channels, and whom one acts as.

import { h, morphChildren } from "./dom.js";
import { connect } from "./api.js";
import { icon } from "./icons.js";
import { avatar, nameOf } from "./people.js";
import { openMenu } from "./popup.js";
import { store } from "./store.js";

function row(channel) {
  const unread = channel.id === store.channel ? 0 : store.unread(channel.id).length;
  const title = channel.kind === "im" ? nameOf(store.bot) : channel.name;
  return h("li", { key: channel.id },
    h("button", {
      type: "button", class: unread ? "channel unread" : "channel",
      "aria-current": channel.id === store.channel ? "page" : null,
      onclick: () => store.openChannel(channel.id),
    },
    channel.kind === "im" ? avatar(store.bot, "tiny") : icon(channel.kind === "group" ? "lock" : "hash"),
    h("span", { class: "channel-name" }, title),
    unread > 0 && h("span", { class: "count", "aria-label": `${unread} unread` }, String(unread))));
}

function actAs(id) {
  store.actAs(id);
  connect();
}

function switcher(event) {
  const people = [...store.users.values()].filter((user) => !user.is_bot);
  openMenu(event.currentTarget, [
    { heading: "Act as" },
    ...people.map((user) => ({
      label: [avatar(user.id, "small"), ` ${user.real_name}`],
      description: user.title,
      selected: user.id === store.me,
      onpick: () => actAs(user.id),
    })),
  ], { label: "Act as" });
}

function arrows(event) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by) return;
  const items = [...event.currentTarget.querySelectorAll(".channel")];
  const next = items[items.indexOf(document.activeElement) + by];
  if (next) {
    event.preventDefault();
    next.focus();
  }
}

export function drawSidebar(root) {
  const channels = [...store.channels.values()];
  const named = channels.filter((channel) => channel.kind !== "im");
  const direct = channels.filter((channel) => channel.kind === "im");
  const me = store.users.get(store.me);
  morphChildren(root, h("div", {},
    h("div", { class: "workspace", key: "workspace" },
      h("div", { class: "workspace-mark" }, (store.team.name[0] ?? "").toUpperCase()),
      h("div", {}, h("strong", {}, store.team.name),
        h("small", {}, store.connected ? "Live" : "Reconnecting…"))),
    h("nav", { key: "nav", "aria-label": "Channels", onkeydown: arrows },
      h("h2", { id: "channels-title" }, "Channels"),
      h("ul", { "aria-labelledby": "channels-title" }, named.map(row)),
      h("h2", { id: "direct-title" }, "Direct messages"),
      h("ul", { "aria-labelledby": "direct-title" }, direct.map(row))),
    h("p", { class: "model-line", key: "model" }, store.model),
    h("button", {
      type: "button", class: "me", key: "me", "aria-haspopup": "menu", "aria-expanded": "false",
      "aria-label": `You act as ${me?.real_name ?? ""}. Change`, onclick: switcher,
    }, avatar(store.me, "small"),
    h("span", {}, h("strong", {}, me?.real_name ?? ""), h("small", {}, me?.title ?? "")),
    icon("chevron"))));
}
