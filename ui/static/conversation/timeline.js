// The conversation in the middle. Events may come faster than frames: what changed is drawn once per frame.

import { approvalView } from "./approval.js";
import { typedCallView } from "./call.js";
import { copyButton } from "../code.js";
import { button, el, fold, icon } from "../dom.js";
import { jobView } from "../jobs/job.js";
import { markdown } from "../markdown.js";
import { stepView } from "./step.js";
import { branchView, undoButton, userView } from "./turn.js";
import { count, plural, seconds } from "../words.js";

const NEAR = 48; // px from the end that still count as being there

const VIEWS = {
  user: userView,
  step: stepView,
  call: typedCallView,
  approval: approvalView,
  job: jobView,
  notice: noticeView,
  summary: summaryView,
  end: endView,
  branch: branchView,
};

export class Timeline {
  /** page: {session, story}, which the views read and which changes when another session is opened. */
  constructor(page, scroller, list) {
    this.page = page;
    this.scroller = scroller;
    this.list = list;
    this.views = new Map();
    this.atEnd = true;
    this.jump = button([icon("down"), "Jump to latest"], () => this.toEnd(), { class: "jump", hidden: true });
    scroller.after(this.jump);
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    const sizes = new ResizeObserver(() => this.atEnd && this.toEnd());
    sizes.observe(scroller);
    sizes.observe(list);
    setInterval(() => this.#tick(), 1000);
  }

  clear() {
    this.views.clear();
    this.list.replaceChildren();
    this.atEnd = true;
    this.jump.hidden = true;
  }

  draw() {
    const { story } = this.page;
    for (const item of story.changed) {
      const view = this.views.get(item.key);
      if (view) view.update();
      else this.#place(item);
    }
    story.changed.clear();
    if (this.atEnd) this.scroller.scrollTop = this.scroller.scrollHeight;
    else this.jump.hidden = false;
  }

  /** A message that is on its way. Returns a function that takes it off the page. */
  pending(text) {
    const node = userView({ text, files: [] }, this.page).node;
    node.classList.add("pending");
    this.list.append(node);
    this.toEnd();
    return () => node.remove();
  }

  toEnd() {
    this.atEnd = true;
    this.jump.hidden = true;
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  #place(item) {
    const view = VIEWS[item.type](item, this.page, this.views);
    this.views.set(item.key, view);
    if (!view.placed) this.list.append(view.node);
  }

  #scrolled() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    this.atEnd = scrollHeight - scrollTop - clientHeight < NEAR;
    if (this.atEnd) this.jump.hidden = true;
  }

  #tick() {
    if (document.hidden) return;
    for (const job of this.page.story?.liveJobs ?? []) this.views.get(job.key)?.tick();
  }
}

function noticeView(item) {
  const node = el("p", {}, item.text);
  const update = () => (node.className = `notice ${item.level}`);
  update();
  return { node, update };
}

/** What the agent remembers from here on of all that came before. */
function summaryView({ step, text, before, after }) {
  const title = `Earlier steps were summarised to make room (up to step ${step}; ${count(before)} tokens became ${count(after)})`;
  const prose = () => {
    const node = el("div", { class: "prose" });
    node.append(markdown(text));
    return node;
  };
  return { node: fold(title, prose), update() {} };
}

const ENDINGS = {
  stopped: "Stopped",
  step_limit: "The step limit is reached",
  budget: "The budget is used up",
  failed: "The run failed",
};

function endView(item, page) {
  const parts = [];
  if (item.why === "answered") {
    const prose = el("div", { class: "prose" });
    prose.append(markdown(item.answer));
    parts.push(prose);
  } else {
    const level = item.why === "stopped" ? "info" : "warning";
    parts.push(el("p", { class: `notice ${level}` }, el("b", {}, ENDINGS[item.why]), item.message ? `. ${item.message}` : ""));
  }
  const facts = [
    item.steps ? plural(item.steps, "step") : "",
    item.seconds ? seconds(item.seconds) : "",
    item.input_tokens + item.output_tokens ? `${count(item.input_tokens + item.output_tokens)} tokens` : "",
    item.produced.length ? `made ${item.produced.join(", ")}` : "",
  ].filter(Boolean);
  const foot = el("div", { class: "end-foot faint" }, facts.join(" · "));
  if (item.answer) foot.append(copyButton(() => item.answer));
  const undo = undoButton(item, page);
  foot.append(undo.node);
  parts.push(foot);
  return { node: el("article", { class: "end", "aria-label": "Answer" }, parts), update: undo.update };
}
