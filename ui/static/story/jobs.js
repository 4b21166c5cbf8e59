// What a session's events tell of its jobs: from their submission over their log and alarms to their end.

import { Log } from "./log.js";

/** use: of its machine, while it runs. left: in its bucket. searched: nobody knows whether it was started. stopping: asked to. */
const STATE = { status: "", message: "", files: [], searched: false, stopping: false, use: null, left: null };

export const JOB_TELLINGS = {
  job_submitting(story, { label, call, request }, at) {
    const hold = story.money.holds.get(label);
    const facts = { label, call, request, title: request.title ?? "", job: "", url: "" };
    const item = story.add("job", label, at, { ...facts, log: new Log(), points: [], latest: new Map(), forecast: null, alarms: [], warnings: [], alerts: [], dashboard: null, ...STATE });
    item.cost = hold ?? null;
    story.jobs.set(label, item);
    story.facets.add("jobs");
  },

  job_submitted(story, { label, job, title, url }, at) {
    const item = story.jobs.get(label);
    if (!item) return;
    Object.assign(item, { job, title, url, startedAt: at, searched: false });
    story.jobs.set(job, item);
    story.touch(item);
  },

  job_logged(story, { job, text, points, noise }, at) {
    const item = story.jobs.get(job);
    if (!item) return;
    item.log.take(text, noise);
    measured(item, points, at, "log");
    story.touch(item);
  },

  job_tracked(story, { job, url, note }) {
    const item = story.jobs.get(job);
    if (!item) return;
    item.dashboard = { url, note };
    story.touch(item);
  },

  job_measured(story, { job, points }, at) {
    const item = story.jobs.get(job);
    if (!item) return;
    measured(item, points, at, "trackio");
    story.touch(item);
  },

  job_alerted(story, { job, level, text, step }, at) {
    const item = story.jobs.get(job);
    if (!item) return;
    item.alerts.push({ level, text, step, at });
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
    Object.assign(item, { status, message, exit: exit_code, seconds, files, use: null });
    allIsWell(story, item);
    for (const path of files) if (!story.artifacts.has(path)) story.made(path, { path, job: event.job });
    story.touch(item);
    story.facets.add("jobs");
  },
};

const RHYTHM = 16; // moments the pace is taken over: the newest

/** from: "log" or "trackio". Whoever tells a step first says where the training is: the other lags behind. */
function measured(item, points, at, from) {
  if (points.some(({ step }) => Number.isFinite(step))) item.leads ??= from;
  for (const point of points) {
    item.points.push(point);
    for (const [name, value] of Object.entries(point)) if (item.latest.has(name) || item.latest.size < 64) item.latest.set(name, value);
  }
  if ((item.leads ?? from) === from) follow(item, points, at);
}

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

/** The call that asked for it has ended: where that is not known, it is looked for; where it never ran, its card says why. */
export function callEnded(story, { call, message, hint }) {
  searchFor(story, (job) => job.call === call);
  for (const item of new Set(story.jobs.values())) {
    if (item.call !== call || item.status !== "not started" || item.message) continue;
    item.message = `${message} ${hint ?? ""}`.trim();
    story.touch(item);
  }
}

/** Whoever submitted it has gone: whether it was started is not known until it is found. */
export function searchFor(story, which) {
  for (const item of story.liveJobs) {
    if (item.job || item.searched || !which(item)) continue;
    item.searched = true;
    story.touch(item);
  }
}

/** A warning that names a running job, such as that it cannot be cancelled, is shown with it, too, until all is well. */
export function noteJob(story, notice) {
  const item = story.liveJobs.find(({ job }) => job && notice.text.includes(job));
  if (!item) return;
  if (notice.level === "warning") item.warnings.push(notice);
  else allIsWell(story, item);
  story.touch(item);
}

/** What it was warned of is over, and stays to be read without alarm. */
function allIsWell(story, item) {
  for (const notice of item.warnings.splice(0)) {
    notice.level = "info";
    story.touch(notice);
  }
}
