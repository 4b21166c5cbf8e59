"""What a session reaches beyond itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agent.models.router import RouterModel
from agent.policy import Approve
from tools import NEED_A_PLACE, NEED_HUGGING_FACE, TOOLS
from tools.hub import HubReader
from tools.jobs.place import JobPlace
from tools.web import Web


@dataclass(frozen=True)
class Outside:
    """What a session reaches: the same for all its runs, but for the model, which needs the owner's token of the moment."""

    hub: Callable[[], HubReader]
    model: Callable[[], RouterModel]  # raises Problem when there is none yet
    web: Web
    key: bytes = field(repr=False)  # the owner's, by which saved variables are known again
    place: JobPlace | None  # None: no jobs on this machine
    approve: Approve
    max_steps: int


def tools_for(outside: Outside) -> list[Callable[..., Any]]:
    """What can be done here: without a place for jobs there are no tools for them."""
    left_out = NEED_HUGGING_FACE if outside.place else NEED_HUGGING_FACE | NEED_A_PLACE
    return [tool for tool in TOOLS if tool not in left_out]
