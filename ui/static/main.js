// The page: finds the places that Gradio made, follows one session, and tells each part what changed.

import { get, post, storage, upload } from "./api.js";
import { Composer } from "./conversation/composer.js";
import { button, el, icon, setText } from "./dom.js";
import { Feed } from "./story/feed.js";
import { notice, wish } from "./sides/notices.js";
import { Models } from "./sides/models.js";
import { Panel } from "./sides/panel.js";
import { Side } from "./sides/side.js";
import { status, Story } from "./story/story.js";
import { Timeline } from "./conversation/timeline.js";
import { welcome } from "./conversation/welcome.js";
import { seconds } from "./words.js";
import { quotaHeaders } from "./zerogpu.js";

const TITLE = "ML Intern";
const REFRESH = 30_000; // ms between looks at the list of sessions

class App {
  constructor(places) {
    this.page = { session: null, story: new Story(), acts: { refill: (text) => this.composer.refill(text) } };
    this.facts = null;
    this.lost = "";
    this.frame = 0;
    this.#build(places);
    this.feed = new Feed((entry) => this.#take(entry), (state, wait) => this.#connection(state, wait));
    setInterval(() => this.refresh(), REFRESH);
    setInterval(() => !document.hidden && this.panel.tick(), 1000);
  }

  #build({ side, timeline, composer, panel }) {
    const list = el("div", { class: "timeline", role: "log", "aria-label": "Conversation", "aria-live": "off" });
    this.hello = el("div", {});
    const scroller = el("div", { class: "scroller", tabindex: "-1" }, this.hello, list);
    timeline.append(this.#topBar(), scroller);
    this.line = el("div", { class: "status", role: "status", "aria-live": "polite" });
    composer.append(this.line);
    this.timeline = new Timeline(this.page, scroller, list);
    this.composer = new Composer(composer, { send: (text, files) => this.#send(text, files), stop: () => this.#stop() }, storage);
    this.models = new Models(composer);
    this.side = new Side(this.page, side, {
      open: (id) => this.open(id),
      fresh: () => this.fresh(),
      close: () => this.#drawer(""),
      refresh: () => this.refresh(),
      theme: () => this.#theme(),
    });
    this.panel = new Panel(this.page, panel, () => this.#drawer(""));
    this.#dropping(timeline);
    document.addEventListener("keydown", (event) => event.key === "Escape" && this.#drawer(""));
    document.addEventListener("visibilitychange", () => document.hidden || this.#draw());
  }

  /** On narrow screens the sides are drawers, opened from here; on wide ones they can be folded away. */
  #topBar() {
    return el(
      "div",
      { class: "top-bar" },
      button(icon("menu"), () => this.#drawer("side"), { class: "icon-button", "aria-label": "Sessions", title: "Sessions" }),
      button(icon("panel"), () => this.#drawer("panel"), { class: "icon-button", "aria-label": "Details", title: "Details" }),
    );
  }

  async start() {
    await this.refresh();
    const asked = new URLSearchParams(location.search).get("session");
    const newest = this.facts?.sessions[0]?.id;
    if (asked || newest) this.open(asked || newest);
    else this.fresh();
  }

  async refresh() {
    try {
      this.facts = await get("sessions");
    } catch {
      return; // the feed tells when the server is away
    }
    this.side.show(this.facts);
    this.#greet();
    this.#title();
  }

  open(id) {
    this.#drawer("");
    this.#begin(id);
    this.feed.follow(id);
  }

  /** An empty page; its session is made with the first message. */
  fresh() {
    this.#drawer("");
    this.feed.close();
    this.#begin(null);
    if (matchMedia("(hover: hover)").matches) this.composer.text.focus(); // else a keyboard would cover the page
  }

  #begin(id) {
    this.page.session = id;
    this.page.story = new Story();
    this.lost = "";
    this.timeline.clear();
    this.panel.show("Plan");
    this.page.story.facets.add("money");
    this.#remember(id);
    this.composer.say("");
    if (this.facts) this.side.show(this.facts);
    this.models.begin(id);
    this.#draw();
  }

  #remember(id) {
    const url = new URL(location.href);
    if (id) url.searchParams.set("session", id);
    else url.searchParams.delete("session");
    history.replaceState(history.state, "", url);
  }

  #take(entry) {
    this.page.story.take(entry);
    notice(entry, this.page, (id) => id === this.page.session || this.open(id));
    const { kind } = entry.event;
    if (["user_said", "run_ended", "rewound", "approval_asked", "approval_answered"].includes(kind)) this.#soonRefresh();
    if (!document.hidden) this.frame ||= requestAnimationFrame(() => this.#draw());
    else this.#title();
  }

  #soonRefresh() {
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.refresh(), 300);
  }

  #draw() {
    this.frame = 0;
    const { story } = this.page;
    this.#greet();
    this.panel.draw(story.facets);
    this.side.draw(story.facets);
    this.timeline.draw();
    story.facets.clear();
    this.#status();
  }

  #greet() {
    const empty = !this.page.story.items.length && !this.timeline.list.childElementCount;
    const mark = empty ? `${this.page.session}${this.facts?.model.ready}${this.facts?.model.missing}` : "";
    if (mark === this.greeted) return;
    this.greeted = mark;
    this.hello.replaceChildren(...(empty ? [welcome(this.facts, (text) => this.composer.fill(text))] : []));
  }

  #status() {
    const now = status(this.page.story);
    const text = this.lost || now?.text || "";
    setText(this.line, text);
    this.line.className = `status ${this.lost ? "lost" : (now?.kind ?? "")}`;
    this.line.setAttribute("aria-live", now?.kind === "work" ? "off" : "polite"); // work changes too often to be read out
    this.composer.setRunning(Boolean(now), now?.kind === "stop");
    this.#title();
  }

  /** Another session of mine may need me too. */
  #title() {
    const needed = this.page.story.waiting.length || this.facts?.sessions.some((one) => one.state === "waiting" && one.id !== this.page.session);
    const working = this.page.story.run ? "… " : "";
    const title = needed ? `● Needs you – ${TITLE}` : `${working}${TITLE}`;
    if (document.title !== title) document.title = title;
  }

  #connection(state, wait) {
    if (state === "unknown") {
      this.fresh();
      this.composer.say("That session does not exist, or it is not yours.");
      return;
    }
    this.lost = state === "lost" ? `Connection lost. Trying again in ${seconds(wait)}…` : "";
    this.#status();
    if (state === "open") this.refresh();
  }

  async #send(text, files) {
    wish();
    const takeBack = this.timeline.pending(text);
    this.#greet();
    try {
      const session = this.page.session ?? (await post("new", {})).session;
      await this.models.settle(session);
      const stored = [];
      for (const file of files) stored.push((await upload(session, file)).name);
      await post("send", { session, text, files: stored }, await quotaHeaders());
      if (this.page.session !== session) this.open(session);
    } finally {
      takeBack();
      this.#greet();
    }
  }

  async #stop() {
    const { story } = this.page;
    story.stopping = true;
    this.#status();
    try {
      await post("stop", { session: this.page.session });
    } catch (problem) {
      story.stopping = false;
      this.composer.say(problem.words);
      this.#status();
    }
  }

  #drawer(name) {
    const shell = document.getElementById("ml-intern");
    const open = shell.dataset.drawer === name ? "" : name;
    shell.dataset.drawer = open;
  }

  #theme() {
    const dark = document.body.classList.toggle("dark");
    storage.set("theme", dark ? "dark" : "light");
  }

  #dropping(place) {
    place.addEventListener("dragover", (event) => event.preventDefault());
    place.addEventListener("drop", (event) => {
      event.preventDefault();
      this.composer.addFiles(event.dataTransfer.files);
    });
  }
}

/** Gradio mounts its parts when it is ready; until then the places do not exist. */
function whenMounted(found) {
  const places = () => {
    const all = ["side", "timeline", "composer", "panel"].map((name) => [name, document.getElementById(`ml-${name}-place`)]);
    return all.every(([, node]) => node) ? Object.fromEntries(all) : null;
  };
  const now = places();
  if (now) return found(now);
  const observer = new MutationObserver(() => {
    const mounted = places();
    if (!mounted) return;
    observer.disconnect();
    found(mounted);
  });
  observer.observe(document.documentElement, { childList: true, subtree: true });
}

whenMounted((places) => {
  const wanted = storage.get("theme");
  if (wanted && !new URLSearchParams(location.search).has("__theme")) document.body.classList.toggle("dark", wanted === "dark");
  new App(places).start();
});
