// Where the user writes. Typing never waits for the server, and text that was not accepted comes back with the reason.

import { button, el, icon } from "../dom.js";
import { bytes } from "../words.js";

const LARGEST = 200e6; // bytes, as the server takes

export class Composer {
  /** acts: {send(text, files) -> promise that fails with a Problem, stop()}. keep: where a draft outlives a reload. */
  constructor(place, acts, keep) {
    this.acts = acts;
    this.keep = keep;
    this.files = [];
    this.running = false;
    this.text = el("textarea", { rows: "1", placeholder: "Describe an ML task, drop a PDF, or paste an arXiv id…", "aria-label": "Your message" });
    this.text.value = keep.get("draft") ?? "";
    this.picker = el("input", { type: "file", multiple: true, hidden: true, "aria-label": "Attach files" });
    this.chips = el("div", { class: "chips", hidden: true });
    this.trouble = el("p", { class: "error", role: "alert", hidden: true });
    this.attach = button(icon("clip"), () => this.picker.click(), { class: "icon-button", "aria-label": "Attach files", title: "Attach files" });
    this.go = button(icon("send"), () => this.#act(), { class: "go", "aria-label": "Send" });
    place.append(
      this.trouble,
      el("div", { class: "composer" }, this.chips, el("div", { class: "composer-row" }, this.attach, this.picker, this.text, this.go)),
    );
    this.#listen();
    this.#fit();
  }

  /** While a run goes on, the button stops it; what is typed meanwhile waits. */
  setRunning(running, stopping) {
    if (running !== this.running) {
      this.running = running;
      this.go.replaceChildren(icon(running ? "stop" : "send"));
      this.go.setAttribute("aria-label", running ? "Stop" : "Send");
      this.go.classList.toggle("stop", running);
    }
    this.go.disabled = stopping;
  }

  fill(text) {
    this.text.value = text;
    this.#fit();
    this.text.focus();
  }

  /** Words that were taken back, to be sent anew; what is being written wins. */
  refill(text) {
    if (!this.text.value.trim()) this.#set(text, this.files);
    this.text.focus();
  }

  say(words) {
    this.trouble.textContent = words;
    this.trouble.hidden = !words;
  }

  addFiles(files) {
    const large = [...files].find((file) => file.size > LARGEST);
    if (large) return this.say(`${large.name} has ${bytes(large.size)}; ${bytes(LARGEST)} is the most. Put it on the Hub.`);
    this.files.push(...files);
    this.#showFiles();
  }

  #listen() {
    this.text.addEventListener("input", () => {
      this.#fit();
      this.keep.set("draft", this.text.value);
    });
    this.text.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (this.running) this.say("A run is going on. Stop it, or wait for its end; your text stays here.");
      else this.#send();
    });
    this.text.addEventListener("paste", (event) => {
      if (event.clipboardData.files.length) this.addFiles(event.clipboardData.files);
    });
    this.picker.addEventListener("change", () => {
      this.addFiles(this.picker.files);
      this.picker.value = "";
    });
  }

  #act() {
    if (this.running) this.acts.stop();
    else this.#send();
  }

  async #send() {
    const text = this.text.value;
    const files = this.files;
    if ((!text.trim() && !files.length) || this.sending) return;
    this.sending = true;
    this.#set("", []);
    this.say("");
    try {
      await this.acts.send(text, files);
    } catch (problem) {
      const typed = this.text.value.trim();
      this.#set(typed ? `${text}\n${typed}` : text, [...files, ...this.files]);
      this.say(`Not sent. ${problem.words ?? problem}`);
    } finally {
      this.sending = false;
    }
  }

  #set(text, files) {
    this.text.value = text;
    this.keep.set("draft", text);
    this.files = files;
    this.#fit();
    this.#showFiles();
  }

  #fit() {
    this.text.style.height = "auto";
    this.text.style.height = `${Math.min(this.text.scrollHeight, 220)}px`;
  }

  #showFiles() {
    this.chips.hidden = !this.files.length;
    this.chips.replaceChildren(
      ...this.files.map((file) => {
        const drop = () => {
          this.files = this.files.filter((one) => one !== file);
          this.#showFiles();
        };
        const remove = button(icon("close"), drop, { class: "icon-button", "aria-label": `Remove ${file.name}` });
        return el("span", { class: "chip" }, icon("file"), file.name, el("span", { class: "faint" }, bytes(file.size)), remove);
      }),
    );
  }
}
