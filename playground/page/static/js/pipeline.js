// Pipelines: stages, jobs, and a job's log.

import { act, get } from "./api.js";
import { h } from "./dom.js";
import { icon } from "./icons.js";
import { store } from "./store.js";

const ICONS = { success: "check", failed: "cross", canceled: "dash", skipped: "dash", manual: "clock" };
const WORDS = {
  success: "passed", canceled: "cancelled", canceling: "cancelling", waiting_for_resource: "waiting",
};

export const word = (status) => WORDS[status] ?? status.replaceAll("_", " ");

export function mark(status) {
  return h("span", { class: `status-mark ${status}`, title: word(status) },
    ICONS[status] ? icon(ICONS[status]) : null);
}

export function pill(status) {
  return h("span", { class: `pill ${status}` }, mark(status), word(status));
}

function seconds(value) {
  if (value === null || value === undefined) return "";
  return value < 60 ? `${value < 10 ? value.toFixed(1) : Math.round(value)} s`
    : `${Math.floor(value / 60)} min ${Math.round(value % 60)} s`;
}

function jobRow(job) {
  const open = store.job === job.id;
  const toggle = () => {
    store.job = open ? null : job.id;
    store.changed();
  };
  return h("li", { key: `job-${job.id}` },
    h("button", { type: "button", class: "job", "aria-expanded": `${open}`, onclick: toggle },
      mark(job.status), h("span", { class: "job-name" }, job.name),
      h("span", { class: "muted" }, `${word(job.status)}${job.allow_failure && job.status === "failed" ? " (allowed)" : ""}`),
      h("span", { class: "muted duration" }, seconds(job.duration))));
}

function stages(pipeline) {
  return h("div", { class: "stages" }, pipeline.stages.map((name) =>
    h("section", { class: "stage", key: name },
      h("h4", {}, name),
      h("ul", {}, pipeline.jobs.filter((job) => job.stage === name).map(jobRow)))));
}

const log = h("pre", { class: "log", tabindex: "0" });
let logOf = null;

const ANSI = /\u001b\[[0-9;]*[A-Za-z]|section_(?:start|end):\d+:[^\r\n]*\r?/g;

async function load(project, job) {
  logOf = `${project}/${job.id}`;
  try {
    const { text } = await get("api/trace", { project, job: job.id });
    if (logOf !== `${project}/${job.id}`) return;
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.textContent = text.replace(ANSI, "") || "No output yet.";
    if (atEnd) log.scrollTop = log.scrollHeight;
  } catch (error) {
    log.textContent = error.message;
  }
}

document.addEventListener("job", ({ detail }) => {
  if (store.job === detail.id) load(detail.project, detail);
});

function opened(mergeRequest, job) {
  if (logOf !== `${mergeRequest.project}/${job.id}`) {
    log.textContent = "Loading…";
    load(mergeRequest.project, job);
  }
  const play = () => act("play_job", { project: mergeRequest.project, job: job.id });
  return h("section", { class: "log-box", "aria-label": `Log of ${job.name}`, key: `log-${job.id}` },
    h("div", { class: "log-head" }, mark(job.status), h("strong", {}, job.name),
      job.status === "manual" && h("button", { type: "button", class: "button", onclick: play }, "Run"),
      h("button", { type: "button", class: "icon-button", "aria-label": "Close log",
        onclick: () => ((store.job = null), store.changed()) }, icon("close"))),
    h("div", { class: "log-slot", "data-opaque": true, key: "slot" }));
}

/** Puts the one live log element into the place that was drawn for it. */
export function attachLog(root) {
  const slot = root.querySelector(".log-slot");
  if (slot && log.parentNode !== slot) slot.append(log);
  if (!slot) logOf = null;
}

export function pipelines(mergeRequest) {
  if (!mergeRequest.pipelines.length) return [h("p", { class: "muted pad" }, "No pipeline yet.")];
  return mergeRequest.pipelines.map((pipeline, index) => {
    const job = pipeline.jobs.find((each) => each.id === store.job);
    return h("details", { class: "pipeline", open: index === 0 || Boolean(job), key: `pipeline-${pipeline.id}` },
      h("summary", {}, icon("chevron"), h("strong", {}, `#${pipeline.id}`), pill(pipeline.status),
        h("code", {}, pipeline.sha.slice(0, 8)),
        pipeline.ref !== mergeRequest.source_branch && h("span", {}, "on ", h("code", {}, pipeline.ref)),
        h("span", { class: "muted" }, seconds(pipeline.duration))),
      pipeline.error && h("div", { class: "alert error" }, pipeline.error),
      stages(pipeline), job && opened(mergeRequest, job));
  });
}
