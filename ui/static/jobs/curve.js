// What a job measures, drawn as it comes: losses on one scale, the learning rate and GPU use each on their own.
// Points are gathered into at most BUCKETS buckets as they arrive, each with its lowest and highest value, so a draw costs
// the same after a million points; drawing happens at most once per frame and only while the curve is seen.

import { el, setText, svgEl } from "../dom.js";
import { measure, plural } from "../words.js";

const BUCKETS = 150; // two ends each: at most 300 points of a line
const WIDTH = 600;
const HEIGHT = 110;
const DECADES = 100; // from so many times the lowest on, the scale is logarithmic
const FEW = 20; // while less than this part of the steps is done, the curve fills the frame: else it could not be seen
const MOST = 4; // lines on the scale of losses
const LOSS = /(^|[/_])(loss|nll|perplexity|ppl)$/;
const COUNTED = /^(step|epoch|total_steps)$|^gpu|runtime|per_second|flos|(^|[/_])(lr|learning_rate|grad_norm|num_tokens)$/;

const NAMES = { gpu_percent: "GPU %" };

/** One measurement over the steps. A value of null was printed and is no number: a gap. */
export class Series {
  constructor() {
    this.buckets = []; // {x0, x1, low, lowX, high, highX, gap}
    this.each = 1; // values per bucket
    this.inLast = 0;
    this.count = 0;
    this.gaps = 0;
    this.first = this.last = null;
  }

  add(x, value) {
    this.count += 1;
    if (!Number.isFinite(value)) {
      this.gaps += 1;
      const last = this.buckets.at(-1);
      if (last) last.gap = true;
      this.inLast = this.each; // what follows begins a bucket of its own
      return;
    }
    this.first ??= value;
    this.last = value;
    const last = this.buckets.at(-1);
    if (last && this.inLast < this.each) {
      merge(last, { x0: x, x1: x, low: value, lowX: x, high: value, highX: x, gap: false });
      this.inLast += 1;
      return;
    }
    if (this.buckets.length >= BUCKETS) this.#halve();
    this.buckets.push({ x0: x, x1: x, low: value, lowX: x, high: value, highX: x, gap: false });
    this.inLast = 1;
  }

  get low() {
    return this.buckets.reduce((found, one) => Math.min(found, one.low), Infinity);
  }

  get high() {
    return this.buckets.reduce((found, one) => Math.max(found, one.high), -Infinity);
  }

  /** Strokes of [x, value] between the gaps. */
  strokes() {
    const strokes = [];
    let stroke = [];
    for (const { x0, x1, low, lowX, high, highX, gap } of this.buckets) {
      if (low === high) stroke.push([x0, low], ...(x1 > x0 ? [[x1, low]] : []));
      else stroke.push(...(lowX < highX ? [[lowX, low], [highX, high]] : [[highX, high], [lowX, low]]));
      if (gap) {
        strokes.push(stroke);
        stroke = [];
      }
    }
    if (stroke.length) strokes.push(stroke);
    return strokes;
  }

  #halve() {
    const kept = [];
    for (const [index, bucket] of this.buckets.entries()) {
      if (index % 2) merge(kept.at(-1), bucket);
      else kept.push(bucket);
    }
    this.buckets = kept;
    this.each *= 2;
  }
}

function merge(into, from) {
  if (from.low < into.low) [into.low, into.lowX] = [from.low, from.lowX];
  if (from.high > into.high) [into.high, into.highX] = [from.high, from.highX];
  into.x1 = from.x1;
  into.gap ||= from.gap;
}

/** {node, take(points), draw()}: take what is new of a list that only grows; it is drawn when it is seen. */
export function curve() {
  const all = new Map(); // name -> Series
  const svg = svgEl("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", class: "curve", role: "img" });
  const top = el("span", { class: "curve-top faint" });
  const bottom = el("span", { class: "curve-bottom faint" });
  const from = el("span", {});
  const to = el("span", {});
  const legend = el("div", { class: "curve-legend faint" });
  const axis = el("div", { class: "curve-steps faint" }, from, legend, to);
  const node = el("div", { class: "curve-frame", hidden: true }, svg, top, bottom, axis);
  let taken = 0;
  let lastX = 0;
  let drawn = 0;
  let waiting = false;
  let seen = false;
  new IntersectionObserver((entries) => {
    seen = entries.at(-1).isIntersecting;
    if (seen && drawn !== taken) soon();
  }).observe(node);

  function take(points) {
    for (; taken < points.length; taken++) {
      const point = points[taken];
      const x = point.step ?? point.epoch ?? lastX + 1;
      for (const [name, value] of Object.entries(point)) {
        if (!all.has(name)) {
          if (all.size >= 64) continue;
          all.set(name, new Series());
        }
        all.get(name).add(x, value);
      }
      lastX = x;
    }
    node.hidden = !shown(all).some(({ series }) => series.buckets.length > 1);
    if (drawn !== taken && seen) soon();
  }

  function soon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      draw();
    });
  }

  function draw() {
    drawn = taken;
    const lines = shown(all);
    const main = lines.filter((line) => line.scale === "main" && line.series.buckets.length);
    if (!main.length) return;
    const bounds = { low: Math.min(...main.map((one) => one.series.low)), high: Math.max(...main.map((one) => one.series.high)) };
    const log = bounds.low > 0 && bounds.high / bounds.low >= DECADES;
    const start = Math.min(...main.map((one) => one.series.buckets[0].x0));
    const reached = Math.max(...main.map((one) => one.series.buckets.at(-1).x1));
    const total = all.get("total_steps")?.last ?? 0;
    const end = reached * FEW > total ? Math.max(reached, total) : reached; // room for what is to come
    const x = scale(start, end, 0, WIDTH, false);
    svg.replaceChildren(
      ...lines.map(({ series, look, scale: on }) => {
        const { low, high } = on === "main" ? bounds : on === "percent" ? { low: 0, high: 100 } : { low: Math.min(0, series.low), high: series.high };
        const y = scale(low, high, HEIGHT - 4, 4, on === "main" && log);
        const d = series.strokes().map((stroke) => `M${stroke.map((at) => `${x(at[0]).toFixed(1)},${y(at[1]).toFixed(1)}`).join("L")}${stroke.length === 1 ? "h0.1" : ""}`);
        return svgEl("path", { class: `line ${look}`, d: d.join(""), "vector-effect": "non-scaling-stroke" });
      }),
    );
    setText(top, measure(bounds.high) + (log ? " (log)" : ""));
    setText(bottom, measure(bounds.low));
    setText(from, measure(start));
    setText(to, measure(end));
    legend.replaceChildren(...lines.map(({ name, look }) => el("span", { class: "curve-name" }, el("i", { class: look }), NAMES[name] ?? name)));
    svg.setAttribute("aria-label", lines.map(seriesInWords).join(". "));
  }

  return { node, take, draw };
}

/** Which series are drawn, on which scale, with which look. */
function shown(all) {
  const names = [...all.keys()];
  const losses = names.filter((name) => LOSS.test(name)).slice(0, MOST);
  const main = losses.length ? losses : names.filter((name) => !COUNTED.test(name)).slice(0, 1);
  const rate = names.find((name) => name === "learning_rate" || name === "lr");
  const lines = main.map((name, index) => ({ name, scale: "main", look: `look-${index}` }));
  if (rate) lines.unshift({ name: rate, scale: "own", look: "look-rate" });
  if (all.has("gpu_percent")) lines.unshift({ name: "gpu_percent", scale: "percent", look: "look-gpu" });
  return lines.map((line) => ({ ...line, series: all.get(line.name) }));
}

function seriesInWords({ name: raw, series }) {
  const name = NAMES[raw] ?? raw;
  if (!series.count || series.first === null) return `${name}: no number`;
  const gaps = series.gaps ? `, ${plural(series.gaps, "value")} not a number` : "";
  return `${name}: from ${measure(series.first)} to ${measure(series.last)}, lowest ${measure(series.low)}${gaps}`;
}

function scale(from, to, start, end, log) {
  const of = log ? Math.log : (value) => value;
  return (value) => (to === from ? (start + end) / 2 : start + ((of(value) - of(from)) / (of(to) - of(from))) * (end - start));
}
