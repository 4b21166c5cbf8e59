// The left side: new task, my sessions, the budget, the model, and the token on one's own machine.

import { post } from "../api.js";
import { button, dot, el, icon, setText } from "../dom.js";
import { moneyView } from "./money.js";
import { pinsView } from "./pins.js";
import { ago } from "../words.js";

const DOTS = { idle: "todo", running: "running", waiting: "wait", done: "good", failed: "bad", stopped: "off" };

export class Side {
  /** acts: {open(id), fresh(), close(), refresh()} */
  constructor(page, place, acts) {
    this.page = page;
    this.acts = acts;
    this.list = el("ul", { class: "sessions" });
    this.money = moneyView(page);
    this.foot = el("div", { class: "side-foot" });
    this.model = el("div", { class: "faint model" });
    this.token = tokenView(acts.refresh);
    place.append(
      el(
        "div",
        { class: "brand" },
        icon("flask"), el("b", {}, "ML Intern"),
        button(icon("theme"), acts.theme, { class: "icon-button theme", "aria-label": "Light or dark", title: "Light or dark" }),
        button(icon("close"), acts.close, { class: "icon-button side-close", "aria-label": "Close sessions" }),
      ),
      button([icon("plus"), "New task"], acts.fresh, { class: "secondary new-task" }),
      el("h2", { class: "label" }, "Sessions"),
      this.list,
      this.foot,
    );
    this.pins = pinsView(page);
    this.foot.append(this.pins.node, this.money.node, this.model, this.token.node);
  }

  /** facts: the answer of GET sessions. */
  show(facts) {
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.session : null;
    this.list.replaceChildren(...facts.sessions.map((one) => this.#row(one)));
    if (!facts.sessions.length) this.list.append(el("li", { class: "faint none" }, "No sessions yet"));
    if (focused) this.list.querySelector(`[data-session="${CSS.escape(focused)}"]`)?.focus();
    setText(this.model, facts.model.ready ? facts.model.model_id : "No model");
    this.model.title = facts.model.missing;
    this.token.show(facts);
  }

  draw(facets) {
    if (facets.has("money")) this.money.update();
    if (facets.has("money") || facets.has("demands")) this.pins.update();
  }

  #row({ id, title, state, at }) {
    const here = id === this.page.session;
    return el(
      "li",
      {},
      el(
        "button",
        { type: "button", class: "session", "data-session": id, "aria-current": here ? "true" : null, on: { click: () => this.acts.open(id) } },
        dot(DOTS[state] ?? "todo"),
        el("span", { class: "session-title" }, title || "New session"),
        el("span", { class: "faint session-facts" }, `${state === "waiting" ? "needs you" : state} · ${ago(at)}`),
      ),
    );
  }
}

/** On one's own machine: whose account is used, and a place to paste a token, which stays in the server's memory. */
function tokenView(refresh) {
  const input = el("input", { type: "password", autocomplete: "off", placeholder: "hf_…", "aria-label": "Hugging Face token" });
  const trouble = el("p", { class: "error", role: "alert", hidden: true });
  const name = el("span", {});
  const use = button("Use", () => send(input.value), { class: "secondary" });
  const forget = button("Forget", () => send(""), { class: "link" });
  const known = el("div", { class: "budget-line" }, name, forget);
  const form = el("details", { class: "fold" }, el("summary", {}, "Use my token"), el("div", { class: "token-row" }, input, use), trouble);
  const node = el("div", { class: "token" }, known, form);

  async function send(token) {
    trouble.hidden = true;
    try {
      await post("token", { token });
      form.open = false;
      refresh();
    } catch (problem) {
      trouble.textContent = problem.words;
      trouble.hidden = false;
    } finally {
      input.value = "";
    }
  }

  input.addEventListener("keydown", (event) => event.key === "Enter" && send(input.value));
  return {
    node,
    show(facts) {
      known.hidden = !facts.name;
      setText(name, `Signed in as ${facts.name}`);
      forget.hidden = facts.signed_in;
      form.hidden = !facts.own_machine || Boolean(facts.name);
    },
  };
}
