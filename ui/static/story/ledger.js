// A session's money as its events tell it, in micro-dollars: spent, held and the limits. The server's ledger, once more.

const CENT = 10_000;
const THINKING_LIMIT = 500_000; // until a budget_set says otherwise, as the server reckons

export class Money {
  constructor() {
    this.thinking = { limit: THINKING_LIMIT, spent: 0, held: 0, source: "" };
    this.compute = { limit: 0, spent: 0, held: 0, source: "" };
    this.total = null; // the limit for both together
    this.holds = new Map(); // hold -> {of, microUsd, settled, held, source, bill}; of compute they stay, for their jobs
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
    this.holds.set(hold, { of, microUsd, settled: false, held: microUsd, source: "" });
    this[of].held += microUsd;
  }

  /** What the hold became: settled at a cost, or given back with null. Returns it, or null if there is none open. */
  ended(hold, microUsd, source = "") {
    const known = this.holds.get(hold);
    if (!known || known.settled) return null;
    this[known.of].held -= known.microUsd;
    this[known.of].spent += microUsd ?? 0;
    this.holds.delete(hold);
    if (microUsd !== null) this[known.of].source = source;
    if (microUsd !== null && known.of === "compute") this.holds.set(hold, { ...known, microUsd, settled: true, source });
    this.#tellSource();
    return known;
  }

  /** The bill of a job that was settled: it counts instead. null: there is none, and message says why. */
  billed(hold, microUsd, message) {
    const known = this.holds.get(hold);
    if (!known?.settled || known.bill) return;
    known.bill = { microUsd, message };
    this.compute.spent = Math.max(0, this.compute.spent + (microUsd ?? known.microUsd) - known.microUsd);
    this.#tellSource();
  }

  /** Where the sum of compute comes from, once a bill is known of any of it. */
  #tellSource() {
    const paid = [...this.holds.values()].filter((one) => one.of === "compute" && one.settled && one.microUsd);
    const billed = paid.filter((one) => Number.isFinite(one.bill?.microUsd)).length;
    if (billed) this.compute.source = billed < paid.length ? "partly billing" : "billing";
  }

  corrected(of, microUsd, source) {
    this[of].spent = Math.max(0, this[of].spent + microUsd);
    this[of].source = source;
  }

  /** Spent and held, of both. */
  get used() {
    return this.thinking.spent + this.thinking.held + this.compute.spent + this.compute.held;
  }

  free(of) {
    const { limit, spent, held } = this[of];
    const own = limit - spent - held;
    return this.total === null ? own : Math.min(own, this.total - this.used);
  }

  /** The lowest limit for compute, in whole cents, under which so much more may be reserved; null: it fits already. */
  limitFor(microUsd) {
    if (!microUsd || microUsd <= this.free("compute")) return null;
    const inTheWay = this.total !== null && microUsd > this.total - this.used;
    const needed = microUsd + (inTheWay ? this.used : this.compute.spent + this.compute.held);
    return Math.ceil(needed / CENT) * CENT;
  }
}
