// What the page knows. The server sends whole things by key; who draws them subscribes.

const keyOf = (channel, ts) => `${channel}:${ts}`;
const remembered = (name, fallback) => localStorage.getItem(`journeyman.${name}`) ?? fallback;
const remember = (name, value) => localStorage.setItem(`journeyman.${name}`, value);

class Store {
  me = remembered("me", "");
  team = { name: "" };
  bot = "";
  model = "";
  users = new Map();
  groups = new Map();
  channels = new Map();
  messages = new Map();
  sessions = new Map();
  mergeRequests = new Map();
  modals = [];
  home = null;
  prompts = [];
  connected = false;
  channel = remembered("channel", "");
  thread = null; // root ts
  side = "thread"; // what the right column shows when there is room for one
  mergeRequest = null; // key
  tab = "overview";
  job = null;
  firstUnread = null; // where the channel was left off when it was opened
  read = JSON.parse(remembered("read", "{}"));
  #listeners = new Set();
  #pending = false;

  subscribe(listener) {
    this.#listeners.add(listener);
  }

  /** Draw once a frame, however much arrived. */
  changed() {
    if (this.#pending) return;
    this.#pending = true;
    const draw = () => {
      this.#pending = false;
      for (const listener of this.#listeners) listener(this);
    };
    if (document.hidden) setTimeout(draw, 50);
    else requestAnimationFrame(draw);
  }

  reset(snapshot) {
    this.me = snapshot.me;
    this.team = snapshot.team;
    this.bot = snapshot.bot;
    this.model = snapshot.model;
    const by = (items, key) => new Map(items.map((item) => [key(item), item]));
    this.users = by(snapshot.users, (user) => user.id);
    this.groups = by(snapshot.groups, (group) => group.id);
    this.channels = by(snapshot.channels, (channel) => channel.id);
    this.messages = by(snapshot.messages, (item) => keyOf(item.channel, item.ts));
    this.sessions = by(snapshot.sessions, (item) => keyOf(item.channel, item.thread_ts));
    this.mergeRequests = by(snapshot.merge_requests, (item) => item.key);
    this.modals = snapshot.modals;
    this.home = snapshot.home;
    this.prompts = snapshot.prompts;
    if (!this.channels.has(this.channel)) this.channel = snapshot.channels[0]?.id ?? "";
    if (this.thread && !this.messages.has(keyOf(this.channel, this.thread))) this.thread = null;
    if (!this.mergeRequests.has(this.mergeRequest)) {
      this.mergeRequest = snapshot.merge_requests.at(-1)?.key ?? null;
    }
    this.#seen();
    this.changed();
  }

  apply({ kind, ...change }) {
    switch (kind) {
      case "message": {
        const message = change.message;
        this.messages.set(keyOf(message.channel, message.ts), message);
        if (message.thread_ts && message.thread_ts === this.#awaited?.ts) this.#openAwaited();
        break;
      }
      case "message_deleted": this.messages.delete(keyOf(change.channel, change.ts)); break;
      case "session":
        this.sessions.set(keyOf(change.session.channel, change.session.thread_ts), change.session);
        break;
      case "channel": this.channels.set(change.channel.id, change.channel); break;
      case "users": this.users = new Map(change.users.map((user) => [user.id, user])); break;
      case "modals": this.modals = change.modals; break;
      case "home": this.home = change.home; break;
      case "prompts": this.prompts = change.prompts; break;
      case "merge_request": {
        const fresh = !this.mergeRequests.has(change.merge_request.key);
        this.mergeRequests.set(change.merge_request.key, change.merge_request);
        if (fresh) this.mergeRequest = change.merge_request.key;
        break;
      }
      default: return;
    }
    this.#seen();
    this.changed();
  }

  // A thread opens by itself once somebody answers what this person just wrote.
  #awaited = null;

  awaitAnswer(channel, ts) {
    this.#awaited = { channel, ts };
    if (this.repliesOf(channel, ts).length) this.#openAwaited();
  }

  #openAwaited() {
    const { channel, ts } = this.#awaited;
    this.#awaited = null;
    if (channel === this.channel && !this.thread) {
      this.thread = ts;
      if (this.side !== "thread") this.side = "thread";
    }
  }

  // What is shown

  visible(channel) {
    return [...this.messages.values()].filter((item) => item.channel === channel)
      .sort((a, b) => (a.ts < b.ts ? -1 : 1));
  }

  rootsOf(channel) {
    return this.visible(channel).filter((item) => !item.thread_ts || item.thread_ts === item.ts);
  }

  repliesOf(channel, ts) {
    return this.visible(channel).filter((item) => item.thread_ts === ts && item.ts !== ts);
  }

  message(channel, ts) {
    return this.messages.get(keyOf(channel, ts));
  }

  session(channel, ts) {
    return this.sessions.get(keyOf(channel, ts));
  }

  unread(channel) {
    const last = this.read[`${this.me}:${channel}`] ?? "";
    return this.visible(channel).filter((item) => item.ts > last && item.user !== this.me);
  }

  #seen() {
    const last = this.visible(this.channel).at(-1)?.ts;
    if (!last || document.hidden) return;
    this.read[`${this.me}:${this.channel}`] = last;
    remember("read", JSON.stringify(this.read));
  }

  openChannel(id) {
    if (id !== this.channel) this.thread = null;
    this.firstUnread = this.unread(id).find((item) => !item.thread_ts || item.thread_ts === item.ts)?.ts;
    this.channel = id;
    remember("channel", id);
    this.#seen();
    this.changed();
  }

  openThread(ts) {
    this.thread = ts;
    this.side = "thread";
    this.changed();
  }

  closeThread() {
    this.thread = null;
    this.changed();
  }

  actAs(user) {
    this.me = user;
    remember("me", user);
  }

  /** What a link points to, when this page can show it. */
  locate(url) {
    for (const item of this.mergeRequests.values()) {
      if (url === item.web_url) return { mergeRequest: item.key, tab: "overview" };
      if (url.startsWith(`${item.web_url}/diffs`)) return { mergeRequest: item.key, tab: "changes" };
      if (url.startsWith(`${item.web_url}/pipelines`)) {
        return { mergeRequest: item.key, tab: "pipeline" };
      }
      if (item.environments.some((each) => each.web_url === url)) {
        return { mergeRequest: item.key, tab: "environments" };
      }
      for (const pipeline of item.pipelines) {
        if (url === pipeline.web_url) return { mergeRequest: item.key, tab: "pipeline" };
        const job = pipeline.jobs.find((each) => each.web_url === url);
        if (job) return { mergeRequest: item.key, tab: "pipeline", job: job.id };
      }
    }
    const archive = /\/archives\/(\w+)\/p(\d{10})(\d{6})(?:\?thread_ts=([\d.]+))?/.exec(url);
    if (archive && this.channels.has(archive[1])) {
      return { channel: archive[1], ts: `${archive[2]}.${archive[3]}`, thread: archive[4] };
    }
    return null;
  }

  open(target) {
    if (target.mergeRequest) {
      Object.assign(this, { mergeRequest: target.mergeRequest, tab: target.tab, side: "forge" });
      this.job = target.job ?? null;
    } else {
      this.openChannel(target.channel);
      const message = this.message(target.channel, target.ts);
      this.thread = target.thread ?? message?.thread_ts ?? target.ts;
      this.side = "thread";
    }
    this.changed();
  }
}

export const store = new Store();
