// A job's log as it grows: what says little folds into one line that can be opened. Which lines those are the server says.
// Only what is new is drawn: rows are added at the end and taken from the front, and the last one may grow.

import { el, setText } from "./dom.js";
import { count, cut } from "./words.js";

const ROWS = 1000; // that are drawn, the newest
const KEPT = 1_000_000; // characters that are kept, the newest
const LINE = 10_000; // characters of a line
const SHOWN = 200; // characters of the last line of what is folded

/** rows: {sort, lines, gone}, in order: one plain line each, or a run of lines of one sort, of which gone were forgotten. */
export class Log {
  constructor() {
    this.rows = [];
    this.forgotten = 0; // rows before the first
    this.open = ""; // the line that is still coming in
    this.size = 0;
  }

  get empty() {
    return !this.rows.length && !this.open && !this.forgotten;
  }

  /** noise: [first line, lines, sort] of each run in text, whose line 0 is the one that is still coming in. */
  take(text, noise) {
    const lines = (this.open + text).split("\n");
    this.open = lines.pop().slice(-LINE);
    let at = 0;
    for (const [first, many, sort] of noise ?? []) {
      for (; at < first && at < lines.length; at++) this.#plain(lines[at]);
      for (; at < first + many && at < lines.length; at++) this.#noise(lines[at], sort);
    }
    for (; at < lines.length; at++) this.#plain(lines[at]);
    if (this.size > KEPT) this.#forget();
  }

  #plain(line) {
    this.#add({ sort: "", lines: [shown(line)], gone: 0 });
  }

  #noise(line, sort) {
    const last = this.rows.at(-1);
    if (last?.sort !== sort) return this.#add({ sort, lines: [shown(line)], gone: 0 });
    last.lines.push(shown(line));
    this.size += last.lines.at(-1).length + 1;
  }

  #add(row) {
    this.rows.push(row);
    this.size += row.lines[0].length + 1;
  }

  /** Half of it, from the front; of the last row only lines. */
  #forget() {
    let [rows, size] = [0, this.size];
    while (size > KEPT / 2 && rows < this.rows.length - 1) size -= length(this.rows[rows++].lines);
    this.rows.splice(0, rows);
    this.forgotten += rows;
    const last = this.rows[0];
    let lines = 0;
    while (size > KEPT / 2 && lines < last.lines.length - 1) size -= last.lines[lines++].length + 1;
    last.lines.splice(0, lines);
    last.gone += lines;
    this.size = size;
  }
}

function length(lines) {
  return lines.reduce((sum, line) => sum + line.length + 1, 0);
}

/** What is seen of a line: of one that redraws itself with \r the last that is not blank. */
function shown(line) {
  const last = line.includes("\r") ? (line.split("\r").findLast((one) => one.trim()) ?? "") : line;
  return cut(last, LINE);
}

/** {node, update()}: draws what came since the last update. */
export function logView(log) {
  const open = el("span", { class: "log-row" });
  const node = el("pre", { class: "output log", tabindex: "0", role: "group", "aria-label": "Log" }, open);
  const drawn = []; // views of rows, in order
  let from = 0; // number of the first one's row, counted from the log's beginning
  let atEnd = true;
  const toEnd = () => (node.scrollTop = node.scrollHeight);
  const look = () => (atEnd = node.scrollHeight - node.scrollTop - node.clientHeight < 30);
  node.addEventListener("scroll", look);
  node.addEventListener("toggle", look, true); // who opens a fold looks at that
  requestAnimationFrame(toEnd); // only what is on the page can be scrolled

  function update() {
    const first = log.forgotten + Math.max(0, log.rows.length - ROWS);
    const over = Math.min(Math.max(0, first - from), drawn.length);
    for (const view of drawn.splice(0, over)) view.node.remove();
    from = drawn.length ? from + over : first;
    drawn.at(-1)?.update();
    const rows = log.rows.slice(from + drawn.length - log.forgotten).map(rowView);
    drawn.push(...rows);
    open.before(...rows.map((view) => view.node));
    setText(open, shown(log.open));
    if (atEnd) toEnd();
  }

  return { node, update };
}

/** A plain line, also of what says little while it is alone; from two on it is a fold. */
function rowView(row) {
  const node = el("div", { class: "log-row" });
  let [words, body, told] = [null, null, 0]; // told: lines that the body has, forgotten ones included

  function update() {
    const many = row.gone + row.lines.length;
    const last = row.lines.at(-1);
    if (many === 1) return setText(node, last);
    if (!words) folded();
    setText(words, `⋯ ${count(many)} lines of ${row.sort}, the last: ${cut(last, SHOWN)}`);
    if (body.parentNode.open) fill();
  }

  function folded() {
    words = el("summary", {});
    body = el("div", { class: "log-folded" });
    const fold = el("details", {}, words, body);
    fold.addEventListener("toggle", () => fold.open && fill());
    node.replaceChildren(fold);
  }

  function fill() {
    const more = row.lines.slice(Math.max(0, told - row.gone));
    told = row.gone + row.lines.length;
    if (more.length) body.append(el("div", {}, more.join("\n")));
    while (body.childElementCount > ROWS) body.firstChild.remove();
  }

  update();
  return { node, update };
}
