// What a job, a sandbox or a schedule is and costs, in words, and the sum that is held for it. Nothing here draws.

import { dollars, plural, span } from "./words.js";

const OFTEN = { "@hourly": ["every hour", 3600], "@daily": ["every day", 86_400], "@weekly": ["every week", 604_800], "@monthly": ["every month", 31 * 86_400] };

/** What a request had no field for when its session was written. */
const DEFAULTS = { namespace: "", image: "", dependencies: [], env: {}, secrets: [], token: "none", volumes: [], outputs: "", track: "", dashboard: "", labels: {}, nodes: 1, schedule: "", runs: 1, idle_seconds: 0, likely_micro_usd: null, why: "", on_alarm: "ask" };

export function whole(request) {
  return { ...DEFAULTS, ...request };
}

/** The most it can cost, in micro-dollars, as the server reckons it: whole minutes of each machine and each run. */
export function hold({ price_micro_usd_per_hour: price, nodes = 1, runs = 1, timeout_seconds }, timeout = timeout_seconds) {
  return Math.ceil((price * Math.ceil(timeout / 60) * nodes * runs) / 60);
}

/** "≤ $0.75", or "free". */
export function limit(request, timeout = request.timeout_seconds) {
  return request.price_micro_usd_per_hour ? `≤ ${dollars(hold(request, timeout))}` : "free";
}

/** Where it runs and what an hour of that costs. */
function where(request) {
  const { where: place, nodes, price_micro_usd_per_hour: price } = request;
  if (place === "here") return "this machine, without a fence around it";
  const rate = `${price ? dollars(price) : "nothing"} an hour${nodes > 1 ? " each" : ""}`;
  return `${place === "sandbox" ? "a sandbox on Hugging Face" : "Hugging Face Jobs"}: ${machines(request)}, ${rate}`;
}

/** Where a job runs, short: "4 × a100-large". */
export function machines({ where: place, flavor, nodes = 1 }) {
  if (place === "here") return "this machine";
  return `${nodes > 1 ? `${nodes} × ` : ""}${flavor ?? ""}`;
}

export function often({ schedule }) {
  return OFTEN[schedule]?.[0] ?? `at ${schedule}`;
}

/** How often a schedule runs and when it is over; asked: when it was asked for, Unix time. */
function repeats(request, asked) {
  const { schedule, runs } = request;
  if (!schedule) return "";
  const every = OFTEN[schedule]?.[1];
  const end = every ? `, the last by ${new Date((asked + runs * every) * 1000).toLocaleDateString()}` : "";
  return `${often(request)}, ${runs === 1 ? "once" : `${runs} times`}${end}; then it is deleted`;
}

const TOKENS = { none: "none", stored: "the one you keep for jobs", own: "YOUR OWN" };

/** "datasets/ada/pets, as /data" */
function mounted(volume) {
  const at = volume.lastIndexOf(":");
  return at < 0 ? volume : `${volume.slice(0, at)}, as ${volume.slice(at + 1)}`;
}

/** Names of secrets; the Hugging Face token has a line of its own. */
function secrets({ secrets: names, token }) {
  return names.filter((name) => token === "none" || name !== "HF_TOKEN").join(", ");
}

/** Whom it tells its measurements to. */
function tracks({ track, dashboard }) {
  if (!track) return "";
  return dashboard ? `${dashboard}, a private Space and a private bucket for “${track}”, made if they are not there yet` : `none; what it measures for “${track}” is shown here`;
}

/** Rows of facts, without what the user may change. asked: when it was asked for, Unix time. */
export function told(request, asked) {
  const here = request.where === "here";
  return [
    ["runs on", where(request)],
    ["paid by", here ? "" : request.namespace || "you"],
    ["why this", request.why],
    ["repeats", repeats(request, asked)],
    ["ends early", request.idle_seconds ? `after ${span(request.idle_seconds)} without a command` : ""],
    ["HF token", here || request.where === "sandbox" ? "" : TOKENS[request.token]],
    ["secrets", secrets(request)],
    ["variables", Object.entries(request.env).map(([name, value]) => `${name}=${value}`).join("\n")],
    ["can read", request.volumes.map(mounted).join("\n")],
    ["keeps files in", request.outputs ? `${request.outputs}, a private bucket` : ""],
    ["live dashboard", tracks(request)],
    ["image", request.image],
    ["labels", Object.entries(request.labels).map(([name, value]) => `${name}=${value}`).join(", ")],
  ];
}

export const ALARMS = { ask: "tell me", stop: "stop it" };

/** Only what trains by a script of its own is watched for going wrong. */
export function watched({ where: place, schedule }) {
  return place !== "sandbox" && !schedule;
}

/** What the user changed before agreeing, in words; "" when nothing. */
export function edited(asked, agreed) {
  const changes = [];
  if (asked.script !== agreed.script) changes.push(`the script (${lineChanges(asked.script, agreed.script)})`);
  if (asked.timeout_seconds !== agreed.timeout_seconds) changes.push(`the time limit from ${span(asked.timeout_seconds)} to ${span(agreed.timeout_seconds)}`);
  if (String(asked.dependencies) !== String(agreed.dependencies)) changes.push("the dependencies");
  if (asked.on_alarm !== agreed.on_alarm) changes.push(`if the training goes wrong: ${ALARMS[agreed.on_alarm]}`);
  return changes.join(", ");
}

function lineChanges(before, after) {
  const counts = new Map();
  for (const line of before.split("\n")) counts.set(line, (counts.get(line) ?? 0) + 1);
  let added = 0;
  for (const line of after.split("\n")) {
    const left = counts.get(line) ?? 0;
    if (left) counts.set(line, left - 1);
    else added += 1;
  }
  const removed = [...counts.values()].reduce((sum, n) => sum + n, 0);
  return `+${added} −${removed} lines`;
}

export function lines(script) {
  return plural(script.split("\n").length, "line");
}
