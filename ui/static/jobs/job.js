// A job while it runs and after: state, time, money and what is still to come, its curve, alarms, log and files.

import { fileRow } from "../cards.js";
import { curve } from "./curve.js";
import { dot, el, link, setText } from "../dom.js";
import { stopButton } from "./stop.js";
import { outputsView } from "./outputs.js";
import { logView } from "./log.js";
import { inAll, machines, next, often } from "../spend.js";
import { usage } from "./usage.js";
import { dollars, dollarsExact, measure, seconds, source } from "../words.js";

const MARKS = { "": "running", completed: "good", failed: "bad", timeout: "bad", cancelled: "off", lost: "off", "not started": "off" };
const SEARCHED = "Hugging Face did not say whether it was started. It is being looked for, and its money stays held.";
const ID = 12; // characters of its name; the link leads to the rest

/** The same card stands in the timeline and, with its log open, in the panel. */
export function jobView(item, page, { logOpen = false } = {}) {
  const mark = dot("running");
  const id = el("span", { class: "job-id" });
  const chip = el("span", { class: "chip" });
  const time = el("span", { class: "faint job-time" });
  const chart = curve();
  const numbers = el("div", { class: "numbers" });
  const bar = el("progress", { class: "bar", max: "1", value: "0", "aria-label": "Steps done", hidden: true });
  const forecast = el("p", { class: "faint job-forecast", hidden: true });
  const alarms = el("ul", { class: "job-alarms", "aria-live": "polite", "aria-label": "Alarms", hidden: true });
  const alerts = el("ul", { class: "job-alerts", "aria-live": "polite", "aria-label": "Alerts of the script", hidden: true });
  const tracked = el("p", { class: "faint job-tracked", hidden: true });
  let trackedDrawn = null;
  const stop = stopButton(item, page);
  const note = el("p", { class: "notice warning", hidden: true });
  const bill = el("p", { class: "faint job-bill", hidden: true });
  const message = el("p", { class: "job-message", hidden: true });
  const log = logView(item.log);
  const logFold = el("details", { class: "fold" }, el("summary", {}, "Log"), log.node);
  const files = el("div", { class: "files" });
  const left = el("div", { class: "left" });
  const node = el(
    "section",
    { class: "card job", "aria-label": `Job ${item.title}` },
    el("div", { class: "job-head" }, mark, el("b", {}, item.title || "Job"), id, chip, el("span", { class: "faint" }, place(item)), time),
    message, alarms, alerts, stop.node, note, chart.node, numbers, bar, forecast, tracked, bill, logFold, files, left,
  );
  logFold.open = logOpen;
  logFold.addEventListener("toggle", () => logFold.open && log.update());
  let pointsDrawn = -1;
  let ended = false;
  let usedDrawn;

  function update() {
    mark.className = `dot ${MARKS[item.status]}`;
    setText(chip, item.status || stage(item));
    if (item.job && !id.childElementCount) id.append(link(item.url, shortId(item)));
    tick();
    if (item.points.length !== pointsDrawn || item.use !== usedDrawn) {
      pointsDrawn = item.points.length;
      usedDrawn = item.use;
      chart.take(item.points);
      numbers.replaceChildren(...lastNumbers(item));
      bar.hidden = !(item.total > 0);
      bar.value = item.total > 0 ? Math.min(1, item.step / item.total) : 0;
    }
    forecast.hidden = !item.forecast || Boolean(item.status);
    setText(forecast, item.forecast ? inAll(item.forecast, item.request) : "");
    if (alarms.childElementCount !== item.alarms.length) {
      alarms.hidden = false;
      alarms.append(...item.alarms.slice(alarms.childElementCount).map(alarmRow));
    }
    if (alerts.childElementCount !== item.alerts.length) {
      alerts.hidden = false;
      alerts.append(...item.alerts.slice(alerts.childElementCount).map(alertRow));
    }
    if (item.dashboard !== trackedDrawn) {
      trackedDrawn = item.dashboard;
      tracked.hidden = false;
      tracked.replaceChildren(...dashboard(item));
    }
    stop.update();
    const warned = item.searched ? SEARCHED : (item.warnings.at(-1)?.text ?? "");
    note.hidden = !warned;
    setText(note, warned);
    setText(bill, billed(item));
    bill.hidden = !bill.textContent;
    bill.classList.toggle("error", Boolean(overHold(item.cost)));
    message.hidden = !item.message;
    setText(message, item.message);
    message.classList.toggle("error", MARKS[item.status] === "bad");
    logFold.hidden = item.log.empty;
    if (item.status && !ended) {
      ended = true;
      if (MARKS[item.status] === "bad") logFold.open = true; // what went wrong is at its end
    }
    if (logFold.open) log.update();
    if (item.left && !left.childElementCount) left.append(...outputsView(item));
    if (item.status && !files.childElementCount) {
      files.append(...item.files.map((path) => fileRow({ path, ...page.story.artifacts.get(path), job: "" }, page)));
    }
  }

  /** Move the clock of a job that still runs. */
  function tick() {
    stop.update();
    const passed = item.status ? (item.seconds ?? 0) : item.startedAt && !item.request.schedule ? Math.max(0, Date.now() / 1000 - item.startedAt) : 0;
    const ahead = !item.status && item.forecast && item.startedAt ? eta(item.forecast, passed) : "";
    const cost = item.cost?.held ? `${item.cost.settled ? "" : "≤ "}${dollars(item.cost.bill?.microUsd ?? item.cost.microUsd)}` : "";
    const due = item.status ? "" : next(item.request);
    setText(time, [cost, passed ? seconds(passed) : "", ahead, due && `next: ${due}`].filter(Boolean).join(" · "));
  }

  update();
  return { node, update, tick };
}

/** Its own name, without who pays; a schedule has none that says anything. */
function shortId({ job, request }) {
  return request.schedule ? "on the Hub" : job.split("/").pop().slice(0, ID);
}

function stage(item) {
  if (item.job) return item.request.schedule ? "scheduled" : "running";
  return item.searched ? "looking for it" : "starting";
}

function place({ request }) {
  const kind = often(request) || request.place.tag;
  const payer = request.namespace && `paid by ${request.namespace}`;
  return [machines(request), kind, payer].filter(Boolean).join(", ");
}

/** After the end: what it was held for, what it cost, how that is known, and what the bill says. */
function billed({ status, cost }) {
  if (!status || !cost?.settled || !cost.held) return "";
  const from = source(cost.source);
  const sum = overHold(cost) ? dollarsExact : dollars; // sums that contradict each other must not read alike
  const reckoned = `It cost ${sum(cost.microUsd)} of the ${sum(cost.held)} that were held${from ? `: ${from}` : ""}.`;
  if (!cost.bill) return reckoned;
  const { microUsd, message } = cost.bill;
  return `${reckoned} ${microUsd === null ? message : `The bill says ${sum(microUsd)}${overHold(cost) ? ", more than was held" : ""}.`}`;
}

function overHold(cost) {
  return cost?.bill?.microUsd > cost?.held;
}

/** What is still to go of a forecast, which is of the whole run from its start. */
function eta({ seconds_low, seconds_high }, passed) {
  const [low, high] = [seconds_low, seconds_high].map((whole) => Math.max(0, whole - passed));
  return high > 0 ? `ETA ${rough(low)} – ${rough(high)}` : "";
}

/** An estimate has no seconds once it is minutes. */
function rough(value) {
  return value >= 120 && value < 3600 ? `${Math.round(value / 60)} min` : seconds(value);
}

const POSITIONS = new Set(["step", "epoch", "total_steps"]);
const MOST = 5; // numbers that are shown

/** The newest value of each measurement, where the training is and how fast it goes. */
function lastNumbers(item) {
  const { latest, step, total, rate } = item;
  const told = [];
  if (step !== undefined) told.push(["step", total ? `${measure(step)}/${measure(total)}` : measure(step)]);
  if (rate) told.push(["steps/s", measure(Number(rate.toPrecision(2)))]);
  for (const [name, value] of latest) {
    if (POSITIONS.has(name) || name.startsWith("gpu_")) continue;
    if (told.length < MOST + 2) told.push([name, measured(value)]);
  }
  told.push(...usage(item));
  return told.map(([name, value]) => el("span", {}, el("span", { class: "faint" }, `${name} `), el("b", {}, value)));
}

function measured(value) {
  return Number.isFinite(value) ? measure(value) : "not a number";
}

function alarmRow({ rule, text }) {
  return el("li", {}, el("b", {}, RULES[rule] ?? rule), ` ${text}`);
}

/** What the script itself found worth telling. */
function alertRow({ level, text, step }) {
  const at = step === null || step === undefined ? "" : ` (step ${measure(step)})`;
  return el("li", { class: level }, el("b", {}, LEVELS[level] ?? level), ` ${text}${at}`);
}

const LEVELS = { info: "The script says:", warn: "The script warns:", error: "The script reports an error:" };

/** Where its measurements are to be seen, and what is wrong with that. */
function dashboard({ dashboard: { url, note }, request }) {
  const name = request.track ? `Live dashboard of “${request.track}”` : "Live dashboard";
  return [url ? link(url, name) : null, url && note ? ". " : null, note || null].filter(Boolean);
}

const RULES = { nan: "Not a number:", divergence: "Diverging:", no_progress: "No progress:", hang: "Silent:", overrun: "Overrun:" };
