// What thinking and compute have cost, what is held, and the limits, which a person may change.

import { post } from "../api.js";
import { el, icon, setText } from "../dom.js";
import { count, dollars, dollarsExact, source } from "../words.js";

const NAMES = { thinking: "Thinking", compute: "Compute" };

export function moneyView(page) {
  const accounts = ["thinking", "compute"].map((of) => accountView(page, of));
  const both = el("div", { class: "faint", hidden: true, title: "Whoever raises one limit above it raises this one, too." });
  const tokens = el("div", { class: "faint" });
  const sandbox = el("div", { class: "faint sandbox", hidden: true });
  const node = el("div", { class: "budget", hidden: true }, accounts.map((one) => one.node), both, tokens, sandbox);

  function update() {
    const { tokens: used, sandbox: fence } = page.story;
    node.hidden = !page.session;
    for (const one of accounts) one.update();
    const { money } = page.story;
    both.hidden = money.total === null;
    if (money.total !== null) setText(both, `Both together: ${dollars(money.used)} / ${dollarsExact(money.total)}`);
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
  const facts = el("div", { class: "faint", hidden: true });
  const trouble = el("p", { class: "error", role: "alert", hidden: true });
  const node = el("div", { class: "account" }, el("div", { class: "budget-line" }, label, sum), bar, facts, trouble);

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
    const { limit, spent, held, source: from } = page.story.money[of];
    setText(label, name);
    const more = [held ? `${dollars(held)} held` : "", from.endsWith("billing") ? source(from) : ""].filter(Boolean);
    setText(facts, more.join(" · "));
    facts.hidden = !more.length;
    setText(sum, `${dollars(spent + held)} / ${dollarsExact(limit)}`);
    const kept = held ? `, ${dollars(held)} of it held` : "";
    sum.setAttribute("aria-label", `${name}: ${dollars(spent + held)} of ${dollarsExact(limit)}${kept}. Change the limit`);
    const where = from ? ` (${source(from)})` : "";
    sum.title = `${dollars(spent)} spent${where}${held ? `, ${dollars(held)} held` : ""}. Change the limit`;
    bar.value = limit ? Math.min(1, (spent + held) / limit) : 0;
  }

  return { node, update };
}
