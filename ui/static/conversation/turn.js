// A turn of the conversation: the user's message that can be changed, its end that can be undone, and what was taken back.

import { post } from "../api.js";
import { button, el, icon } from "../dom.js";

export function userView({ run, text, files }, page) {
  const said = el("div", { class: "said" }, text);
  const bubble = el("div", { class: "bubble" }, said);
  if (files.length) bubble.append(el("div", { class: "chips" }, files.map((name) => el("span", { class: "chip" }, icon("file"), name))));
  const node = el("div", { class: "user" }, bubble);
  if (!run) return { node, update() {} };
  const pencil = button(icon("pencil"), edit, { class: "icon-button edit", "aria-label": "Edit this message", title: "Edit: what came after is taken back" });
  node.prepend(pencil);

  function edit() {
    const field = el("textarea", { "aria-label": "Your message, changed", rows: "3", value: text });
    const trouble = el("p", { class: "error", role: "alert", hidden: true });
    const save = button("Send", () => send(), { class: "primary" });
    const form = el("div", { class: "edit-form" }, field, trouble, el("div", { class: "edit-acts" }, button("Cancel", done, { class: "secondary" }), save));

    function done() {
      form.replaceWith(said);
      pencil.hidden = false;
      pencil.focus();
    }

    async function send() {
      trouble.hidden = true;
      save.disabled = true;
      try {
        await post("send", { session: page.session, text: field.value, files, replace: run });
        done();
      } catch (problem) {
        trouble.textContent = problem.words;
        trouble.hidden = false;
      } finally {
        save.disabled = false;
      }
    }

    field.addEventListener("keydown", (event) => {
      if (event.key === "Escape") {
        event.stopPropagation();
        done();
      }
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      send();
    });
    pencil.hidden = true;
    said.replaceWith(form);
    field.focus();
  }

  return { node, update() {} };
}

/** "Undo", at the end of the last turn only. */
export function undoButton(item, page) {
  const trouble = el("span", { class: "error", role: "alert", hidden: true });
  const act = button([icon("undo"), "Undo"], undo, { class: "link undo", title: "Take back this turn. Jobs go on, and money stays spent." });
  const node = el("span", { class: "undo-place" }, act, trouble);

  async function undo() {
    const said = page.story.items.findLast((one) => one.type === "user" && !one.takenBack);
    trouble.hidden = true;
    act.disabled = true;
    try {
      await post("undo", { session: page.session });
      if (said) page.acts.refill(said.text);
    } catch (problem) {
      trouble.textContent = problem.words;
      trouble.hidden = false;
    } finally {
      act.disabled = false;
    }
  }

  const update = () => {
    node.hidden = page.story.end !== item;
  };
  update();
  return { node, update };
}

/** What was taken back, folded where it stood. */
export function branchView({ taken }, page, views) {
  const first = taken.find((item) => item.type === "user");
  const nodes = taken.map((item) => views.get(item.key)?.node).filter((node) => node?.parentElement);
  const words = first ? `: “${first.text.slice(0, 80)}${first.text.length > 80 ? "…" : ""}”` : "";
  const node = el("details", { class: "fold branch" }, el("summary", {}, `Taken back${words}`));
  const inside = el("div", { class: "branch-inside" });
  if (nodes.length) nodes[0].before(node);
  inside.append(...nodes);
  for (const pencil of inside.querySelectorAll(".edit")) pencil.remove();
  node.append(inside);
  return { node, update() {}, placed: nodes.length > 0 };
}
