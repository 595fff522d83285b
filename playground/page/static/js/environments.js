// Where the project is deployed: what is there now, and what comes next or went wrong since.

import { h } from "./dom.js";
import { icon } from "./icons.js";
import { pill } from "./pipeline.js";
import { store } from "./store.js";
import { ago } from "./text.js";

const WORDS = { created: "waiting to be run", blocked: "waiting for approvals" };

function line(title, deployment) {
  const open = () => store.open({ mergeRequest: store.mergeRequest, tab: "pipeline", job: deployment.job });
  return h("div", { class: "deployment", key: title },
    h("dt", {}, title),
    h("dd", {}, h("code", {}, deployment.sha.slice(0, 8)), " ",
      deployment.status in WORDS ? h("span", { class: "pill manual" }, WORDS[deployment.status])
        : pill(deployment.status),
      h("span", { class: "muted" }, deployment.started
        ? `by ${deployment.by} · ${ago(deployment.at)}` : ago(deployment.at)),
      deployment.shown && h("button", { type: "button", class: "link", onclick: open },
        `Job ${deployment.job_name}`)));
}

function place(item) {
  const { live, latest } = item;
  const newer = latest && latest.id !== live?.id;
  return h("section", { class: "environment", key: `environment-${item.name}`,
    "aria-label": `Environment ${item.name}` },
  h("div", { class: "environment-head" }, h("h3", {}, item.name),
    item.url && h("span", { class: "muted" }, item.url),
    item.protected && h("span", { class: "pill", title: "Not everybody may deploy here" },
      icon("lock"), "protected")),
  !live && h("p", { class: "muted", key: "nothing" }, "Nothing has been deployed here yet."),
  latest && h("dl", {}, live && line("Deployed", live), newer && line("Newest", latest)));
}

export function environments(mergeRequest) {
  if (!mergeRequest.environments.length) return [h("p", { class: "muted pad" }, "No environments.")];
  return mergeRequest.environments.map(place);
}
