// A merge request's changes: the list of files, then each file's hunks.

import { h } from "./dom.js";
import { icon } from "./icons.js";

const HUNK = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@ ?(.*)$/;
const KINDS = { "+": "added", "-": "removed", " ": "same" };

function rows(diff) {
  const out = [];
  let before = 0;
  let after = 0;
  for (const line of diff.replace(/\n$/, "").split("\n")) {
    const hunk = HUNK.exec(line);
    if (hunk) {
      [before, after] = [Number(hunk[1]), Number(hunk[2])];
      out.push(h("tr", { class: "hunk" }, h("td", { colspan: 2 }), h("td", {}, hunk[3] || "⋯")));
      continue;
    }
    const kind = KINDS[line[0]];
    if (!kind) continue;
    const left = kind === "added" ? "" : before++;
    const right = kind === "removed" ? "" : after++;
    out.push(h("tr", { class: kind }, h("td", { class: "line-number", "data-line": left }),
      h("td", { class: "line-number", "data-line": right }),
      h("td", { class: "code-line", "data-mark": kind === "same" ? " " : line[0] },
        h("code", {}, line.slice(1) || " "))));
  }
  return out;
}

const kindOf = (file) =>
  file.new_file ? "new" : file.deleted_file ? "deleted" : file.renamed_file ? "renamed" : "";

export const stat = (added, removed) => h("span", { class: "stat" },
  h("span", { class: "plus" }, `+${added}`), " ", h("span", { class: "minus" }, `−${removed}`));

function file(item, index) {
  const name = item.renamed_file ? `${item.old_path} → ${item.new_path}` : item.new_path;
  return h("details", { class: "file-diff", open: true, id: `file-${index}`, key: item.new_path },
    h("summary", {}, icon("chevron"), h("span", { class: "path" }, name),
      kindOf(item) && h("span", { class: "badge" }, kindOf(item)), stat(item.additions, item.deletions)),
    item.diff
      ? h("div", { class: "table-scroll", tabindex: "0", "aria-label": `Changes in ${name}` },
          h("table", { class: "diff" }, h("tbody", {}, rows(item.diff))))
      : h("p", { class: "muted pad" }, item.note || "No text to show."));
}

export function changes({ files }) {
  if (!files.length) return [h("p", { class: "muted pad" }, "No changes yet.")];
  const jump = (index) => () => {
    const target = document.getElementById(`file-${index}`);
    target.open = true;
    target.scrollIntoView({ block: "start", behavior: "smooth" });
  };
  const tree = h("ul", { class: "file-list", key: "files", "aria-label": "Changed files" },
    files.map((item, index) => h("li", { key: item.new_path },
      h("button", { type: "button", onclick: jump(index) }, icon("file"),
        h("span", { class: "path" }, item.new_path), stat(item.additions, item.deletions)))));
  return [tree, ...files.map(file)];
}
