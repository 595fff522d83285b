// The page's own small API: one snapshot, one stream of changes, one way to act.

import { store } from "./store.js";
import { toast } from "./toast.js";

async function json(response) {
  const body = await response.json();
  if (!response.ok) throw new Error(body.error ?? `The playground answered ${response.status}.`);
  return body;
}

/** Do something as the person one acts as; problems are told and answered with null. */
export async function act(what, details = {}) {
  try {
    return await json(await fetch("api/act", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ do: what, user: store.me, ...details }),
    }));
  } catch (error) {
    toast(error.message);
    return null;
  }
}

const cache = new Map();

export async function get(path, params, { keep = false } = {}) {
  const url = `${path}?${new URLSearchParams(params)}`;
  if (keep && cache.has(url)) return cache.get(url);
  const pending = fetch(url).then(json);
  if (keep) {
    cache.set(url, pending);
    pending.catch(() => cache.delete(url));
  }
  return pending;
}

let source = null;

/** Follow everything that this person may see. The first thing that arrives is the snapshot. */
export function connect() {
  source?.close();
  source = new EventSource(`api/events?${new URLSearchParams({ user: store.me })}`);
  source.addEventListener("snapshot", (event) => {
    store.connected = true;
    store.reset(JSON.parse(event.data));
  });
  source.addEventListener("change", (event) => store.apply(JSON.parse(event.data)));
  source.addEventListener("job", (event) => {
    document.dispatchEvent(new CustomEvent("job", { detail: JSON.parse(event.data) }));
  });
  source.onerror = () => {
    store.connected = false;
    store.changed();
  };
}
