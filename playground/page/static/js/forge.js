// The right column: a merge request with its description, changes, pipelines and notes.

import { get } from "./api.js";
import { changes, stat } from "./diff.js";
import { h, morph, morphChildren } from "./dom.js";
import { environments } from "./environments.js";
import { icon } from "./icons.js";
import { inline, markdown } from "./markdown.js";
import { attachLog, pill, pipelines } from "./pipeline.js";
import { openMenu } from "./popup.js";
import { store } from "./store.js";
import { ago } from "./text.js";

const TABS = [
  ["overview", "Overview"], ["changes", "Changes"], ["pipeline", "Pipeline"],
  ["environments", "Environments"],
];

function switcher(event) {
  openMenu(event.currentTarget, [...store.mergeRequests.values()].reverse().map((item) => ({
    label: [`!${item.iid} `, inline(item.title)], description: item.project,
    selected: item.key === store.mergeRequest,
    onpick: () => ((store.mergeRequest = item.key), store.changed()),
  })), { label: "Merge requests" });
}

function note(item) {
  return h("li", { class: item.system ? "note system" : "note", key: `note-${item.id}` },
    h("div", { class: "note-head" }, h("strong", {}, item.author),
      h("span", { class: "muted" }, ago(item.created_at))),
    item.system ? h("span", {}, item.body) : markdown(item.body));
}

function ending(item) {
  if (item.state === "merged") {
    return h("p", { class: "ending", key: "ending" }, icon("merge"), ` Merged by ${item.ended_by} into `,
      h("code", {}, item.target_branch), " as ", h("code", {}, item.merge_sha.slice(0, 8)),
      ` · ${ago(item.ended_at)}`);
  }
  return item.state === "closed" && h("p", { class: "ending closed", key: "ending" },
    icon("cross"), ` Closed by ${item.ended_by} without a merge · ${ago(item.ended_at)}`);
}

function overview(item) {
  return [
    ending(item),
    h("section", { class: "description", key: "description" },
      item.description ? markdown(item.description) : h("p", { class: "muted" }, "No description.")),
    item.notes.length > 0 && h("section", { key: "notes" }, h("h3", {}, "Activity"),
      h("ul", { class: "notes" }, item.notes.map(note))),
  ];
}

export class ForgeView {
  shownDiff = null; // {key, files}

  constructor(root) {
    this.head = h("header", { class: "pane-head forge-head" });
    this.body = h("div", { class: "forge-body", tabindex: "-1" });
    root.append(this.head, this.body);
  }

  async loadDiff(item) {
    const key = `${item.key}@${item.sha}`;
    if (this.wanted === key) return;
    this.wanted = key;
    try {
      const found = await get("api/diff", { project: item.project, iid: item.iid, sha: item.sha });
      if (this.wanted === key) this.shownDiff = { key: item.key, ...found };
    } catch (error) {
      if (this.wanted === key) this.shownDiff = { key: item.key, files: [], problem: error.message };
    }
    store.changed();
  }

  draw() {
    const item = store.mergeRequests.get(store.mergeRequest);
    if (!item) return this.drawNothing();
    this.loadDiff(item);
    this.drawHead(item);
    const body = h("div", {});
    if (store.tab === "overview") body.append(...overview(item).filter(Boolean));
    else if (store.tab === "pipeline") body.append(...pipelines(item));
    else if (store.tab === "environments") body.append(...environments(item));
    else body.append(...this.diff(item));
    if (this.body.dataset.shows !== `${item.key}/${store.tab}`) this.body.scrollTop = 0;
    this.body.dataset.shows = `${item.key}/${store.tab}`;
    morphChildren(this.body, body);
    attachLog(this.body);
  }

  diff(item) {
    if (this.shownDiff?.key !== item.key) return [h("p", { class: "muted pad" }, "Loading…")];
    if (this.shownDiff.problem) return [h("p", { class: "alert error" }, this.shownDiff.problem)];
    return changes(this.shownDiff);
  }

  drawHead(item) {
    const state = item.state === "opened" ? (item.draft ? "draft" : "open") : item.state;
    const pipeline = item.pipelines[0];
    const counts = { changes: item.stat?.files, pipeline: null, overview: null };
    const keys = (event) => {
      const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!by) return;
      const at = TABS.findIndex(([name]) => name === store.tab);
      this.show(TABS[(at + by + TABS.length) % TABS.length][0]);
      requestAnimationFrame(() => this.head.querySelector("[aria-selected=true]")?.focus());
    };
    morph(this.head, h("header", { class: "pane-head forge-head" },
      h("div", { class: "forge-line", key: "line" },
        h("span", { class: `pill mr-${state}` }, icon("merge"), state),
        h("button", { type: "button", class: "reference", "aria-haspopup": "menu",
          "aria-expanded": "false", title: "Other merge requests", onclick: switcher },
        `${item.project} !${item.iid}`, store.mergeRequests.size > 1 && icon("chevron")),
        h("span", { class: "spacer" }),
        item.stat && stat(item.stat.additions, item.stat.deletions)),
      h("h1", { key: "title" }, inline(item.title.replace(/^draft:\s*/i, ""))),
      h("p", { class: "branches", key: "branches" }, icon("branch"), h("code", {}, item.source_branch),
        " into ", h("code", {}, item.target_branch),
        h("span", { class: "muted" }, ` · ${item.author} · ${ago(item.created_at)}`)),
      h("div", { class: "tabs", role: "tablist", "aria-label": "Merge request", key: "tabs",
        onkeydown: keys }, TABS.map(([name, title]) => {
        const selected = store.tab === name;
        return h("button", { type: "button", role: "tab", class: "tab", key: name,
          id: `tab-${name}`, "aria-selected": `${selected}`, "aria-controls": "forge-panel",
          onclick: () => this.show(name) },
        title, counts[name] ? h("span", { class: "count" }, String(counts[name])) : null,
        name === "pipeline" && pipeline && pill(pipeline.status));
      }))));
    this.body.id = "forge-panel";
    this.body.setAttribute("role", "tabpanel");
    this.body.setAttribute("aria-labelledby", `tab-${store.tab}`);
  }

  show(tab) {
    store.tab = tab;
    store.changed();
  }

  drawNothing() {
    morph(this.head, h("header", { class: "pane-head forge-head" }, h("h1", {}, "Merge request")));
    morphChildren(this.body, h("div", {}, h("div", { class: "empty" }, h("div", { class: "empty-card" },
      icon("merge", "icon large"),
      h("h2", {}, "Nothing to review yet"),
      h("p", {}, "When a run opens a merge request, its changes and its pipeline show up here.")))));
  }
}

