// The right side: the plan, what was made, the jobs, the code. Only the tab that is seen is drawn.

import { fileRow, planView } from "../cards.js";
import { codeBlock } from "../code.js";
import { button, el, fold, icon, link } from "../dom.js";
import { jobView } from "../jobs/job.js";
import { title } from "../story/story.js";

const TABS = ["Plan", "Artifacts", "Jobs", "Code"];
const PAGES = 12; // pieces of code that are listed, the newest

export class Panel {
  constructor(page, place, close) {
    this.page = page;
    this.jobs = new Map();
    this.content = el("div", { class: "panel-content", role: "tabpanel", id: "ml-tab", tabindex: "0" });
    this.tabs = TABS.map((name) =>
      button(name, () => this.show(name), { role: "tab", "aria-controls": "ml-tab", class: "tab", id: `ml-tab-${name}` }),
    );
    const bar = el("div", { class: "tabs", role: "tablist", "aria-label": "Details" }, this.tabs);
    bar.addEventListener("keydown", (event) => this.#arrow(event));
    const shut = button(icon("close"), close, { class: "icon-button panel-close", "aria-label": "Close details" });
    place.append(el("div", { class: "panel-head" }, bar, shut), this.content);
    this.show("Plan");
  }

  show(name) {
    this.current = name;
    for (const tab of this.tabs) {
      const chosen = tab.textContent === name;
      tab.setAttribute("aria-selected", String(chosen));
      tab.tabIndex = chosen ? 0 : -1;
    }
    this.content.setAttribute("aria-labelledby", `ml-tab-${name}`);
    this.jobs.clear();
    this.#fill();
  }

  /** Draw what changed, if it is in the tab that is seen. */
  draw(facets) {
    const facet = this.current.toLowerCase();
    if (facets.has(facet)) this.#fill();
    for (const [job, view] of this.jobs) if (this.page.story.changed.has(job)) view.update();
  }

  tick() {
    for (const view of this.jobs.values()) view.tick();
  }

  #fill() {
    const made = this.page.story ? this[`_${this.current.toLowerCase()}`](this.page.story) : [];
    const nothing = { Plan: "No plan yet", Artifacts: "Nothing made yet", Jobs: "No jobs yet", Code: "No code yet" };
    this.content.replaceChildren(...(made.length ? made : [el("p", { class: "faint" }, nothing[this.current])]));
  }

  _plan({ plan }) {
    return plan.length ? [planView(plan)] : [];
  }

  _artifacts({ artifacts }) {
    return [...artifacts.values()].reverse().map((made) =>
      made.path ? fileRow(made, this.page) : el("div", { class: "file-row" }, icon("cube"), el("b", {}, link(made.id, made.id))),
    );
  }

  _jobs({ jobs }) {
    const items = [...new Set(jobs.values())].reverse();
    return items.map((item, index) => {
      if (!this.jobs.has(item)) this.jobs.set(item, jobView(item, this.page, { logOpen: index === 0 }));
      return this.jobs.get(item).node;
    });
  }

  _code({ items }) {
    const pieces = items.flatMap((item) => {
      if (item.takenBack) return [];
      if (item.type === "step" && item.code) return [[`Step ${item.n}: ${title(item)}`, item.code]];
      const script = item.type === "approval" && (item.agreed ?? item.asked).script;
      return script ? [[item.asked.title, script]] : [];
    });
    return pieces
      .slice(-PAGES)
      .reverse()
      .map(([name, code], index) => fold(name, () => codeBlock(code), { class: "fold", open: index === 0 }));
  }

  #arrow(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = this.tabs[(TABS.indexOf(this.current) + step + TABS.length) % TABS.length];
    this.show(next.textContent);
    next.focus();
  }
}
