// What thinks: a button with the model's name and price, and behind it the list to choose from and who pays.

import { get, post } from "../api.js";
import { button, el, icon, setText } from "../dom.js";
import { dollars, dollarsExact, windowSize } from "../words.js";

const PER_SESSION = "For 25 steps: 500,000 tokens read and 40,000 written, none of them cached";

export class Models {
  constructor(place) {
    this.session = null;
    this.wanted = null; // chosen before there was a session
    this.asked = 0;
    this.name = el("span", { class: "model-name" });
    this.price = el("span", { class: "faint" });
    this.open = el(
      "button",
      { type: "button", class: "model-button", "aria-haspopup": "dialog", "aria-expanded": "false", on: { click: () => (this.list.hidden ? this.#show() : this.#hide()) } },
      icon("cube"), this.name, this.price,
    );
    this.list = el("div", { class: "model-list", role: "dialog", "aria-label": "Choose a model", tabindex: "-1", hidden: true });
    this.node = el("div", { class: "model-foot", hidden: true }, this.open, this.list);
    place.append(this.node);
    this.list.addEventListener("keydown", (event) => this.#key(event));
    document.addEventListener("pointerdown", (event) => this.list.hidden || this.node.contains(event.target) || this.#hide());
  }

  /** Another session is shown, or, with null, none yet. */
  begin(session) {
    this.session = session;
    this.wanted = null;
    this.#hide();
    this.#load("current");
  }

  /** Tell a session that was just made what was chosen for it. Fails with a Problem, and may be tried again. */
  async settle(session) {
    if (!this.wanted) return;
    this.#now(await post("model", { session, ...this.wanted }));
    this.wanted = null;
  }

  /** part: "current" for the button alone, "all" for the list, too. */
  async #load(part) {
    const asked = ++this.asked;
    let told;
    try {
      told = await get(`models?session=${encodeURIComponent(this.session ?? "")}&part=${part}`);
    } catch (problem) {
      if (asked !== this.asked) return;
      if (!this.list.hidden) this.list.replaceChildren(el("p", { class: "error", role: "alert" }, problem.words));
      return; // where nothing can be chosen there is no button
    }
    if (asked !== this.asked) return;
    if (part === "all") this.told = told;
    this.node.hidden = false;
    if (!this.wanted) this.#now(told.current);
    if (this.told && !this.list.hidden) this.#fill();
  }

  /** current: what the server says is thought with; null when it cannot be told. */
  #now(current) {
    this.current = current;
    setText(this.name, current ? short(current.id) : "Choose a model");
    setText(this.price, current ? perMillion(current) : "");
    this.open.title = current ? [current.id, perSession(current), current.note].filter(Boolean).join("\n") : "";
    this.open.setAttribute("aria-label", current ? `Model: ${current.id}, ${perMillion(current)}. Change it` : "Choose a model");
  }

  #show() {
    this.list.hidden = false;
    this.open.setAttribute("aria-expanded", "true");
    if (this.told) this.#fill();
    else this.list.replaceChildren(el("p", { class: "faint" }, "Reading the list of models…"));
    this.list.focus();
    this.#load("all");
  }

  #hide() {
    const inside = this.list.contains(document.activeElement);
    this.list.hidden = true;
    this.open.setAttribute("aria-expanded", "false");
    if (inside) this.open.focus();
  }

  #fill() {
    const { told } = this;
    const typed = this.typed?.value ?? "";
    const focused = this.list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    this.trouble = el("p", { class: "error", role: "alert", hidden: true });
    this.list.replaceChildren(
      ...[
        this.trouble,
        told.trouble ? el("p", { class: "notice warning" }, told.trouble) : null,
        ...told.presets.map((one) => this.#row({ ...one, label: one.name })),
        ...told.own.flatMap((offer) => this.#offer(offer)),
        this.#typing(typed),
        this.#payers(),
        el("p", { class: "faint model-legend" }, "In each line: how much it reads at once, dollars per million tokens read / written, and what ", el("span", { title: PER_SESSION }, "a session of 25 steps"), " costs."),
      ].filter(Boolean),
    );
    if (focused) this.list.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus(); // what is drawn anew loses it
  }

  #row(one) {
    const here = this.#isHere(one);
    const facts = factsOf(one);
    return el(
      "button",
      {
        type: "button", class: "model-row", "data-key": `${one.base_url ?? one.label ?? ""} ${one.id}`, "aria-pressed": String(here), disabled: one.available === false,
        on: { click: () => this.#choose({ model: one.id, base_url: one.base_url ?? "", bill_to: this.#payer() }) },
      },
      el("b", { class: one.label && "model-preset" }, one.label ?? short(one.id)),
      el("span", { class: "model-id" }, one.label ? one.id : null),
      el("span", { class: "faint model-facts" }, one.available === false ? one.note : facts),
      one.available !== false && one.note ? el("span", { class: "faint model-facts" }, one.note) : null,
    );
  }

  #isHere({ id, provider, base_url = "" }) {
    const now = this.wanted ? { id: this.wanted.model, base_url: this.wanted.base_url } : this.current;
    if (!now || now.base_url !== base_url) return false;
    return now.id === id || now.id === `${id.split(":")[0]}:${provider}`;
  }

  #offer({ name, base_url, models }) {
    return [
      el("h2", { class: "label" }, `On this machine: ${name}`),
      ...models.map((one) => this.#row({ ...one, base_url, in: 0, out: 0, note: one.window ? "" : ownWindow(one) })),
    ];
  }

  /** Any other model of the router, by its id. */
  #typing(typed) {
    const price = el("span", { class: "faint" });
    const ids = el("datalist", { id: "ml-model-ids" }, this.told.models.map(({ id }) => el("option", { value: id })));
    this.typed = el("input", { type: "text", "data-key": "typed", list: "ml-model-ids", maxlength: "200", spellcheck: "false", autocomplete: "off", placeholder: "org/model or org/model:provider", "aria-label": "Id of another model", value: typed });
    const use = () => this.typed.value.trim() && this.#choose({ model: this.typed.value.trim(), base_url: "", bill_to: this.#payer() });
    const look = () => {
      const found = this.told.models.find(({ id }) => id.toLowerCase() === this.typed.value.trim().toLowerCase());
      setText(price, found ? `${found.provider} · ${factsOf(found)}` : "");
    };
    this.typed.addEventListener("input", look);
    this.typed.addEventListener("keydown", (event) => event.key === "Enter" && use());
    look();
    return el("div", { class: "model-typed" }, el("div", { class: "token-row" }, this.typed, button("Use", use, { class: "secondary" })), price, ids);
  }

  #payers() {
    const { payers } = this.told;
    if (payers.length < 2) return null;
    const now = this.#payer();
    return el(
      "fieldset",
      { class: "model-payers" },
      el("legend", { class: "label" }, "Who pays"),
      payers.map((one) =>
        el(
          "label",
          { title: one.note || null },
          el("input", { type: "radio", "data-key": `payer ${one.bill_to}`, name: "ml-payer", checked: one.bill_to === now, disabled: !one.available, on: { change: () => this.#pays(one.bill_to) } }),
          ` ${one.name}`, one.note && !one.available ? el("span", { class: "faint" }, `: ${one.note}`) : null,
        ),
      ),
    );
  }

  #payer() {
    return (this.wanted ?? this.current)?.bill_to ?? "";
  }

  #pays(bill_to) {
    const now = this.wanted ?? { model: this.current?.id, base_url: this.current?.base_url ?? "" };
    if (now.model) this.#choose({ model: now.model, base_url: now.base_url, bill_to }, false);
  }

  async #choose(choice, close = true) {
    this.trouble.hidden = true;
    if (this.session === null) {
      const known = this.told.presets.concat(this.told.models).find(({ id }) => id === choice.model);
      this.wanted = choice;
      this.#now({ ...(known ?? (choice.base_url ? { in: 0, out: 0 } : {})), id: choice.model, base_url: choice.base_url, bill_to: choice.bill_to });
      return close ? this.#hide() : this.#fill();
    }
    const { session } = this;
    try {
      const now = await post("model", { session, ...choice });
      if (session !== this.session) return;
      this.#now(now);
      if (close) this.#hide();
      else this.#fill();
    } catch (problem) {
      if (session !== this.session || this.list.hidden) return;
      this.#fill();
      setText(this.trouble, problem.words);
      this.trouble.hidden = false;
    }
  }

  #key(event) {
    if (event.key === "Escape") {
      event.stopPropagation();
      this.#hide();
    }
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const rows = [...this.list.querySelectorAll(".model-row:enabled")];
    if (!step || !rows.length || event.target.tagName === "INPUT") return;
    event.preventDefault();
    const at = rows.indexOf(document.activeElement);
    rows[at < 0 ? (step > 0 ? 0 : rows.length - 1) : (at + step + rows.length) % rows.length].focus();
  }
}

/** The model's own name: without who made it and who serves it. */
function short(id) {
  return id.includes("/") ? id.split("/").pop().split(":")[0] : id;
}

function factsOf(one) {
  return [one.window ? `${windowSize(one.window)} tokens` : "", perMillion(one), perSession(one)].filter(Boolean).join(" · ");
}

function perMillion(one) {
  if (one.in === 0 && one.out === 0) return "free";
  if (one.in == null || one.out == null) return "price not known";
  return `${dollarsExact(one.in)} / ${dollarsExact(one.out)}`;
}

function perSession({ estimate }) {
  return estimate ? `about ${dollars(estimate)} a session` : "";
}

function ownWindow({ most }) {
  return most ? `up to ${windowSize(most)} tokens, as far as the server is set to` : "does not say how much it reads at once";
}
