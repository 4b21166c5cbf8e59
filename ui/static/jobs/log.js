// A job's log as it grows: what says little folds into one line that can be opened. Which lines those are the server says.
// Only what is new is drawn: rows are added at the end and taken from the front, and the last one may grow.

import { el, setText } from "../dom.js";
import { shown } from "../story/log.js";
import { count, cut } from "../words.js";

const ROWS = 1000; // that are drawn, the newest
const SHOWN = 200; // characters of the last line of what is folded

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
