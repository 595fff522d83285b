// The middle column: a channel and the thread beside it.

import { act } from "./api.js";
import { blocks } from "./blocks.js";
import { Composer, post } from "./composer.js";
import { feed, walk } from "./feed.js";
import { h, morph, morphChildren } from "./dom.js";
import { icon } from "./icons.js";
import { avatar, nameOf } from "./people.js";
import { store } from "./store.js";

const STATES = {
  processing: "Working", active: "Ready", suspended: "Waiting for someone", closed: "Closed",
};

export class ChannelView {
  shown = null;

  constructor(root) {
    this.head = h("header", { class: "pane-head" });
    this.body = h("div", { class: "feed", role: "log", "aria-label": "Messages", tabindex: "-1" });
    this.empty = h("div", { class: "empty" });
    this.home = h("div", { class: "home", hidden: true });
    this.tab = "messages"; // of the direct messages with the app
    this.composer = new Composer("Message", (text) => post(text));
    root.append(this.head, this.empty, this.home, this.body, this.composer.element);
    walk(this.body);
  }

  draw() {
    const channel = store.channels.get(store.channel);
    if (!channel) return;
    const direct = channel.kind === "im";
    const title = direct ? nameOf(store.bot) : channel.name;
    if (this.shown !== `${store.me}/${channel.id}`) {
      this.shown = `${store.me}/${channel.id}`;
      this.tab = "messages";
      if (direct) act("open_home", { tab: "messages" });
    }
    morphChildren(this.head, h("div", {},
      h("h1", {}, direct ? avatar(store.bot, "tiny") : icon("hash"), h("span", {}, title)),
      h("p", { class: "topic" }, channel.topic || (direct ? "Direct messages with the agent" : "")),
      direct && this.tabs(),
      !direct && h("div", { class: "members", title: channel.members.map(nameOf).join(", ") },
        channel.members.slice(0, 3).map((id) => avatar(id, "tiny")),
        h("span", { class: "muted" }, String(channel.members.length)))));
    const messages = store.rootsOf(channel.id);
    feed(this.body, messages, { name: this.shown, firstUnread: store.firstUnread });
    this.drawEmpty(messages.length === 0, channel);
    this.drawHome(direct && this.tab === "home");
    this.composer.placeholder(direct ? `Message ${title}` : `Message #${title}`);
  }

  tabs() {
    const show = (tab) => () => {
      this.tab = tab;
      act("open_home", { tab });
      store.changed();
    };
    return h("div", { class: "switch", role: "group", "aria-label": "Show", key: "tabs" },
      ["messages", "home"].map((tab) => h("button", { type: "button", key: tab,
        "aria-current": `${this.tab === tab}`, onclick: show(tab) },
      tab === "home" ? "Home" : "Messages")));
  }

  drawHome(shown) {
    this.home.hidden = !shown;
    this.composer.element.hidden = shown;
    if (!shown) return;
    this.empty.hidden = this.body.hidden = true;
    const published = store.home && blocks(store.home.body.blocks, { view: store.home.id });
    morphChildren(this.home, h("div", {},
      published ?? h("p", { class: "muted" }, "The agent has not published a Home tab.")));
  }

  drawEmpty(empty, channel) {
    const agent = store.users.get(store.bot)?.name ?? "agent";
    this.empty.hidden = !empty;
    this.body.hidden = empty;
    const ideas = store.prompts.length && channel.kind === "im" ? store.prompts
      : channel.suggestions.map((text) => ({ title: text, message: `@${agent} ${text}` }));
    morph(this.empty, h("div", { class: "empty", hidden: !empty },
      h("div", { class: "empty-card" },
        avatar(store.bot, "large"),
        h("h2", {}, channel.kind === "im" ? `Talk to ${nameOf(store.bot)}` : `Welcome to #${channel.name}`),
        h("p", {}, channel.purpose),
        ideas.length > 0 && h("div", { class: "ideas" }, ideas.map((idea) =>
          h("button", { type: "button", class: "idea",
            onclick: () => this.composer.put(idea.message) }, idea.title))))));
  }
}

export class ThreadView {
  constructor(root) {
    this.head = h("header", { class: "pane-head" });
    this.body = h("div", { class: "feed", role: "log", "aria-label": "Thread", tabindex: "-1" });
    this.live = h("div", { class: "visually-hidden", role: "status", "aria-live": "polite" });
    this.composer = new Composer("Reply", (text) => post(text, store.thread));
    this.composer.placeholder("Reply…");
    root.append(this.head, this.body, this.live, this.composer.element);
    walk(this.body);
  }

  draw() {
    if (!store.thread) return;
    const session = store.session(store.channel, store.thread);
    const channel = store.channels.get(store.channel);
    const root = store.message(store.channel, store.thread);
    const stop = () => act("stop", { channel: store.channel, thread_ts: store.thread });
    morphChildren(this.head, h("div", {},
      h("h1", {}, "Thread"),
      h("p", { class: "topic" }, channel?.kind === "im" ? "" : `#${channel?.name}`),
      session && h("span", { class: `session ${session.status}`, key: "session",
        title: session.title }, STATES[session.status]),
      session?.status === "processing" && h("button", { type: "button", class: "button stop",
        key: "stop", onclick: stop }, icon("stop"), "Stop"),
      h("button", { type: "button", class: "icon-button close", "aria-label": "Close thread",
        key: "close", onclick: () => store.closeThread() }, icon("close"))));
    const replies = store.repliesOf(store.channel, store.thread);
    feed(this.body, root ? [root, ...replies] : replies,
      { name: `${store.channel}/${store.thread}`, options: { inThread: true } });
    const last = replies.at(-1);
    if (last && last.user !== store.me) {
      const said = `${nameOf(last.user)}: ${last.text}`;
      if (this.live.textContent !== said) this.live.textContent = said;
    }
  }
}
