// Following one session's events over SSE: each entry once, in order, through cuts, reloads of the server and naps.

import { address, get } from "../api.js";

const WAITS = [0.5, 1, 2, 4, 8, 15]; // seconds before each further try
const NAP = 60_000; // ms a hidden tab keeps its connection; a browser has six per server for all tabs together

export class Feed {
  /**
   * onEntry(entry) for each new one. onState(state, seconds): "open", "lost" with the wait until the next try,
   * "unknown" when the session is not ours or no more.
   */
  constructor(onEntry, onState) {
    this.onEntry = onEntry;
    this.onState = onState;
    this.session = null;
    document.addEventListener("visibilitychange", () => this.#visibility());
    window.addEventListener("online", () => this.#retryNow());
    window.addEventListener("pagehide", () => this.#hangUp());
    window.addEventListener("pageshow", (event) => event.persisted && this.#connect());
  }

  follow(session) {
    this.close();
    this.session = session;
    this.last = 0;
    this.failures = 0;
    this.#connect();
  }

  close() {
    this.#hangUp();
    this.session = null;
  }

  #connect() {
    this.#hangUp();
    if (!this.session) return;
    const source = new EventSource(address("events", { session: this.session, after: this.last }));
    this.source = source;
    source.onopen = () => {
      this.failures = 0;
      this.onState("open");
    };
    source.onmessage = (message) => {
      const entry = JSON.parse(message.data);
      if (entry.seq <= this.last) return;
      this.last = entry.seq;
      this.onEntry(entry);
    };
    // The browser would try again by itself, at a fixed pace and for ever; we say when, and tell the reader.
    source.onerror = () => this.#failed(source.readyState === EventSource.CLOSED);
  }

  async #failed(refused) {
    const session = this.session;
    this.#hangUp();
    if (refused && (await this.#isUnknown(session))) return this.onState("unknown");
    if (this.session !== session || this.source || document.hidden) return;
    const wait = WAITS[Math.min(this.failures++, WAITS.length - 1)] * (0.8 + 0.4 * Math.random());
    this.onState("lost", wait);
    this.timer = setTimeout(() => this.#connect(), wait * 1000);
  }

  async #isUnknown(session) {
    try {
      const { sessions } = await get("sessions");
      return !sessions.some((one) => one.id === session);
    } catch {
      return false; // the server is away, not the session
    }
  }

  #visibility() {
    clearTimeout(this.nap);
    if (document.hidden) this.nap = setTimeout(() => this.#hangUp(), NAP);
    else this.#retryNow();
  }

  #retryNow() {
    if (this.session && !this.source) {
      this.failures = 0;
      this.#connect();
    }
  }

  #hangUp() {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
  }
}
