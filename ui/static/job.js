// A job while it runs and after: state, elapsed time, the curve of what it measures, the end of its log, its files.

import { fileRow } from "./cards.js";
import { dot, el, link, setText, svgEl } from "./dom.js";
import { dollars, measure, seconds } from "./words.js";

const MARKS = { "": "running", completed: "good", failed: "bad", timeout: "bad", cancelled: "off", lost: "off" };
const TAIL = 200; // lines of log that are shown

/** The same card stands in the timeline and, with its log open, in the panel. */
export function jobView(item, page, { logOpen = false } = {}) {
  const mark = dot("running");
  const id = el("span", { class: "job-id" });
  const chip = el("span", { class: "chip" });
  const time = el("span", { class: "faint job-time" });
  const chart = curve();
  const numbers = el("div", { class: "numbers" });
  const message = el("p", { class: "job-message", hidden: true });
  const log = el("pre", { class: "output log", tabindex: "0", "aria-label": "Log" });
  const logFold = el("details", { class: "fold" }, el("summary", {}, "Log"), log);
  const files = el("div", { class: "files" });
  const node = el(
    "section",
    { class: "card job", "aria-label": `Job ${item.title}` },
    el("div", { class: "job-head" }, mark, el("b", {}, item.title || "Job"), id, chip, el("span", { class: "faint" }, place(item)), time),
    chart.node, numbers, message, logFold, files,
  );
  logFold.open = logOpen;
  logFold.addEventListener("toggle", () => update());
  let pointsDrawn = -1;
  let atEnd = true;
  const toEnd = () => (log.scrollTop = log.scrollHeight);
  log.addEventListener("scroll", () => (atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 30));
  requestAnimationFrame(toEnd); // only what is on the page can be scrolled

  function update() {
    mark.className = `dot ${MARKS[item.status]}`;
    setText(chip, item.status || (item.job ? "running" : "submitting"));
    if (item.job && !id.childElementCount) id.append(link(item.url, item.job));
    tick();
    if (item.points.length !== pointsDrawn) {
      pointsDrawn = item.points.length;
      chart.draw(item.points);
      numbers.replaceChildren(...lastNumbers(item.points.at(-1)));
    }
    message.hidden = !item.message;
    setText(message, item.message);
    message.classList.toggle("error", MARKS[item.status] === "bad");
    logFold.hidden = !item.text;
    if (logFold.open) {
      setText(log, item.text.split("\n").slice(-TAIL).join("\n"));
      if (atEnd) toEnd();
    }
    if (item.status && !files.childElementCount) {
      files.append(...item.files.map((path) => fileRow({ path, ...page.story.artifacts.get(path) }, page)));
    }
  }

  /** Move the clock of a job that still runs. */
  function tick() {
    const passed = item.status ? item.seconds : item.startedAt ? Math.max(0, Date.now() / 1000 - item.startedAt) : 0;
    const cost = item.cost ? `${item.cost.settled ? "" : "≤ "}${dollars(item.cost.microUsd)}` : "";
    setText(time, [cost, passed ? seconds(passed) : ""].filter(Boolean).join(" · "));
  }

  update();
  return { node, update, tick };
}

function place(item) {
  return item.where === "here" ? "this machine" : (item.request.flavor ?? "");
}

function lastNumbers(point) {
  if (!point) return [];
  return Object.entries(point)
    .slice(0, 6)
    .map(([name, value]) => el("span", {}, el("span", { class: "faint" }, `${name} `), el("b", {}, measure(value))));
}

const WIDTH = 600;
const HEIGHT = 72;

/** One line through what falls: loss where there is one, else the first number that is no counter. */
function curve() {
  const area = svgEl("path", { class: "area" });
  const line = svgEl("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  const svg = svgEl("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "curve", role: "img" });
  svg.append(area, line);
  const node = el("div", { class: "curve-frame", hidden: true }, svg);

  function draw(points) {
    const name = measured(points);
    const series = points.filter((point) => Number.isFinite(point[name]));
    node.hidden = series.length < 2;
    if (node.hidden) return;
    const shown = thinned(series, WIDTH / 2);
    const xs = shown.map((point, index) => point.step ?? index);
    const ys = shown.map((point) => point[name]);
    const x = scale(Math.min(...xs), Math.max(...xs), 0, WIDTH);
    const y = scale(Math.min(...ys), Math.max(...ys), HEIGHT - 4, 4);
    const path = shown.map((_, index) => `${x(xs[index]).toFixed(1)},${y(ys[index]).toFixed(1)}`).join("L");
    line.setAttribute("d", `M${path}`);
    area.setAttribute("d", `M${x(xs[0])},${HEIGHT}L${path}L${x(xs.at(-1))},${HEIGHT}Z`);
    svg.setAttribute("aria-label", `${name}: from ${measure(ys[0])} to ${measure(ys.at(-1))}`);
  }

  return { node, draw };
}

function measured(points) {
  const names = Object.keys(points.at(-1) ?? {});
  return names.find((name) => name === "loss") ?? names.find((name) => /loss/.test(name)) ?? names.find((name) => !/step|epoch/.test(name)) ?? "";
}

function thinned(series, most) {
  if (series.length <= most) return series;
  const every = series.length / most;
  const kept = Array.from({ length: most }, (_, index) => series[Math.floor(index * every)]);
  kept.push(series.at(-1));
  return kept;
}

function scale(from, to, start, end) {
  return (value) => (to === from ? (start + end) / 2 : start + ((value - from) / (to - from)) * (end - start));
}
