// What a session's events tell of its jobs: from their submission over their log and alarms to their end.

import { kept } from "./words.js";

/** use: of its machine, while it runs. left: in its bucket. searched: nobody knows whether it was started. stopping: asked to. note: the latest warning that names it. */
const STATE = { status: "", message: "", files: [], searched: false, stopping: false, note: "", use: null, left: null };

export const JOB_TELLINGS = {
  job_submitting(story, { label, call, request }, at) {
    const hold = story.money.holds.get(label);
    const facts = { label, call, request, title: request.title ?? "", where: request.where ?? "", job: "", url: "" };
    const item = story.add("job", label, at, { ...facts, text: "", points: [], latest: new Map(), forecast: null, alarms: [], ...STATE });
    item.cost = hold ?? null;
    story.jobs.set(label, item);
    story.facets.add("jobs");
  },

  job_submitted(story, { label, job, where, title, url }, at) {
    const item = story.jobs.get(label);
    if (!item) return;
    Object.assign(item, { job, where, title, url, startedAt: at, searched: false });
    story.jobs.set(job, item);
    story.touch(item);
  },

  job_logged(story, { job, text, points }, at) {
    const item = story.jobs.get(job);
    if (!item) return;
    item.text = kept(item.text + text);
    for (const point of points) {
      item.points.push(point);
      for (const [name, value] of Object.entries(point)) if (item.latest.has(name) || item.latest.size < 64) item.latest.set(name, value);
    }
    follow(item, points, at);
    story.touch(item);
  },

  job_used(story, { job, use }) {
    const item = story.jobs.get(job);
    if (!item) return;
    item.use = use;
    if (item.step !== undefined && Number.isFinite(use.gpu_percent)) item.points.push({ step: item.step, gpu_percent: use.gpu_percent });
    story.touch(item);
  },

  job_left(story, event) {
    const item = story.jobs.get(event.job);
    if (!item) return;
    item.left = event;
    story.touch(item);
  },

  job_billed(story, { job, label, micro_usd, message }) {
    story.money.billed(label, micro_usd, message);
    story.touch(story.jobs.get(job));
    story.facets.add("money");
  },

  job_forecast(story, event) {
    const item = story.jobs.get(event.job);
    if (!item) return;
    item.forecast = event;
    story.touch(item);
  },

  job_alarm(story, { job, rule, text, step }, at) {
    const item = story.jobs.get(job);
    if (!item) return;
    item.alarms.push({ rule, text, step, at });
    story.touch(item);
  },

  job_ended(story, event) {
    const item = story.jobs.get(event.job);
    if (!item) return;
    const { status, message, exit_code, seconds, files } = event;
    Object.assign(item, { status, message, exit: exit_code, seconds, files, note: "", use: null });
    for (const path of files) if (!story.artifacts.has(path)) story.made(path, { path, job: event.job });
    story.touch(item);
    story.facets.add("jobs");
  },
};

const RHYTHM = 16; // moments the pace is taken over: the newest

/** Where a job's training is and how fast it goes, from when its points came. */
function follow(item, points, at) {
  const step = points.findLast((point) => Number.isFinite(point.step))?.step;
  item.total = points.findLast((point) => point.total_steps)?.total_steps ?? item.total;
  if (step === undefined) return;
  if (step < item.step) item.rhythm = [];
  item.step = step;
  item.rhythm = [...(item.rhythm ?? []), { at, step }].slice(-RHYTHM);
  const [first, last] = [item.rhythm[0], item.rhythm.at(-1)];
  item.rate = last.at > first.at ? (last.step - first.step) / (last.at - first.at) : undefined;
}

/** Its hold was given back before it had a name: it never ran. */
export function notStarted(story, item) {
  if (!item || item.job || item.status) return;
  Object.assign(item, { status: "not started", searched: false });
  story.facets.add("jobs");
}

/** Whoever submitted it has gone: whether it was started is not known until it is found. */
export function searchFor(story, which) {
  for (const item of story.liveJobs) {
    if (item.job || item.searched || !which(item)) continue;
    item.searched = true;
    story.touch(item);
  }
}

/** A warning that names a running job, such as that it cannot be cancelled, is shown with it, too. */
export function noteJob(story, level, text) {
  if (level !== "warning") return;
  const item = story.liveJobs.find(({ job }) => job && text.includes(job));
  if (!item) return;
  item.note = text;
  story.touch(item);
}
