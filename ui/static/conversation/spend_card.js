// The card that asks for hardware: who pays, for what, for how long, the most it can cost and what it probably will.

import { codeBlock } from "../code.js";
import { changed, decision, facts, head } from "./decision.js";
import { el, fold, setText } from "../dom.js";
import { ALARMS, edited, hold, limit, lines, range, times, terms, tooShort, watched, whole } from "../spend.js";
import { dollars, dollarsExact, dollarsFree, span } from "../words.js";

const LONGEST = 7 * 24 * 60; // minutes

/** live: takes what must be done again when the money changes. */
export function askSpend(item, page, live) {
  const request = whole(item.asked);
  const top = head(request.title, "needs your approval", limit(request));
  const form = request.place.runs === "machine" ? fixed(request) : editable(request);
  const time = timeField(request);
  const costs = costView(request, page);
  const start = el("span", {});
  let raised = null; // the limit that the button names, and its click sets
  const reckon = () => {
    costs.update(time.seconds());
    raised = time.valid() ? page.story.money.limitFor(hold(request, time.seconds())) : null;
    setText(start, raised === null ? "Approve" : `Raise the budget to ${dollars(raised)} and start`);
    setText(top.lastChild, time.valid() ? limit(request, time.seconds()) : "");
  };
  time.input.addEventListener("input", reckon);
  live.push(reckon);
  reckon();
  const list = facts(terms(request));
  list.append(
    el("dt", {}, request.schedule ? "limit of each run" : "time limit"), el("dd", {}, time.input, time.unit),
    ...form.rows,
  );
  const edits = () => changed(request, { timeout_seconds: time.seconds(), ...form.values() });
  const more = () => (raised === null ? {} : { budget_micro_usd: raised });
  return [top, costs.node, ownToken(request), list, form.script, ...decision(item, page, { yes: start, edits, more })].filter(Boolean);
}

/** The whole of what the user holds goes to whoever wrote the script. */
function ownToken({ token }) {
  if (token !== "own") return null;
  return el("p", { class: "notice warning" }, el("b", {}, "It gets your own Hugging Face token. "), "Everything in it, packages included, can act as you there.");
}

function timeField({ timeout_seconds }) {
  const input = el("input", { type: "number", min: "1", max: String(LONGEST), step: "any", required: true, "aria-label": "Time limit in minutes", value: String(+(timeout_seconds / 60).toFixed(2)) });
  const unit = el("span", {});
  const seconds = () => Math.round(Number(input.value) * 60);
  const valid = () => seconds() > 0 && Number(input.value) <= LONGEST;
  const tell = () => setText(unit, valid() && seconds() >= 7200 ? ` min (${span(seconds())})` : " min");
  input.addEventListener("input", tell);
  tell();
  return { input, unit, seconds, valid };
}

/** At most and probably, side by side; at most is also what the budget must hold. Below, what will not be done in time. */
function costView(request, page) {
  const priced = request.price_micro_usd_per_hour > 0;
  const { foreseen } = request;
  if (!priced && !foreseen) return { node: null, update() {} };
  const most = el("b", {});
  const left = el("span", { class: "faint" });
  const short = el("p", { class: "notice warning", role: "status", hidden: true });
  const node = el(
    "div",
    { class: "costs" },
    priced ? el("div", {}, el("span", { class: "faint" }, "costs at most"), most, left) : null,
    el("div", {}, likely(request).map((part, index) => el(index === 1 ? "b" : "span", { class: index === 1 ? "" : "faint" }, part))),
    foreseen ? short : null,
  );

  function update(timeout) {
    const sum = hold(request, timeout);
    const free = page.story.money.free("compute");
    setText(most, sum > 0 ? dollars(sum) : "–");
    const missing = sum > free ? `: ${dollars(sum - free)} is missing` : "";
    setText(left, `of ${dollarsFree(Math.max(free, 0))} left in the budget${missing}`);
    most.classList.toggle("error", sum > free);
    setText(short, tooShort(request, timeout, free));
    short.hidden = !short.textContent;
  }

  return { node, update };
}

/** [what, how much, from where] of what it will probably take. */
function likely({ foreseen, likely_micro_usd: micro, price_micro_usd_per_hour: price }) {
  if (foreseen && foreseen.seconds_low !== null) {
    return price ? ["will likely cost", range(foreseen), foreseen.words] : ["will likely take", times(foreseen), foreseen.words];
  }
  const elsewhere = foreseen ? foreseen.words : "";
  if (micro === null) return [price ? "will probably cost" : "will likely take", "?", elsewhere || "no estimate was made"];
  return ["will probably cost", dollars(micro), `as the agent expects${elsewhere ? `; ${elsewhere}` : ""}`];
}

/** What of a job the user may change: script, dependencies, what an alarm does. */
function editable(request) {
  const script = el("textarea", { class: "mono", rows: Math.min(18, request.script.split("\n").length + 1), spellcheck: "false", "aria-label": "Script", value: request.script });
  const needs = el("textarea", { class: "mono", rows: Math.max(1, Math.min(6, request.dependencies.length)), spellcheck: "false", "aria-label": "Dependencies, one per line", value: request.dependencies.join("\n") });
  const choices = Object.entries(ALARMS).map(([value, words]) => el("option", { value, selected: value === request.on_alarm }, words));
  const alarm = el("select", { "aria-label": "If the training goes wrong" }, choices);
  const rows = [el("dt", {}, "dependencies"), el("dd", {}, needs)];
  if (watched(request)) rows.push(el("dt", {}, "if the training goes wrong"), el("dd", {}, alarm));
  const values = () => ({
    script: script.value,
    dependencies: needs.value.split("\n").map((line) => line.trim()).filter(Boolean),
    on_alarm: alarm.value,
  });
  return { rows, values, script: fold(`Script, ${lines(request.script)}: read it, change it`, () => script) };
}

/** A machine that is held open runs more than what it is asked for with, so that there is nothing to change but its time. */
function fixed(request) {
  const more = el("p", { class: "notice" }, request.place.warning);
  const script = el("div", { class: "first-command" }, request.script ? codeBlock(request.script, "bash") : null, more);
  return { rows: [], values: () => ({}), script };
}

function probably({ foreseen, likely_micro_usd: micro }) {
  if (foreseen && foreseen.seconds_low !== null) return `, likely ${range(foreseen)}`;
  return micro === null ? "" : `, probably ${dollars(micro)}`;
}

/** What was agreed to, or refused, below the head of the answered card. */
export function answeredSpend({ asked, agreed, answer, raisedFrom }) {
  const request = whole(agreed);
  const price = request.price_micro_usd_per_hour;
  const list = facts([
    ...terms(request),
    ["time limit", span(request.timeout_seconds)],
    ["costs", price ? `at most ${dollars(hold(request))}${probably(request)}` : ""],
    ["budget", raisedFrom === null ? "" : `raised by you from ${dollarsExact(raisedFrom)} to ${dollarsExact(answer.budget_micro_usd)}`],
    ["foreseen", request.foreseen?.words],
    ["dependencies", request.dependencies.join(", ")],
    ["if the training goes wrong", watched(request) ? ALARMS[request.on_alarm] : ""],
    ["you changed", edited(whole(asked), request)],
  ]);
  return [list, request.script ? fold(`Script, ${lines(request.script)}`, () => codeBlock(request.script)) : null].filter(Boolean);
}
