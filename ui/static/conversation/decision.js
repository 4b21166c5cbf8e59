// What every card that needs an answer is made of: its head, its facts, and the buttons that send the answer once.

import { post } from "../api.js";
import { button, el, icon } from "../dom.js";

export function head(title, chip, price = "") {
  return el(
    "div",
    { class: "approval-head" },
    el("span", { class: "badge" }, icon("pause")), el("b", {}, title), el("span", { class: "chip" }, chip), el("span", { class: "price" }, price),
  );
}

/** rows: [name, value]; those without a value are left out. */
export function facts(rows) {
  return el("dl", { class: "facts" }, rows.filter(([, value]) => value).map(([name, value]) => [el("dt", {}, name), el("dd", {}, value)]));
}

/** Only what differs: an untouched card is agreed to as it was asked. */
export function changed(request, values) {
  return Object.fromEntries(
    Object.entries(values).filter(([name, value]) => JSON.stringify(value) !== JSON.stringify(request[name])),
  );
}

/** yes: a text, or a node whose text may change. more: what a yes says beside the edits. */
export function decision(item, page, { yes = "Approve", no = "Reject", danger = false, why = true, edits = () => ({}), more = () => ({}) }) {
  const reason = el("textarea", { hidden: !why, rows: "2", placeholder: "Optional: tell the agent what to change", "aria-label": "Reason" });
  const trouble = el("p", { class: "error", role: "alert", hidden: true });
  const approve = button(yes, () => say("yes", { edits: edits(), ...more() }), { class: danger ? "danger" : "primary" });
  const reject = button(no, () => say("no", {}), { class: "secondary" });
  const say = answering(item, page, [approve, reject], trouble, () => ({ reason: reason.value.trim() }));
  return [reason, trouble, el("div", { class: "actions" }, approve, reject)];
}

/** Sends an answer once. The event that comes back stamps the card; a refusal gives the buttons back, with the reason. */
export function answering(item, page, buttons, trouble, more) {
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
