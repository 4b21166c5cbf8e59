// One tool call: a row with its name, arguments and time; the cards it showed; and on demand everything about it.

import { cardView } from "../cards.js";
import { codeBlock } from "../code.js";
import { dot, el, icon, setText } from "../dom.js";
import { args, seconds } from "../words.js";

const MARKS = { "": "running", done: "good", problem: "bad", refused: "off", stopped: "off" };

export function callRow(call, page) {
  const mark = dot("running");
  const time = el("span", { class: "faint call-time" });
  const head = el(
    "button",
    { type: "button", class: "call-head", "aria-expanded": "false", on: { click: () => toggle() } },
    mark, el("b", { class: "mono" }, call.tool), el("span", { class: "faint call-args" }, args(call.args)), time, icon("chevron"),
  );
  const said = el("pre", { class: "output said" });
  const cards = el("div", { class: "cards" });
  const trouble = el("p", { class: "error", hidden: true });
  const details = el("div", { class: "call-details", hidden: true });
  const node = el("div", { class: "call" }, head, trouble, said, cards, details);

  function toggle() {
    details.hidden = !details.hidden;
    head.setAttribute("aria-expanded", String(!details.hidden));
    if (!details.hidden) details.replaceChildren(...detailParts(call));
  }

  function update() {
    mark.className = `dot ${MARKS[call.why]}`;
    setText(time, call.why === "done" || !call.why ? duration(call) : `${call.why} · ${duration(call)}`);
    said.hidden = !call.said || call.why === "done";
    if (!said.hidden) setText(said, call.said.split("\n").slice(-6).join("\n"));
    while (cards.childElementCount < call.cards.length) {
      cards.append(cardView(call.cards[cards.childElementCount], page));
    }
    trouble.hidden = !call.message;
    setText(trouble, `${call.message} ${call.hint}`.trim());
  }

  update();
  return { node, update };
}

/** A call typed by the user stands alone in the timeline. */
export function typedCallView(item, page) {
  const row = callRow(item.call, page);
  row.node.classList.add("card");
  return row;
}

function duration(call) {
  return call.seconds === undefined ? "" : seconds(call.seconds);
}

function detailParts(call) {
  const parts = [el("p", { class: "label" }, "Arguments"), codeBlock(JSON.stringify(call.args, null, 2), "json")];
  if (call.said) parts.push(el("p", { class: "label" }, "Progress"), el("pre", { class: "output" }, call.said));
  if (call.result) parts.push(el("p", { class: "label" }, "Result"), codeBlock(pretty(call.result), "json"));
  return parts;
}

/** JSON with line breaks; what was cut for the eye is no JSON any more and stays as it is. */
function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
