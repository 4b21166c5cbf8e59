// The left side: new task, my sessions, the budget, the model, and the token on one's own machine.

import { post } from "./api.js";
import { button, dot, el, icon, setText } from "./dom.js";
import { pinsView } from "./pins.js";
import { ago, count, dollars } from "./words.js";

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

/** Spent and held of the budget. The sum is a button: a person may change the limit. */
function moneyView(page) {
  const sum = el("button", { type: "button", class: "sum", title: "Change the budget", on: { click: () => edit() } });
  const bar = el("progress", { class: "bar", max: "1", value: "0", "aria-label": "Budget used" });
  const tokens = el("div", { class: "faint" });
  const sandbox = el("div", { class: "faint sandbox", hidden: true });
  const trouble = el("p", { class: "error", role: "alert", hidden: true });
  const line = el("div", { class: "budget-line" }, el("span", {}, "Budget"), sum);
  const node = el("div", { class: "budget", hidden: true }, line, bar, trouble, tokens, sandbox);

  function edit() {
    const input = el("input", { type: "number", min: "0", step: "any", "aria-label": "Budget in dollars", value: String(page.story.budget / 1e6) });
    let open = true;
    const done = () => {
      if (!open) return; // taking the field away blurs it, which would take it away again
      open = false;
      input.replaceWith(sum);
    };
    input.addEventListener("keydown", async (event) => {
      if (event.key === "Escape") done();
      if (event.key !== "Enter") return;
      trouble.hidden = true;
      try {
        await post("budget", { session: page.session, usd: Number(input.value) });
        done();
      } catch (problem) {
        trouble.textContent = problem.words;
        trouble.hidden = false;
      }
    });
    input.addEventListener("blur", done, { once: true });
    sum.replaceWith(input);
    input.focus();
    input.select();
  }

  function update() {
    const { budget, spent, tokens: used, sandbox: fence } = page.story;
    const total = spent.settled + spent.held;
    node.hidden = !page.session;
    setText(sum, `${dollars(total)} / ${dollars(budget)}`);
    sum.setAttribute("aria-label", `${dollars(spent.settled)} spent and ${dollars(spent.held)} held, of ${dollars(budget)}. Change the budget`);
    bar.value = budget ? Math.min(1, total / budget) : 0;
    const held = spent.held ? ` · ${dollars(spent.held)} held` : "";
    setText(tokens, `${count(used.input + used.output)} tokens${held}`);
    sandbox.hidden = !fence;
    if (fence) {
      sandbox.replaceChildren(icon("shield"), `Sandbox: ${fence.level}`);
      sandbox.title = Object.entries(fence.facts).map(([name, value]) => `${name}: ${value}`).join("\n");
    }
  }

  return { node, update };
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
