"""What a session reaches beyond itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agent.events import ModelChosen
from agent.models.deltas import Thinker
from agent.models.metered import SecondPayer
from agent.models.selection import Wish
from agent.notices import Notices
from agent.settings import Approve
from tools import NEED_A_PLACE, NEED_HUGGING_FACE, TOOLS
from tools.hub.hub import HubReader
from tools.hub.values import Bill
from tools.jobs.place import JobPlace
from tools.jobs.prices import Prices
from tools.web import Web


@dataclass(frozen=True)
class Resources:
    """What a session reaches: the same for all its runs, but for the model, which needs the owner's token of the moment."""

    hub: Callable[[], HubReader]
    choose: Callable[[Wish], ModelChosen]  # raises Problem when there is no such model, or none yet
    keep: Callable[[ModelChosen], ModelChosen]
    thinker: Callable[[ModelChosen], tuple[Thinker, SecondPayer | None]]  # the model, and who pays beside the session
    bill: Callable[[], Bill | None]  # raises Problem when it may not be read
    web: Web
    notices: Notices
    key: bytes = field(repr=False)  # the owner's, by which saved variables are known again
    places: Mapping[str, JobPlace]  # where jobs can run, by name
    prices: Prices
    payers: Callable[
        [], tuple[str, ...]
    ]  # who may pay for jobs on Hugging Face; raises Problem when nobody is signed in
    secrets: Callable[[], tuple[str, ...]]  # names of what may be given to jobs
    approve: Approve
    max_steps: int


def tools_for(resources: Resources) -> list[Callable[..., Any]]:
    """What can be done here: without a place for jobs there are no tools for them."""
    away = any(place.words.away for place in resources.places.values())
    left_out = frozenset() if away else NEED_HUGGING_FACE
    left_out = left_out if resources.places else left_out | NEED_A_PLACE
    return [tool for tool in TOOLS if tool not in left_out]
