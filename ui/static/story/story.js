// A session folded from its events: what there is to show, and nothing of how. The end of a run is told by run_ended only.

import { Money } from "./ledger.js";
import { callEnded, JOB_TELLINGS, noteJob, notStarted, searchFor } from "./jobs.js";
import { newest } from "../words.js";

/**
 * items: in order, each {type, key, at, ...}: user, step, call (typed by the user), approval, job, notice, summary (of earlier steps), end.
 * changed: items to draw again. facets: which of "plan", "artifacts", "jobs", "code", "money", "status" changed.
 */
export class Story {
  constructor() {
    this.items = [];
    this.changed = new Set();
    this.facets = new Set();
    this.steps = new Map();
    this.calls = new Map();
    this.approvals = new Map();
    this.jobs = new Map(); // by label; by job id too once it is known
    this.plan = [];
    this.plans = []; // {seq, todos}, so that a plan that was taken back can go
    this.demands = []; // what is pinned
    this.end = null; // the item that ended the last turn
    this.seq = 0;
    this.artifacts = new Map(); // path or id -> {path, bytes, job} or {id}
    this.money = new Money();
    this.tokens = { input: 0, output: 0 };
    this.sandbox = null;
    this.run = null; // the one that is going on: {id, at}
    this.stopping = false;
    this.entries = 0;
  }

  /** Take one entry. An event of a kind we do not know changes nothing. */
  take({ seq, at, event }) {
    this.entries += 1;
    this.seq = seq;
    TELLINGS[event.kind]?.(this, event, at);
    this.facets.add("status");
  }

  add(type, key, at, facts) {
    const item = { type, key: `${type}-${key}`, at, seq: this.seq, ...facts };
    this.items.push(item);
    this.changed.add(item);
    return item;
  }

  touch(item) {
    if (item) this.changed.add(item);
  }

  /** The item a call is drawn in: its step, or itself. */
  touchCall(call) {
    this.touch(this.steps.get(call?.step) ?? call?.item);
  }

  /** Something the work produced. */
  made(name, facts) {
    this.artifacts.set(name, { ...this.artifacts.get(name), ...facts });
    this.facets.add("artifacts");
  }

  get waiting() {
    return [...this.approvals.values()].filter((one) => !one.answer);
  }

  get liveJobs() {
    return [...new Set(this.jobs.values())].filter((job) => !job.status);
  }
}

/** What there is to spend is another sum: cards that ask for some reckon again. */
function moneyChanged(story) {
  for (const item of story.waiting) if (item.asked.kind === "spend") story.touch(item);
  story.facets.add("money");
}

function tellMoney(story, hold) {
  const job = story.jobs.get(hold);
  if (job) job.cost = story.money.holds.get(hold) ?? null;
  story.touch(job);
  moneyChanged(story);
}

function openStep(story, step, act) {
  const item = story.steps.get(step);
  if (!item) return;
  act(item);
  story.touch(item);
}

/** Only the end of the last turn offers to take it back. */
function turnEnds(story, item) {
  story.touch(story.end);
  story.end = item;
  story.touch(item);
}

/** Each kind of event: what it changes in the story. */
export const TELLINGS = {
  user_said(story, { run, text, files }, at) {
    story.run = { id: run, at };
    story.stopping = false;
    turnEnds(story, null);
    story.add("user", run, at, { run, text, files });
  },

  run_ended(story, event, at) {
    story.run = null;
    story.stopping = false;
    for (const step of story.steps.values()) if (!step.done) finishStep(story, step);
    searchFor(story, () => true);
    for (const name of event.produced) if (!story.artifacts.has(name)) story.made(name, { id: name });
    turnEnds(story, story.add("end", event.run, at, { ...event }));
  },

  rewound(story, { seq }, at) {
    const taken = story.items.filter((item) => item.seq > seq && !item.takenBack && item.type !== "job");
    for (const item of taken) item.takenBack = true;
    story.plans = story.plans.filter((plan) => plan.seq <= seq);
    story.plan = story.plans.at(-1)?.todos ?? [];
    turnEnds(story, story.items.findLast((item) => item.type === "end" && !item.takenBack) ?? null);
    story.add("branch", story.entries, at, { taken }).takenBack = true;
    for (const facet of ["plan", "code"]) story.facets.add(facet);
  },

  demands_set(story, { demands }) {
    story.demands = demands;
    story.facets.add("demands");
  },

  sandbox_reported(story, { level, facts }) {
    story.sandbox = { level, facts };
    story.facets.add("money");
  },

  noticed(story, { level, text }, at) {
    noteJob(story, story.add("notice", story.entries, at, { level, text }));
  },

  guarded(story, { did, text }, at) {
    story.add("notice", story.entries, at, { level: did === "end" ? "warning" : "info", text });
  },

  compacted(story, { step, summary, tokens_before, tokens_after }, at) {
    story.add("summary", story.entries, at, { step, text: summary, before: tokens_before, after: tokens_after });
  },

  step_started(story, { step, model, run }, at) {
    const facts = { n: step, run, model, text: "", reasoning: "", code: "", output: "", calls: [], retries: [] };
    story.steps.set(step, story.add("step", step, at, { ...facts, done: false, error: "", observation: "" }));
  },

  text(story, { step, text }) {
    openStep(story, step, (item) => (item.text += text));
  },

  reasoning(story, { step, text }) {
    openStep(story, step, (item) => (item.reasoning += text));
  },

  reply_restarted(story, event, at) {
    openStep(story, event.step, (item) => {
      item.text = item.reasoning = "";
      item.retries.push({ reason: event.reason, attempt: event.attempt, wait: event.wait_seconds, at });
    });
  },

  code_written(story, { step, code }) {
    openStep(story, step, (item) => (item.code = code));
    story.facets.add("code");
  },

  output(story, { step, text }) {
    openStep(story, step, (item) => (item.output = newest(item.output + text)));
  },

  step_ended(story, event) {
    openStep(story, event.step, (item) => {
      item.seconds = event.seconds;
      item.input = event.input_tokens;
      item.output_tokens = event.output_tokens;
      item.provider = event.provider;
      item.observation = event.observation;
      item.error = event.error;
      finishStep(story, item);
    });
    story.tokens.input += event.input_tokens ?? 0;
    story.tokens.output += event.output_tokens ?? 0;
    story.facets.add("money");
  },

  tool_started(story, { call, tool, args, by, step }, at) {
    const facts = { id: call, tool, args, by, step, at, said: "", cards: [], why: "", result: "", message: "", hint: "" };
    story.calls.set(call, facts);
    const item = story.steps.get(step);
    if (item) item.calls.push(facts);
    else facts.item = story.add("call", call, at, { call: facts });
    story.touchCall(facts);
  },

  tool_said(story, { call, text }) {
    const facts = story.calls.get(call);
    if (!facts) return;
    facts.said = newest(facts.said ? `${facts.said}\n${text}` : text);
    story.touchCall(facts);
  },

  tool_showed(story, { call, card }) {
    if (card.kind === "plan_made") {
      story.plan = card.todos;
      story.plans.push({ seq: story.seq, todos: card.todos });
      story.facets.add("plan");
    }
    if (card.kind === "file_made") story.made(card.path, { path: card.path, bytes: card.bytes, job: card.job });
    const facts = story.calls.get(call);
    if (!facts) return;
    facts.cards.push(card);
    story.touchCall(facts);
  },

  tool_ended(story, event) {
    callEnded(story, event);
    const facts = story.calls.get(event.call);
    if (!facts) return;
    const { why, result, message, hint, seconds } = event;
    Object.assign(facts, { why, result, message, hint, seconds });
    story.touchCall(facts);
  },

  approval_asked(story, { approval, call, request }, at) {
    story.approvals.set(approval, story.add("approval", approval, at, { approval, call, asked: request, answer: null }));
  },

  approval_answered(story, { approval, answer, by, request, raised_from_micro_usd }) {
    const item = story.approvals.get(approval);
    if (!item) return;
    Object.assign(item, { answer, by, agreed: request, raisedFrom: raised_from_micro_usd ?? null });
    story.touch(item);
    story.facets.add("code");
  },

  budget_set(story, { micro_usd, of }) {
    story.money.limited(of ?? "compute", micro_usd);
    moneyChanged(story);
  },

  money_reserved(story, { hold, micro_usd, of }) {
    story.money.reserved(hold, of ?? "compute", micro_usd);
    tellMoney(story, hold);
  },

  money_settled(story, { hold, micro_usd, source }) {
    const call = story.money.ended(hold, micro_usd, source);
    const step = [...story.steps.values()].at(-1);
    if (call?.of === "thinking" && step) {
      step.cost = (step.cost ?? 0) + micro_usd;
      story.touch(step);
    }
    tellMoney(story, hold);
  },

  money_released(story, { hold }) {
    story.money.ended(hold, null);
    notStarted(story, story.jobs.get(hold));
    tellMoney(story, hold);
  },

  money_corrected(story, { of, micro_usd, source }) {
    story.money.corrected(of, micro_usd, source);
    moneyChanged(story);
  },

  model_chosen(story, event) {
    story.model = event;
    story.facets.add("money");
  },

  ...JOB_TELLINGS,
};

/** A step is over when it says so, or when its run is: then what it left open was stopped. */
function finishStep(story, item) {
  item.done = true;
  for (const call of item.calls) call.why ||= "stopped";
  story.touch(item);
}

/** What goes on right now, in words: {text, kind} with kind "wait", "work" or "stop"; null when nothing does. */
export function status(story) {
  if (!story.run) return null;
  if (story.stopping) return { text: "Stopping…", kind: "stop" };
  const asked = story.waiting[0]?.asked.kind;
  if (asked) return { text: asked === "question" ? "Waiting for your answer" : "Waiting for your approval", kind: "wait" };
  return { text: work(story), kind: "work" };
}

function work(story) {
  const job = story.liveJobs.findLast((one) => !one.searched && one.request.purpose !== "code");
  if (job) {
    const point = job.points.at(-1);
    return `${job.title || "Job"}: ${point?.step === undefined ? (job.job ? "running" : "starting") : `step ${point.step}`}…`;
  }
  const step = [...story.steps.values()].at(-1);
  if (!step || step.done) {
    const typed = [...story.calls.values()].at(-1);
    return typed && !typed.why ? `${typed.tool}…` : "Working…";
  }
  const call = step.calls.findLast((one) => !one.why);
  if (call) return `${call.tool}…`;
  if (step.code) return "Running code…";
  const retry = step.retries.at(-1);
  if (retry && !step.text && !step.reasoning) return `The model's server failed, asking again (attempt ${retry.attempt})…`;
  if (step.text) return "Writing…";
  return step.reasoning ? "Thinking…" : "Asking the model…";
}

/** A reply as its thought and the code in it, also while it is still coming in. */
export function parted(text) {
  const start = text.match(/^[ \t]*(```\w*[ \t]*(\n|$)|<code>\n?)/m);
  if (!start) return { thought: text.trim(), code: "" };
  const rest = text.slice(start.index + start[0].length);
  const end = rest.search(/^[ \t]*```|<\/code>/m);
  return { thought: text.slice(0, start.index).trim(), code: (end < 0 ? rest : rest.slice(0, end)).replace(/\s+$/, "") };
}

/** A step's name: the first line of its thought, without marks; else what its code says first. */
export function title(step) {
  const { thought } = parted(step.text);
  const line = (thought || "").split("\n").find((one) => one.trim()) ?? "";
  const said = line.replace(/^(thoughts?|plan)\s*:\s*/i, "").replace(/[#*`_]+/g, "").trim();
  if (said) return said.length > 90 ? `${said.slice(0, 89)}…` : said;
  const comment = step.code.match(/^#\s*(.+)$/m)?.[1];
  return comment ?? step.calls[0]?.tool ?? (step.done ? "Code" : "");
}
