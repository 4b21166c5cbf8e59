// What the user demanded, pinned: to be seen, removed and added. The list is sent whole.

import { post } from "../api.js";
import { button, el, icon, setText } from "../dom.js";
import { dollarsExact } from "../words.js";

export function pinsView(page) {
  const list = el("ul", { class: "pins" });
  const input = el("input", { type: "text", maxlength: "300", placeholder: "Pin: under $3", "aria-label": "Pin a demand" });
  const trouble = el("p", { class: "error", role: "alert", hidden: true });
  const summary = el("summary", {}, "Pinned");
  const line = el("div", { class: "pin-line" }, input, button(icon("plus"), add, { class: "icon-button", "aria-label": "Pin it" }));
  const node = el("details", { class: "fold pinned", open: true, hidden: true }, summary, list, line, trouble);

  async function save(demands) {
    trouble.hidden = true;
    try {
      await post("demands", { session: page.session, demands });
      return true;
    } catch (problem) {
      trouble.textContent = problem.words;
      trouble.hidden = false;
      return false;
    }
  }

  async function add() {
    const text = input.value.trim();
    if (!text) return;
    const read = { about: "other", rule: /^\W*(?:do not|don't|never|not?)\b/i.test(text) ? "must_not" : "must", text, value: "" };
    if (await save([...page.story.demands, read])) input.value = "";
  }

  input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.isComposing) add();
  });

  function row(demand, place) {
    const remove = async () => {
      if (await save(page.story.demands.filter((one) => one !== demand))) (list.querySelectorAll("button")[place] ?? input).focus();
    };
    return el(
      "li",
      { title: checked(demand) },
      el("span", { class: `pin-rule ${demand.rule}`, "aria-hidden": "true" }, demand.rule === "must" ? "✓" : "✗"),
      el("span", { class: "pin-text" }, el("span", { class: "visually-hidden" }, demand.rule === "must" ? "Demanded: " : "Forbidden: "), demand.text),
      button(icon("close"), remove, { class: "icon-button", "aria-label": `Unpin ${demand.text}` }),
    );
  }

  function update() {
    const { demands } = page.story;
    node.hidden = !page.session;
    setText(summary, demands.length ? `Pinned (${demands.length})` : "Pinned");
    list.replaceChildren(...demands.map(row));
  }

  return { node, update };
}

function checked({ about, value }) {
  if (!value) return "Told to the agent in your words; no code can check it.";
  return `Checked: ${about.replace("_", " ")} ${about === "budget" ? dollarsExact(Number(value)) : value}`;
}
