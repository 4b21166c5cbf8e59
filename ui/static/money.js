// A session's money as its events tell it, in micro-dollars, and the view of it: what thinking and compute have cost,
// what is held, and the limits, which a person may change.

import { post } from "./api.js";
import { el, icon, setText } from "./dom.js";
import { count, dollars } from "./words.js";

const THINKING_LIMIT = 500_000; // until a budget_set says otherwise, as the server reckons
const NAMES = { thinking: "Thinking", compute: "Compute" };

export class Money {
  constructor() {
    this.thinking = { limit: THINKING_LIMIT, spent: 0, held: 0 };
    this.compute = { limit: 0, spent: 0, held: 0 };
    this.total = null; // the limit for both together
    this.holds = new Map(); // hold -> {of, microUsd, settled}
  }

  limited(of, microUsd) {
    if (of === "both") this.thinking.limit = this.compute.limit = this.total = microUsd;
    else {
      this[of].limit = microUsd;
      if (this.total !== null) this.total = Math.max(this.total, microUsd);
    }
  }

  reserved(hold, of, microUsd) {
    if (this.holds.get(hold)?.settled === false) return;
    this.holds.set(hold, { of, microUsd, settled: false });
    this[of].held += microUsd;
  }

  /** What the hold became: settled at a cost, or given back with null. Returns it, or null if there is none open. */
  ended(hold, microUsd) {
    const known = this.holds.get(hold);
    if (!known || known.settled) return null;
    this[known.of].held -= known.microUsd;
    this[known.of].spent += microUsd ?? 0;
    this.holds.delete(hold);
    if (microUsd !== null && known.of === "compute") this.holds.set(hold, { of: known.of, microUsd, settled: true });
    return known;
  }

  corrected(of, microUsd) {
    this[of].spent = Math.max(0, this[of].spent + microUsd);
  }

  free(of) {
    const { limit, spent, held } = this[of];
    const own = limit - spent - held;
    if (this.total === null) return own;
    return Math.min(own, this.total - this.thinking.spent - this.thinking.held - this.compute.spent - this.compute.held);
  }
}

export function moneyView(page) {
  const accounts = ["thinking", "compute"].map((of) => accountView(page, of));
  const tokens = el("div", { class: "faint" });
  const sandbox = el("div", { class: "faint sandbox", hidden: true });
  const node = el("div", { class: "budget", hidden: true }, accounts.map((one) => one.node), tokens, sandbox);

  function update() {
    const { tokens: used, sandbox: fence } = page.story;
    node.hidden = !page.session;
    for (const one of accounts) one.update();
    setText(tokens, `${count(used.input + used.output)} tokens`);
    sandbox.hidden = !fence;
    if (fence) {
      sandbox.replaceChildren(icon("shield"), `Sandbox: ${fence.level}`);
      sandbox.title = Object.entries(fence.facts).map(([name, value]) => `${name}: ${value}`).join("\n");
    }
  }

  return { node, update };
}

/** Spent and held of one limit. The sum is a button: a person may change the limit. */
function accountView(page, of) {
  const name = NAMES[of];
  const sum = el("button", { type: "button", class: "sum", title: `Change the limit for ${of}`, on: { click: () => edit() } });
  const bar = el("progress", { class: "bar", max: "1", value: "0", "aria-label": `${name}: limit used` });
  const label = el("span", {});
  const trouble = el("p", { class: "error", role: "alert", hidden: true });
  const node = el("div", { class: "account" }, el("div", { class: "budget-line" }, label, sum), bar, trouble);

  function edit() {
    const limit = page.story.money[of].limit / 1e6;
    const input = el("input", { type: "number", min: "0", step: "any", "aria-label": `Limit for ${of} in dollars`, value: String(limit) });
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
        await post("budget", { session: page.session, usd: Number(input.value), of });
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
    const { limit, spent, held } = page.story.money[of];
    setText(label, held ? `${name} · ${dollars(held)} held` : name);
    setText(sum, `${dollars(spent + held)} / ${dollars(limit)}`);
    const kept = held ? `, ${dollars(held)} of it held` : "";
    sum.setAttribute("aria-label", `${name}: ${dollars(spent + held)} of ${dollars(limit)}${kept}. Change the limit`);
    sum.title = held ? `${dollars(spent)} spent, ${dollars(held)} held. Change the limit` : "Change the limit";
    bar.value = limit ? Math.min(1, (spent + held) / limit) : 0;
  }

  return { node, update };
}
