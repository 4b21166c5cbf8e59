"""Jobs: run scripts, with the user's word. Where one runs is a JobPlace; the tools are in run, watch, output, hardware, boxes."""

from tools.jobs.run import job_run
from tools.jobs.watch import job_cancel, job_logs, job_metrics, job_status, job_wait, jobs_list

__all__ = ["job_cancel", "job_logs", "job_metrics", "job_run", "job_status", "job_wait", "jobs_list"]
