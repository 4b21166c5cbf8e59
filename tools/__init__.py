"""The tools: plain functions that take a Desk. TOOLS is the list, in the order the model reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tools.ask import ask_user
from tools.demand import demand
from tools.jobs import job_cancel, job_logs, job_metrics, job_run, job_schedule, job_status, job_wait, jobs_list
from tools.jobs.hardware import hardware
from tools.jobs.output import job_output
from tools.jobs.sandbox import sandbox_file, sandbox_run
from tools.papers import paper_outline, paper_read, papers_search
from tools.plan import plan
from tools.search import hub_info, hub_search
from tools.skill import skill

TOOLS: tuple[Callable[..., Any], ...] = (
    papers_search,
    paper_outline,
    paper_read,
    hub_search,
    hub_info,
    hardware,
    job_run,
    job_schedule,
    job_status,
    job_logs,
    job_metrics,
    job_output,
    job_wait,
    job_cancel,
    jobs_list,
    sandbox_run,
    sandbox_file,
    plan,
    ask_user,
    demand,
    skill,
)

NEED_A_PLACE: frozenset[Callable[..., Any]] = frozenset(
    {job_run, job_status, job_logs, job_metrics, job_output, job_wait, job_cancel, jobs_list}
)
"""Of no use where no job can run."""

NEED_HUGGING_FACE: frozenset[Callable[..., Any]] = frozenset({hardware, job_schedule, sandbox_run, sandbox_file})
"""Of no use where all that runs stays on this machine."""
