// The box one writes in, with completion of @names.

import { act } from "./api.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { avatar } from "./people.js";
import { store } from "./store.js";

const WORD = /(^|\s)@([\w.-]*)$/;

export class Composer {
  constructor(label, send) {
    this.send = send;
    this.options = [];
    this.at = 0;
    this.list = h("ul", { class: "completion", role: "listbox", hidden: true,
      "aria-label": "People", id: `${label.replaceAll(" ", "-")}-people` });
    this.field = h("textarea", {
      class: "composer-field", rows: 1, "aria-label": label, spellcheck: "true",
      "aria-autocomplete": "list", "aria-controls": this.list.id,
      oninput: () => (this.grow(), this.complete()),
      onkeydown: (event) => this.key(event),
      onblur: () => this.hide(),
    });
    this.button = h("button", { type: "button", class: "button primary send", disabled: true,
      "aria-label": "Send", title: "Send (Enter)", onclick: () => this.submit() }, icon("send"));
    this.element = h("div", { class: "composer" }, this.list, this.field, this.button);
  }

  placeholder(text) {
    if (this.field.placeholder !== text) this.field.placeholder = text;
  }

  put(text) {
    this.field.value = text;
    this.grow();
    this.field.focus();
  }

  grow() {
    this.field.style.height = "auto";
    this.field.style.height = `${Math.min(this.field.scrollHeight, 220)}px`;
    this.button.disabled = !this.field.value.trim();
  }

  key(event) {
    if (!this.list.hidden && this.options.length) {
      const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (by) {
        event.preventDefault();
        this.at = (this.at + by + this.options.length) % this.options.length;
        return this.show();
      }
      if (event.key === "Enter" || event.key === "Tab") {
        event.preventDefault();
        return this.pick(this.options[this.at]);
      }
      if (event.key === "Escape") {
        event.stopPropagation();
        return this.hide();
      }
    }
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      this.submit();
    }
  }

  complete() {
    const before = this.field.value.slice(0, this.field.selectionStart);
    const match = WORD.exec(before);
    if (!match) return this.hide();
    const wanted = match[2].toLowerCase();
    this.options = [...store.users.values()]
      .filter((user) => user.id !== store.me)
      .filter((user) => [user.name, ...user.real_name.split(" ")]
        .some((name) => name.toLowerCase().startsWith(wanted)))
      .filter((user) => user.name.toLowerCase() !== wanted)
      .sort((a, b) => Number(b.is_bot) - Number(a.is_bot))
      .slice(0, 6);
    this.at = 0;
    return this.options.length ? this.show() : this.hide();
  }

  show() {
    this.list.hidden = false;
    this.list.replaceChildren(...this.options.map((user, index) => {
      const chosen = index === this.at;
      const id = `${this.list.id}-${user.id}`;
      if (chosen) this.field.setAttribute("aria-activedescendant", id);
      return h("li", {
        id, role: "option", "aria-selected": `${chosen}`, class: "completion-item",
        onpointerdown: (event) => (event.preventDefault(), this.pick(user)),
      }, avatar(user.id, "small"), h("strong", {}, user.name), h("span", {}, user.real_name));
    }));
  }

  hide() {
    this.list.hidden = true;
    this.field.removeAttribute("aria-activedescendant");
  }

  pick(user) {
    const caret = this.field.selectionStart;
    const before = this.field.value.slice(0, caret).replace(WORD, `$1@${user.name} `);
    this.field.value = before + this.field.value.slice(caret).replace(/^\s/, "");
    this.field.setSelectionRange(before.length, before.length);
    this.hide();
    this.grow();
  }

  async submit() {
    const text = this.field.value.trim();
    if (!text) return;
    this.field.value = "";
    this.grow();
    this.hide();
    if (!(await this.send(text)) && !this.field.value) this.put(text);
  }
}

/** Posts and lets the thread open by itself when somebody answers. */
export async function post(text, thread_ts = null) {
  const channel = store.channel;
  const sent = await act("post", { channel, text, thread_ts });
  if (sent && !thread_ts) store.awaitAnswer(channel, sent.ts);
  return sent;
}
