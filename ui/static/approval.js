// What needs the user's word: an inline card that says what, where, for how long and what it costs at most.
// The card is made once, so that a draft survives everything that happens around it; the answer stamps it.

import { post } from "./api.js";
import { codeBlock } from "./code.js";
import { button, dot, el, fold, icon } from "./dom.js";
import { dollars, plural, span } from "./words.js";

export function approvalView(item, page) {
  const node = el("section", { class: "card approval", tabindex: "-1" });
  let stamped = false;

  function update() {
    if (item.answer && !stamped) {
      stamped = true;
      const focused = node.contains(document.activeElement);
      node.classList.remove("pending");
      node.setAttribute("aria-label", "Answered");
      node.replaceChildren(...answeredParts(item));
      if (focused) node.focus();
    }
  }

  if (!item.answer) {
    node.classList.add("pending");
    node.setAttribute("aria-label", "Needs your answer");
    node.append(...ASKING[item.asked.kind](item, page));
  }
  update();
  return { node, update };
}

const ASKING = { spend: askSpend, delete: askDelete, question: askQuestion, raise_cap: askCap, go_on: askGoOn };

function head(title, chip, price = "") {
  return el(
    "div",
    { class: "approval-head" },
    el("span", { class: "badge" }, icon("pause")), el("b", {}, title), el("span", { class: "chip" }, chip), el("span", { class: "price" }, price),
  );
}

function facts(rows) {
  return el("dl", { class: "facts" }, rows.filter(([, value]) => value).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

function where(request) {
  return request.where === "here" ? "this machine, without a fence around it" : `Hugging Face Jobs, ${request.flavor}`;
}

/** The most it can cost: price times time limit, rounded up to a whole micro-dollar, as the server reckons it. */
function hold(request, timeout) {
  return Math.ceil((request.price_micro_usd_per_hour * timeout) / 3600);
}

function rate(request) {
  return request.price_micro_usd_per_hour ? ` (${dollars(request.price_micro_usd_per_hour)}/h)` : "";
}

function limit(request, timeout = request.timeout_seconds) {
  return request.price_micro_usd_per_hour ? `≤ ${dollars(hold(request, timeout))}` : "free";
}

function askSpend(item, page) {
  const request = item.asked;
  const script = el("textarea", { class: "mono", rows: Math.min(18, request.script.split("\n").length + 1), spellcheck: "false", "aria-label": "Script", value: request.script });
  const needs = el("textarea", { class: "mono", rows: Math.max(1, Math.min(6, request.dependencies.length)), spellcheck: "false", "aria-label": "Dependencies, one per line", value: request.dependencies.join("\n") });
  const minutes = el("input", { type: "number", min: "1", step: "any", "aria-label": "Time limit in minutes", value: String(+(request.timeout_seconds / 60).toFixed(2)) });
  const top = head(request.title, "needs your approval", limit(request));
  const cost = el("dd", {});
  const timeout = () => Math.round(Number(minutes.value) * 60);
  const reckon = () => {
    const most = hold(request, timeout());
    const left = page.story.money.free("compute");
    cost.textContent = request.price_micro_usd_per_hour ? `${dollars(most)}, of ${dollars(Math.max(left, 0))} left in the budget` : "nothing";
    cost.classList.toggle("error", most > left);
    top.lastChild.textContent = limit(request, timeout());
  };
  minutes.addEventListener("input", reckon);
  reckon();
  const list = facts([
    ["where", where(request) + rate(request)],
    ["secrets", request.secrets.join(", ")],
    ["variables", Object.entries(request.env).map(([name, value]) => `${name}=${value}`).join("\n")],
  ]);
  list.append(
    el("dt", {}, "time limit"), el("dd", {}, minutes, " min"),
    el("dt", {}, "costs at most"), cost,
    el("dt", {}, "dependencies"), el("dd", {}, needs),
  );
  const lines = plural(request.script.split("\n").length, "line");
  const edits = () => changed(request, {
    script: script.value,
    timeout_seconds: timeout(),
    dependencies: needs.value.split("\n").map((line) => line.trim()).filter(Boolean),
  });
  return [top, list, fold(`Script, ${lines}: read it, change it`, () => script), ...decision(item, page, { edits })];
}

function askDelete(item, page) {
  const warning = el("p", {}, "The repository ", el("b", { class: "mono" }, item.asked.repo), " and its whole history go. It cannot be undone.");
  return [head("Delete a repository", "needs your approval"), warning, ...decision(item, page, { yes: "Delete", danger: true })];
}

function askCap(item, page) {
  const { cap_micro_usd: cap, spent_micro_usd: spent, needed_micro_usd: needed, model } = item.asked;
  const limit = el("input", { type: "number", min: "0", step: "any", "aria-label": "New limit in dollars", value: String(cap / 1e6) });
  const list = facts([["thinking has cost", dollars(spent)], ["the next call costs at most", dollars(needed)], ["model", model]]);
  list.append(el("dt", {}, "new limit"), el("dd", {}, "$ ", limit));
  const edits = () => changed(item.asked, { cap_micro_usd: Math.round(Number(limit.value) * 1e6) });
  return [head("The limit for thinking is reached", "needs your answer"), list, ...decision(item, page, { yes: "Go on", no: "Stop here", why: false, edits })];
}

function askGoOn(item, page) {
  const { steps, more } = item.asked;
  const number = el("input", { type: "number", min: "1", max: "1000", step: "1", "aria-label": "How many steps more", value: String(more) });
  const text = el("p", {}, `All ${steps} steps of this run are used up. Go on for `, number, " more?");
  const edits = () => changed(item.asked, { more: Number(number.value) });
  return [head("The steps are used up", "needs your answer"), text, ...decision(item, page, { yes: "Go on", no: "Stop here", why: false, edits })];
}

/** Only what differs: an untouched card is agreed to as it was asked. */
function changed(request, values) {
  return Object.fromEntries(
    Object.entries(values).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(request[name])),
  );
}

function decision(item, page, { yes = "Approve", no = "Reject", danger = false, why = true, edits = () => ({}) }) {
  const reason = el("textarea", { hidden: !why, rows: "2", placeholder: "Optional: tell the agent what to change", "aria-label": "Reason" });
  const trouble = el("p", { class: "error", role: "alert", hidden: true });
  const approve = button(yes, () => say("yes", { edits: edits() }), { class: danger ? "danger" : "primary" });
  const reject = button(no, () => say("no", {}), { class: "secondary" });
  const say = answering(item, page, [approve, reject], trouble, () => ({ reason: reason.value.trim() }));
  return [reason, trouble, el("div", { class: "actions" }, approve, reject)];
}

function askQuestion(item, page) {
  const { question, options } = item.asked;
  const text = el("textarea", { rows: "1", placeholder: options.length ? "Or say it in your words" : "Your answer", "aria-label": "Your answer" });
  const trouble = el("p", { class: "error", role: "alert", hidden: true });
  const choices = options.map((option) => button(option, () => say("yes", { text: option }), { class: "secondary" }));
  const send = button("Answer", () => text.value.trim() && say("yes", { text: text.value.trim() }), { class: "primary" });
  const skip = button("Skip", () => say("no", {}), { class: "secondary" });
  const say = answering(item, page, [...choices, send, skip], trouble, () => ({}));
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send.click();
  });
  return [
    head("A question", "needs your answer"), el("p", { class: "question" }, question),
    choices.length ? el("div", { class: "actions options" }, choices) : null,
    text, trouble, el("div", { class: "actions" }, send, skip),
  ].filter(Boolean);
}

/** Sends an answer once. The event that comes back stamps the card; a refusal gives the buttons back, with the reason. */
function answering(item, page, buttons, trouble, more) {
  return async (verdict, said) => {
    for (const one of buttons) one.disabled = true;
    trouble.hidden = true;
    try {
      await post("answer", { session: page.session, approval: item.approval, verdict, ...more(), ...said });
    } catch (problem) {
      trouble.textContent = problem.words ?? String(problem);
      trouble.hidden = false;
      for (const one of buttons) one.disabled = false;
    }
  };
}

const BY = { user: "you", policy: "your budget's rule", stop: "Stop" };

const TITLES = {
  delete: ({ repo }) => `Delete ${repo}`,
  raise_cap: ({ cap_micro_usd: cap }) => `A limit of ${dollars(cap)} for thinking`,
  go_on: ({ more }) => `Go on for ${plural(more, "step")}`,
};

function answeredParts({ asked, agreed, answer, by }) {
  const yes = answer.verdict === "yes";
  if (asked.kind === "question") {
    const reply = yes ? answer.text : `Not answered${answer.reason ? `: ${answer.reason}` : ""}`;
    return [el("div", { class: "approval-head" }, dot(yes ? "good" : "off"), el("b", {}, asked.question)), el("p", { class: "reply" }, reply)];
  }
  const stamp = `${yes ? "approved" : "rejected"} by ${BY[by]}`;
  const title = TITLES[asked.kind]?.(agreed) ?? agreed.title;
  const parts = [
    el(
      "div",
      { class: "approval-head" },
      dot(yes ? "good" : "off"), el("b", {}, title), el("span", { class: "chip" }, stamp),
      el("span", { class: "price" }, asked.kind === "spend" ? limit(agreed) : ""),
    ),
  ];
  if (answer.reason) parts.push(el("p", { class: "reply" }, `“${answer.reason}”`));
  if (asked.kind === "spend") {
    parts.push(facts([
      ["where", where(agreed) + rate(agreed)], ["time limit", span(agreed.timeout_seconds)],
      ["secrets", agreed.secrets.join(", ")], ["dependencies", agreed.dependencies.join(", ")], ["you changed", edited(asked, agreed)],
    ]));
    parts.push(fold(`Script, ${plural(agreed.script.split("\n").length, "line")}`, () => codeBlock(agreed.script)));
  }
  return parts;
}

/** What the user changed before agreeing, in words; "" when nothing. */
function edited(asked, agreed) {
  const told = [];
  if (asked.script !== agreed.script) told.push(`the script (${lineChanges(asked.script, agreed.script)})`);
  if (asked.timeout_seconds !== agreed.timeout_seconds) told.push(`the time limit from ${span(asked.timeout_seconds)} to ${span(agreed.timeout_seconds)}`);
  if (String(asked.dependencies) !== String(agreed.dependencies)) told.push("the dependencies");
  return told.join(", ");
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
