// What a job, a sandbox or a schedule is and costs, in words, and the sum that is held for it. Nothing here draws.

import { count, day, dollars, dollarsExact, moment, plural, span } from "./words.js";

/** What a request had no field for when its session was written. */
const DEFAULTS = { namespace: "", image: "", dependencies: [], env: {}, secrets: [], token: "none", volumes: [], outputs: "", track: "", dashboard: "", labels: {}, nodes: 1, schedule: "", runs: 1, rhythm: "", due: [], idle_seconds: 0, likely_micro_usd: null, steps: 0, foreseen: null, why: "", on_alarm: "ask", purpose: "task" };

export function whole(request) {
  return { ...DEFAULTS, ...request };
}

/** What time on machines costs, in micro-dollars, as the server reckons it (tools/money.py): a begun minute is a whole one. */
export function cost(price, seconds, { machines = 1, runs = 1 } = {}) {
  const minutes = Math.ceil(Math.floor(seconds * 1000 + 0.5) / 60_000);
  return Math.ceil((price * minutes * machines * runs) / 60);
}

/** The most it can cost: each machine, in each run, until its timeout. */
export function hold({ price_micro_usd_per_hour: price, nodes = 1, runs = 1, timeout_seconds }, timeout = timeout_seconds) {
  return cost(price, timeout, { machines: nodes, runs });
}

/** "≤ $0.75", or "free". */
export function limit(request, timeout = request.timeout_seconds) {
  return request.price_micro_usd_per_hour ? `≤ ${dollars(hold(request, timeout))}` : "free";
}

/** What a dry run foretells of the money: "$0.41 – $0.58". */
export function range({ micro_usd_low: low, micro_usd_high: high }) {
  return dollars(low) === dollars(high) ? dollars(low) : `${dollars(low)} – ${dollars(high)}`;
}

/** The same of the time. */
export function times({ seconds_low: low, seconds_high: high }) {
  return `${about(low)} – ${about(high)}`;
}

/** What a run will take and cost from its start to its end, and whether its time limit will cut it off. */
export function inAll(forecast, { timeout_seconds: limit }) {
  const { seconds_low: low, seconds_high: high, micro_usd_high: most } = forecast;
  const late = low > limit ? "that is" : high > limit ? "that may be" : "";
  const end = late && `; ${late} past its time limit of ${span(limit)}`;
  return `In all, likely: ${times(forecast)}${most ? `, ${range(forecast)}` : ""}${end}.`;
}

function about(value) {
  return value < 100 ? `${Math.round(value)} s` : span(60 * Math.round(value / 60));
}

/** What will not be done within this time limit, or with what is free of the budget; "" when nothing. */
export function tooShort({ foreseen, runs }, timeout, free) {
  if (!foreseen || foreseen.seconds_low === null) return "";
  const { seconds_low: low, seconds_high: high, micro_usd_low: least } = foreseen;
  const what = runs > 1 ? "each run" : "it";
  if (low > timeout) return `Even ${about(low)}, the least that is likely, is past the time limit: ${what} would be cut off unfinished.`;
  if (least > free) return `Even ${dollars(least)}, the least that is likely, is more than is left in the budget.`;
  return high > timeout ? `It may take ${about(high)}: then ${what} would be cut off by the time limit.` : "";
}

/** Where it runs and, where there is a choice of hardware, what an hour of that costs. */
function where(request) {
  const { place, flavor, nodes, price_micro_usd_per_hour: price } = request;
  const title = place.danger ? `${place.title}, ${place.danger}` : place.title;
  if (!flavor) return title;
  const rate = `${price ? dollarsExact(price) : "nothing"} an hour${nodes > 1 ? " each" : ""}`;
  return `${title}: ${machines(request)}, ${rate}`;
}

/** Where a job runs, short: "4 × a100-large". */
export function machines({ place, flavor, nodes = 1 }) {
  if (!flavor) return place.title;
  return `${nodes > 1 ? `${nodes} × ` : ""}${flavor}`;
}

export function often({ schedule, rhythm }) {
  return rhythm || schedule;
}

/** When a schedule runs next, at or after a Unix time; "" when nothing is known of that. */
export function next({ due = [] }, now = Date.now() / 1000) {
  const at = due.find((one) => one >= now);
  return at ? moment(at) : "";
}

/** How often a schedule runs, from when on, and when it is over. */
function repeats(request) {
  const { schedule, runs, due } = request;
  if (!schedule) return "";
  const line = schedule.startsWith("@") || !request.rhythm ? "" : ` (${schedule})`;
  const last = runs === 1 ? "" : `, the last by ${day(due.at(-1))}`;
  const dates = due.length ? `: the first on ${moment(due[0])}${last}` : "";
  return `${often(request)}${line}, ${runs === 1 ? "once" : `${runs} times`}${dates}; then it is deleted`;
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

/** Rows of facts, without what the user may change. */
export function terms(request) {
  const { place } = request;
  return [
    ["runs on", where(request)],
    ["paid by", request.namespace || place.payer],
    ["why this", request.why],
    ["steps", request.steps ? count(request.steps) : ""],
    ["repeats", repeats(request)],
    ["ends early", request.idle_seconds ? `after ${span(request.idle_seconds)} without a command` : ""],
    ["HF token", place.takes.includes("secrets") ? TOKENS[request.token] : ""],
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
export function watched({ place }) {
  return place.runs === "script";
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
