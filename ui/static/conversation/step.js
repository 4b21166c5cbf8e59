// One step of a run: a header that is always there, and a body that exists only while it is open.

import { callRow } from "./call.js";
import { codeBlock } from "../code.js";
import { dot, el, fold, icon, setText } from "../dom.js";
import { GrowingText } from "../markdown.js";
import { parted, title } from "../story/story.js";
import { count, dollars, seconds } from "../words.js";

/** A live step is open; when it is done it closes, unless the reader opened or closed it by hand. */
export function stepView(item, page) {
  const mark = dot("running");
  const name = el("b", { class: "step-title" });
  const model = el("span", { class: "faint step-model" });
  const facts = el("span", { class: "faint step-facts" });
  const bodyId = `body-${item.key}`;
  const head = el(
    "button",
    { type: "button", class: "step-head", "aria-controls": bodyId, on: { click: () => toggle() } },
    mark, el("span", { class: "faint" }, `Step ${item.n}`), name, model, facts, icon("chevron"),
  );
  const place = el("div", { class: "step-body", id: bodyId });
  const node = el("section", { class: "card step", "aria-label": `Step ${item.n}` }, head, place);
  let body = null;
  let byHand = null; // true or false once the reader chose

  const toggle = () => {
    byHand = !body;
    update();
  };

  function update() {
    const state = item.done ? (item.error ? "bad" : "good") : "running";
    mark.className = `dot ${state}`;
    setText(name, title(item));
    setText(model, item.model.split("/").at(-1));
    model.title = item.provider ? `${item.model}, served by ${item.provider}` : item.model;
    setText(facts, stepFacts(item));
    const open = byHand ?? !item.done;
    head.setAttribute("aria-expanded", String(open));
    node.classList.toggle("open", open);
    if (open && !body) {
      body = stepBody(item, page);
      place.append(body.node);
    } else if (!open && body) {
      body.node.remove();
      body = null;
    }
    body?.update();
  }

  update();
  return { node, update };
}

function stepFacts(item) {
  if (!item.done || item.seconds === undefined) return "";
  const tokens = (item.input ?? 0) + (item.output_tokens ?? 0);
  return [tokens ? `${count(tokens)} tok` : "", item.cost ? dollars(item.cost) : "", seconds(item.seconds)].filter(Boolean).join(" · ");
}

/** The parts of an open step, each drawn again only when its own text changed. */
function stepBody(item, page) {
  const retries = el("div", { class: "retries" });
  const reasoning = reasoningPart();
  const thought = new GrowingText();
  const code = codePart();
  const calls = el("div", { class: "calls" });
  const output = el("pre", { class: "output", tabindex: "0", "aria-label": "Output" });
  const outcome = el("div");
  const rows = new Map();
  const node = el("div", { class: "step-parts" }, retries, reasoning.node, thought.node, code.node, calls, output, outcome);
  let finished = false;

  function update() {
    while (retries.childElementCount < item.retries.length) {
      retries.append(retryLine(item.retries[retries.childElementCount]));
    }
    reasoning.update(item.reasoning, !item.text && !item.done);
    const reply = parted(item.text);
    if (item.code || item.done) {
      if (!finished) thought.finish(untitled(reply.thought));
      finished = true;
    } else {
      finished = false;
      thought.set(untitled(reply.thought));
    }
    code.update(item.code || reply.code, Boolean(item.code) || item.done);
    for (const call of item.calls) {
      let row = rows.get(call.id);
      if (!row) {
        row = callRow(call, page);
        rows.set(call.id, row);
        calls.append(row.node);
      }
      row.update();
    }
    output.hidden = !item.output;
    setText(output, item.output);
    if (!item.done) output.scrollTop = output.scrollHeight;
    if (item.done && !outcome.childElementCount) outcome.append(...outcomeParts(item));
  }

  return { node, update };
}

/** The thought without a first line of its own, which the header already shows. */
function untitled(thought) {
  return thought.replace(/^[^\n]{1,90}\n\s*\n/, "");
}

function outcomeParts(item) {
  const parts = [];
  if (item.error) parts.push(el("p", { class: "error", role: "note" }, item.error));
  if (item.observation) {
    parts.push(fold("What the model read next", () => el("pre", { class: "output" }, item.observation)));
  }
  return parts;
}

function retryLine({ reason, attempt, wait }) {
  return el("p", { class: "retry" }, `${reason.replace(/\.$/, "")}. Trying again in ${seconds(wait)} (attempt ${attempt}).`);
}

/** The model's reasoning, in a fold that is open while there is nothing else to see. */
function reasoningPart() {
  const text = el("div", { class: "reasoning-text" });
  const node = el("details", { class: "fold reasoning" }, el("summary", {}, "Reasoning"), text);
  let shown = "";
  let live = true;
  return {
    node,
    update(reasoning, alone) {
      node.hidden = !reasoning;
      if (live !== alone || !shown) node.open = alone;
      live = alone;
      if (!node.open && alone === false && shown === reasoning) return;
      if (reasoning.startsWith(shown)) text.append(reasoning.slice(shown.length));
      else text.textContent = reasoning;
      shown = reasoning;
    },
  };
}

/** Code as it comes in is plain and grows at its end; when it is whole it gets its colours, once. */
function codePart() {
  const live = el("code");
  const frame = el("div", { class: "code live" }, el("pre", {}, live));
  const node = el("div", {}, frame);
  let shown = "";
  let whole = false;
  return {
    node,
    update(code, complete) {
      node.hidden = !code;
      if (whole && complete && code === shown) return;
      if (complete && code) {
        node.replaceChildren(codeFold(code));
      } else {
        if (whole) node.replaceChildren(frame);
        if (code.startsWith(shown) && !whole) live.append(code.slice(shown.length));
        else live.textContent = code;
      }
      whole = complete && Boolean(code);
      shown = code;
    },
  };
}

function codeFold(code) {
  const lines = code.split("\n").length;
  const node = fold(`Code, ${lines} line${lines === 1 ? "" : "s"}`, () => codeBlock(code), { class: "fold code-fold" });
  if (lines <= 24) node.open = true;
  return node;
}

