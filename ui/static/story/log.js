// A job's log as it grows: what says little is one row. Which lines those are the server says. Draws nothing.

import { cut } from "../words.js";

const KEPT = 1_000_000; // characters that are kept, the newest
const LINE = 10_000; // characters of a line

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
export function shown(line) {
  const last = line.includes("\r") ? (line.split("\r").findLast((one) => one.trim()) ?? "") : line;
  return cut(last, LINE);
}
