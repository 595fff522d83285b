// Appends new events as they happen, and fetches folded bodies when they are opened.

const parse = (html) => document.createRange().createContextualFragment(html);

async function open(details) {
  if (!details.open || details.dataset.loaded) return;
  details.dataset.loaded = "yes";
  const answer = await fetch(details.dataset.src);
  const text = answer.ok ? await answer.text() : `It could not be loaded (${answer.status}).`;
  const block = document.createElement("pre");
  block.className = "output";
  block.tabIndex = 0;
  if ("diff" in details.dataset) paint(block, text);
  else block.textContent = pretty(text);
  details.querySelector("a").replaceWith(block);
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2).replaceAll("\\n", "\n");
  } catch {
    return text;
  }
}

function paint(block, text) {
  for (const line of text.split("\n")) {
    const span = document.createElement("span");
    span.textContent = `${line}\n`;
    if (line.startsWith("diff ")) span.className = "file";
    else if (line.startsWith("@@")) span.className = "hunk";
    else if (line.startsWith("+") && !line.startsWith("+++")) span.className = "added";
    else if (line.startsWith("-") && !line.startsWith("---")) span.className = "removed";
    block.append(span);
  }
}

document.addEventListener("toggle", (event) => {
  if (event.target.matches?.("details.body")) open(event.target);
}, true);

const timeline = document.getElementById("timeline");
const stream = new EventSource(`${timeline.dataset.live}?after=${timeline.dataset.after}`);
stream.addEventListener("row", (event) => timeline.append(parse(event.data)));
stream.addEventListener("head", (event) => document.getElementById("head").replaceChildren(parse(event.data)));
