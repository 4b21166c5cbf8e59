"""The tools: plain functions that take a Desk. TOOLS is the list, in the order the model reads them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tools.ask import ask_user
from tools.demand import demand
from tools.jobs import job_run
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
    job_run,
    plan,
    ask_user,
    demand,
    skill,
)
