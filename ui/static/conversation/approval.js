// What needs the user's word: an inline card that says what, where, for how long and what it costs at most.
// The card is made once, so that a draft survives everything that happens around it; the answer stamps it.

import { answering, changed, decision, facts, head } from "./decision.js";
import { button, dot, el } from "../dom.js";
import { withFormulas } from "../math/math.js";
import { limit } from "../spend.js";
import { answeredSpend, askSpend } from "./spend_card.js";
import { dollars, dollarsExact, plural } from "../words.js";

export function approvalView(item, page) {
  const node = el("section", { class: "card approval", tabindex: "-1" });
  const live = []; // what the card does again whenever something around it has changed
  let done = false;

  function update() {
    if (!item.answer) for (const act of live) act();
    if (item.answer && !done) {
      done = true;
      const focused = node.contains(document.activeElement);
      node.classList.remove("pending");
      node.setAttribute("aria-label", "Answered");
      node.replaceChildren(...REQUESTS[item.asked.kind].answered(item));
      if (focused) node.focus();
    }
  }

  if (!item.answer) {
    node.classList.add("pending");
    node.setAttribute("aria-label", "Needs your answer");
    node.append(...REQUESTS[item.asked.kind].ask(item, page, live));
  }
  update();
  return { node, update };
}

/** Each kind of request: what asks for it, and what stands there once it is answered. */
export const REQUESTS = {
  spend: { ask: askSpend, answered: (item) => [stamped(item, item.agreed.title, limit(item.agreed)), ...reason(item), ...answeredSpend(item)] },
  delete: { ask: askDelete, answered: (item) => [stamped(item, `Delete ${item.agreed.repo}`), ...reason(item)] },
  question: { ask: askQuestion, answered: answeredQuestion },
  raise_cap: { ask: askCap, answered: (item) => [stamped(item, `A limit of ${dollarsExact(item.agreed.cap_micro_usd)} for thinking`), ...reason(item)] },
  go_on: { ask: askGoOn, answered: (item) => [stamped(item, `Go on for ${plural(item.agreed.more, "step")}`), ...reason(item)] },
};

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

function askQuestion(item, page) {
  const { question, options } = item.asked;
  const text = el("textarea", { rows: "1", placeholder: options.length ? "Or say it in your words" : "Your answer", "aria-label": "Your answer" });
  const trouble = el("p", { class: "error", role: "alert", hidden: true });
  const choices = options.map((option) => button(withFormulas(option), () => say("yes", { text: option }), { class: "secondary" }));
  const send = button("Answer", () => text.value.trim() && say("yes", { text: text.value.trim() }), { class: "primary" });
  const skip = button("Skip", () => say("no", {}), { class: "secondary" });
  const say = answering(item, page, [...choices, send, skip], trouble, () => ({}));
  text.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    send.click();
  });
  return [
    head("A question", "needs your answer"), el("p", { class: "question" }, withFormulas(question)),
    choices.length ? el("div", { class: "actions options" }, choices) : null,
    text, trouble, el("div", { class: "actions" }, send, skip),
  ].filter(Boolean);
}

const BY = { user: "you", policy: "your budget's rule", stop: "Stop" };

function stamped({ answer, by }, title, price = "") {
  const yes = answer.verdict === "yes";
  return el(
    "div",
    { class: "approval-head" },
    dot(yes ? "good" : "off"), el("b", {}, title), el("span", { class: "chip" }, `${yes ? "approved" : "rejected"} by ${BY[by]}`),
    el("span", { class: "price" }, price),
  );
}

function reason({ answer }) {
  return answer.reason ? [el("p", { class: "reply" }, `“${answer.reason}”`)] : [];
}

function answeredQuestion({ asked, answer }) {
  const yes = answer.verdict === "yes";
  const reply = yes ? answer.text : `Not answered${answer.reason ? `: ${answer.reason}` : ""}`;
  return [el("div", { class: "approval-head" }, dot(yes ? "good" : "off"), el("b", {}, withFormulas(asked.question))), el("p", { class: "reply" }, reply)];
}
