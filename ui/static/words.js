// Numbers and values in words a person reads.

const KEPT = 200_000; // characters of output, log or talk that are kept for the eye, the newest

/** The end of a text that grows, cut at a line. */
export function newest(text) {
  if (text.length <= KEPT) return text;
  const tail = text.slice(-KEPT / 2);
  return `…\n${tail.slice(tail.indexOf("\n") + 1)}`;
}

export function seconds(value) {
  if (value < 0.1) return "< 0.1 s";
  if (value < 10) return `${value.toFixed(1)} s`;
  if (value < 60) return `${Math.round(value)} s`;
  const whole = Math.round(value);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A time limit: whole minutes or hours when it is some. */
export function span(value) {
  if (value >= 7200 && value % 3600 === 0) return `${value / 3600} h`;
  return value % 60 === 0 && value < 7200 ? `${value / 60} min` : seconds(value);
}

const SOURCES = {
  "run time and price": "reckoned from its run time and the price",
  "usage and list price": "reckoned from the tokens used and the list price",
  "worst case": "its run time is not known, so all that was held counts",
  billing: "as billed",
  "partly billing": "partly as billed",
  "it ran on this machine": "",
};

/** Where a figure of money comes from. */
export function source(name) {
  return SOURCES[name] ?? name;
}

// Whole micro-dollars, as the server writes them (tools/money.py): a cost is rounded up and what is free is rounded down.

/** What something costs or may cost: never less than it is. Cents; below ten of them two digits: $0.0042. */
export function dollars(micro) {
  const step = stepOf(micro);
  return written(Math.ceil(micro / step) * step);
}

/** What may still be spent: never more than it is. */
export function dollarsFree(micro) {
  const step = stepOf(micro);
  return written(Math.floor(micro / step) * step);
}

/** What is no estimate, to its last digit: a price from a list, a limit that somebody set, sums that are compared. */
export function dollarsExact(micro) {
  return written(micro);
}

function stepOf(micro) {
  return 10 ** Math.min(4, Math.max(0, String(Math.abs(micro)).length - 2));
}

function written(micro) {
  const size = Math.abs(micro);
  const digits = String(size % 1e6).padStart(6, "0").replace(/0{1,4}$/, "");
  return `${micro < 0 ? "-" : ""}$${Math.floor(size / 1e6)}.${digits}`;
}

/** How much a model reads at once: 1M, 131k. */
export function windowSize(tokens) {
  if (tokens >= 1e6) return `${Number((tokens / 1e6).toFixed(1))}M`;
  return tokens >= 1000 ? `${Math.floor(tokens / 1000)}k` : String(tokens);
}

export function count(value) {
  return value.toLocaleString("en-US");
}

export function bytes(value) {
  if (value < 1000) return `${value} bytes`;
  for (const unit of ["kB", "MB", "GB"]) {
    value /= 1000;
    if (value < 1000 || unit === "GB") return `${value.toFixed(value < 10 ? 1 : 0)} ${unit}`;
  }
}

export function plural(n, word) {
  return `${count(n)} ${word}${n === 1 ? "" : "s"}`;
}

/** A measured number, short: 0.4851, 12.3, 1.2e-5. */
export function measure(value) {
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  return size < 1e-3 || size >= 1e6 ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

export function cut(text, length) {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text;
}

/** A call's arguments on one line: query: small classifier, limit: 8. */
export function args(values) {
  const said = Object.entries(values).map(([name, value]) => {
    const text = typeof value === "string" ? value : JSON.stringify(value);
    return `${name}: ${cut(text.replace(/\s+/g, " "), 80)}`;
  });
  return cut(said.join(", "), 200);
}

/** A Unix time as a date of UTC: "Mon, 21 Dec 2026". */
export function day(at) {
  return new Date(at * 1000).toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short", year: "numeric", timeZone: "UTC" });
}

/** The same with its time: "Mon, 21 Dec 2026 at 09:00 UTC". */
export function moment(at) {
  return `${day(at)} at ${new Date(at * 1000).toISOString().slice(11, 16)} UTC`;
}

export function ago(at) {
  const passed = Date.now() / 1000 - at;
  if (passed < 60) return "just now";
  if (passed < 3600) return `${Math.floor(passed / 60)} min ago`;
  if (passed < 86400) return `${Math.floor(passed / 3600)} h ago`;
  return new Date(at * 1000).toLocaleDateString();
}
