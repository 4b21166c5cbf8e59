"""Jobs: run scripts, with the user's word. Where one runs is a JobPlace; tools are run, schedule, watch, output, hardware, sandbox."""

from tools.jobs.run import job_run
from tools.jobs.schedule import job_schedule
from tools.jobs.watch import job_cancel, job_logs, job_metrics, job_status, job_wait, jobs_list

__all__ = ["job_cancel", "job_logs", "job_metrics", "job_run", "job_schedule", "job_status", "job_wait", "jobs_list"]
