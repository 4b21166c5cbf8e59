// Where a text has formulas, and where a dollar is only money. Code, addresses and escaped marks are no formulas.

const ANY = /\$|\\[([]/;
const MOST = 2_000; // formulas of one text; the rest is shown as written
const LONGEST = 4_000; // characters of one formula

const MARKS = /^(?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t])*(`{3,}(?=[^`\n]*$)|~{3,})|`+|(?:https?:\/\/|www\.)[^\s<>]+|\\[\s\S]|\$+/gm;
// What a formula may be closed by, or broken off at. Dollars within its words are its own.
const STOPS = /\\(?:text(?:bf|it|rm|sf|tt|md|up|normal)?|mbox)\s*\{[^{}]*\}|\\[\s\S]|\$+|`|\n[ \t>]*\n/g;
const ENDS = { "$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]" };
const ROW = /^[ \t>]*\|/; // what begins like a row of a table
const BRACKETS = new Set(["\\(", "\\)", "\\[", "\\]"]);

/**
 * The formulas of a text in their order: {start, end, tex, display, open}. tex is what stands between the marks.
 * open: a display that has begun on a line of its own and whose end is still to come; it is shown as written.
 */
export function formulas(text) {
  const found = [];
  if (!ANY.test(text)) return found;
  const marks = new RegExp(MARKS);
  const lineAt = lines(text);
  let last = 0; // where the formula before ends
  for (let met; found.length < MOST && (met = marks.exec(text)); ) {
    const [mark, fence] = met;
    const at = fence ? met.index + mark.length - fence.length : met.index;
    const one = fence || mark[0] === "`" ? null : formula(text, at, { mark, line: text.slice(lineAt(at), at), adjacent: at === last });
    if (one) {
      found.push(one);
      last = one.end;
      marks.lastIndex = one.end;
    } else if (fence) {
      marks.lastIndex = fenceEnd(text, at + fence.length, fence);
    } else if (mark[0] === "`") {
      marks.lastIndex = codeEnd(text, at + mark.length, mark);
    }
  }
  return found;
}

/** A shorter text, with no formula cut in two. */
export function cutAround(text, length) {
  if (text.length <= length) return text;
  const split = formulas(text).find(({ start, end }) => start < length && end >= length);
  return `${text.slice(0, split?.start ?? length - 1).trimEnd()}…`;
}

/** Where the line of a place begins, asked from the text's start to its end. */
function lines(text) {
  let begin = 0;
  let next = text.indexOf("\n");
  return (at) => {
    while (next >= 0 && next < at) {
      begin = next + 1;
      next = text.indexOf("\n", begin);
    }
    return begin;
  };
}

function formula(text, at, { mark, line, adjacent }) {
  const end = ENDS[mark];
  if (!end) return null;
  const from = at + mark.length;
  const display = mark === "$$" || mark === "\\[";
  const first = display && /^(?:[ \t>]|[-*+][ \t]|\d{1,9}[.)][ \t])*$/.test(line);
  const alone = first && /^[ \t]*(?:\n|$)/.test(text.slice(from, from + 200));
  const to = closing(text, from, end, alone);
  if (to < 0) return first ? unfinished(text, at, from, end) : null;
  const tex = text.slice(from, to);
  const before = adjacent ? "" : (text[at - 1] ?? "");
  const after = text[to + end.length] ?? "";
  if (!tex.trim() || !(alone || ACCEPTED[mark](tex, before, after)) || (ROW.test(line) && crosses(tex))) return null;
  return { start: at, end: to + end.length, tex: bare(tex, line), display, open: false };
}

/** Where the closing mark stands; -1 when something comes first that no formula has in it. */
function closing(text, from, end, alone) {
  STOPS.lastIndex = from;
  for (let met; (met = STOPS.exec(text)) && met.index - from <= LONGEST; ) {
    const stop = met[0];
    if (stop === end || (end === "$" && stop[0] === "$")) return met.index;
    if (stop[0] === "\n" && alone) STOPS.lastIndex = met.index + stop.length - 1;
    else if (stop[0] === "$" || stop[0] === "`" || stop[0] === "\n" || BRACKETS.has(stop)) return -1;
  }
  return -1;
}

/** A display at the end of a text that still comes in. */
function unfinished(text, at, from, end) {
  const rest = text.slice(from, from + LONGEST);
  if (from + LONGEST < text.length || /\n[ \t>]*\n|[`$]/.test(rest) || prose(rest) || (end === "\\]" && aside(rest))) return null;
  return { start: at, end: text.length, tex: rest, display: true, open: true };
}

const ACCEPTED = {
  $: (tex, before, after) => {
    if (/[A-Za-z0-9]/.test(before) || /\d/.test(after)) return false;
    const [early, late] = [/^\s/.test(tex), /\s$/.test(tex)];
    if (early !== late || (early && !/[\\^_]/.test(tex))) return false;
    if (/\n[ \t>]*(?:[-*+#|]|\d+[.)])(?:\s|$)/.test(tex) || (/:\/\//.test(tex) && !tex.includes("\\"))) return false;
    return (!/[A-Za-z({]/.test(after) || term(tex)) && !prose(tex) && !price(tex);
  },
  $$: (tex) => !prose(tex) && !/^\s\p{L}+\s$/u.test(tex),
  "\\(": (tex) => !prose(tex),
  "\\[": (tex, before, after) => !/[(:]/.test(after) && !prose(tex) && !aside(tex),
};

/** "$n$th" and "$\alpha$-like" go on in letters; "$HOME/$USER" does not end where its second dollar stands. */
const term = (tex) => /^[A-Za-z]'*$/.test(tex) || (/[\\^_]/.test(tex) && !/[/:.,\-=+]$/.test(tex));

/** Two words beside each other, where nothing else speaks for a formula. */
const prose = (tex) => !tex.includes("\\") && /\p{L}{2,}[,;:.!?]?\s+\p{L}{2,}/u.test(tex);

/** "5 per hour or 6", "5M, 10": a sum, and words about it. */
const price = (tex) =>
  /^\d[\d.,]*(?:[kKMB]|bn)(?:[,;]|\s\p{L}{2})/u.test(tex) || (/^\d/.test(tex) && /\s\p{L}{2,}/u.test(tex) && !/[\\^_={}+*<>]/.test(tex));

/** "\[12\]", "\[x\]" and "\[see below\]" are brackets that Markdown is not to read. */
const aside = (tex) => /^[\p{L}\d][\p{L}\d .,;&'’–-]*$/u.test(tex) || !tex.trim();

/** In a row of a table: whether it would reach over the edge of a cell. Within brackets a bar is the formula's own. */
function crosses(tex) {
  let depth = 0;
  let open = "";
  for (const sign of tex.replace(/\\[\s\S]/g, "")) {
    if ("([{".includes(sign)) depth++;
    else if (")]}".includes(sign)) depth--;
    else if (depth <= 0) open += sign;
  }
  return /\s\|\s/.test(open) || open.startsWith("|") !== open.endsWith("|");
}

/** Without what belongs to the quotation or the table around it. */
function bare(tex, line) {
  const quoted = />/.test(line) ? tex.replace(/\n[ \t>]+/g, "\n") : tex;
  return ROW.test(line) ? quoted.replace(/\\\|/g, "|") : quoted;
}

function fenceEnd(text, from, fence) {
  const close = new RegExp(`^[ \\t>]*${fence[0]}{${fence.length},}[ \\t]*$`, "gm");
  close.lastIndex = from;
  return close.exec(text) ? close.lastIndex : text.length;
}

/** Behind inline code. What nothing closes in its paragraph is none, unless the text may still be coming in. */
function codeEnd(text, from, mark) {
  const runs = /`+|\n[ \t>]*\n/g;
  runs.lastIndex = from;
  for (let met; (met = runs.exec(text)); ) {
    if (met[0] === mark) return runs.lastIndex;
    if (met[0][0] === "\n") return from;
  }
  return text.length;
}
