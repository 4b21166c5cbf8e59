"""Everything that can happen in a session, as one frozen union. Entry = (seq, at, event).

An event says what was, in the past tense, and has no behaviour. Screens, memory and money are folded from these.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from agent.job_events import JobBilled, JobEnded, JobEvent, JobSubmitted, JobSubmitting
from tools.cards import Answer, Card, Demand, Request, Value

VERSION = 1  # of the journal format; a reader refuses a newer one


class _Event(Value):
    """Frozen, and strict about its fields."""


# --- a run: exactly one RunEnded closes each UserSaid ---------------------------------------------


class UserSaid(_Event):
    """The user sent a message; it opens the run of that name."""

    kind: Literal["user_said"] = "user_said"
    run: str
    text: str
    files: tuple[str, ...] = ()  # names in the session's uploads folder


Why = Literal["answered", "stopped", "step_limit", "budget", "failed"]


class RunEnded(_Event):
    kind: Literal["run_ended"] = "run_ended"
    run: str
    why: Why
    answer: str = ""  # Markdown; only when answered
    message: str = ""  # one sentence for the user, with what to do next; empty when answered
    produced: tuple[str, ...] = ()  # ids and paths of what the run made
    steps: int = 0
    seconds: float = 0.0
    input_tokens: int = 0
    output_tokens: int = 0


class SandboxReported(_Event):
    """Which confinement is in force for generated code, told once per run. Never better than the truth."""

    kind: Literal["sandbox_reported"] = "sandbox_reported"
    level: str  # full, brokered, remote, tools-only or unsafe
    facts: dict[str, JsonValue]


class Noticed(_Event):
    """Something the user should know that is no step: variables lost, a follow-up that failed."""

    kind: Literal["noticed"] = "noticed"
    level: Literal["info", "warning"]
    text: str


# --- a step: one model reply, its code, what came of it -------------------------------------------


class StepStarted(_Event):
    kind: Literal["step_started"] = "step_started"
    run: str
    step: int  # counts up through the whole session, from 1
    model: str


class TextSaid(_Event):
    """A piece of the model's reply, in order. Pieces since the last ReplyRestarted make the reply."""

    kind: Literal["text"] = "text"  # short: it is most of what travels
    step: int
    text: str


class ReasoningSaid(_Event):
    kind: Literal["reasoning"] = "reasoning"
    step: int
    text: str


class ReplyRestarted(_Event):
    """The model's server failed and is asked again; what it had said of this step does not count."""

    kind: Literal["reply_restarted"] = "reply_restarted"
    step: int
    reason: str
    attempt: int  # the attempt that now follows, from 2
    wait_seconds: float


class CodeWritten(_Event):
    """The code that was found in the reply and now runs."""

    kind: Literal["code_written"] = "code_written"
    step: int
    code: str


class OutputPrinted(_Event):
    """What running code printed, as it printed it."""

    kind: Literal["output"] = "output"
    step: int
    text: str


class StepEnded(_Event):
    kind: Literal["step_ended"] = "step_ended"
    step: int
    seconds: float
    input_tokens: int | None = None  # None: the provider did not say
    output_tokens: int | None = None
    provider: str = ""
    observation: str = ""  # what the model reads next
    error: str = ""  # one clear sentence when the step failed


# --- tool calls -----------------------------------------------------------------------------------


class ToolStarted(_Event):
    kind: Literal["tool_started"] = "tool_started"
    call: str  # unique in the session
    tool: str
    args: dict[str, JsonValue]
    by: Literal["agent", "user"]
    step: int = 0  # 0: typed by the user


class ToolSaid(_Event):
    kind: Literal["tool_said"] = "tool_said"
    call: str
    text: str


class ToolShowed(_Event):
    kind: Literal["tool_showed"] = "tool_showed"
    call: str
    card: Card


class ToolEnded(_Event):
    kind: Literal["tool_ended"] = "tool_ended"
    call: str
    why: Literal["done", "problem", "refused", "stopped"]
    result: str = ""  # JSON of what the model got, cut for the eye
    message: str = ""  # what was wrong, with the value
    hint: str = ""  # what to do next
    seconds: float


# --- consent --------------------------------------------------------------------------------------


class ApprovalAsked(_Event):
    kind: Literal["approval_asked"] = "approval_asked"
    approval: str
    call: str
    request: Request


class ApprovalAnswered(_Event):
    """One per ApprovalAsked. request is what was agreed to, with the user's edits in it."""

    kind: Literal["approval_answered"] = "approval_answered"
    approval: str
    answer: Answer
    by: Literal["user", "policy", "stop"]
    request: Request
    raised_from_micro_usd: int | None = None  # the limit for compute that the answer's took the place of


# --- money; jobs have a module of their own -------------------------------------------------------------------------------


Of = Literal["compute", "thinking"]


class BudgetSet(_Event):
    """How much the session may spend in all, on compute, on thinking, or on both together. Only a person raises it."""

    kind: Literal["budget_set"] = "budget_set"
    micro_usd: int
    of: Literal["compute", "thinking", "both"] = "compute"


class MoneyReserved(_Event):
    kind: Literal["money_reserved"] = "money_reserved"
    hold: str  # of compute: the label of the job it is for
    micro_usd: int
    of: Of = "compute"


class MoneySettled(_Event):
    """The hold is replaced by what it really cost. source says where the figure comes from."""

    kind: Literal["money_settled"] = "money_settled"
    hold: str
    micro_usd: int
    source: str = ""  # "run time and price", "usage and list price", "estimate: the call broke off", "worst case"
    input_tokens: int | None = None  # of a model call
    output_tokens: int | None = None
    cached_tokens: int | None = None


class MoneyReleased(_Event):
    """The hold is given back: nothing was started."""

    kind: Literal["money_released"] = "money_released"
    hold: str


class MoneyCorrected(_Event):
    """A bill says otherwise: spent grows by micro_usd, or shrinks if that is negative."""

    kind: Literal["money_corrected"] = "money_corrected"
    of: Of
    micro_usd: int
    source: str  # "billing"


# --- the agent's mind -----------------------------------------------------------------------------


class ModelChosen(_Event):
    """Which model answers from here on. Prices in micro-dollars per million tokens; None: not known."""

    kind: Literal["model_chosen"] = "model_chosen"
    model: str  # as it is sent, such as "zai-org/GLM-5.3-Flash:novita"
    base_url: str
    provider: str = ""
    window: int | None = None  # tokens
    input_price: int | None = None
    output_price: int | None = None
    cached_price: int | None = None
    free: bool = False  # a server of the user's own
    wish: str = ""  # the id that was asked for; "": none, it is the default
    bill_to: str = ""  # the organization that pays; "": the user
    note: str = ""


class Compacted(_Event):
    """What was said and done up to and with step is remembered as this summary from here on."""

    kind: Literal["compacted"] = "compacted"
    step: int
    summary: str  # the agent's own words
    tokens_before: int  # of the whole request, reckoned
    tokens_after: int


class Guarded(_Event):
    """A guard noticed that the agent is not getting on, and what it did about that."""

    kind: Literal["guarded"] = "guarded"
    guard: Literal["repetition", "unfinished_plan", "cut_off", "empty_reply", "native_calls", "too_long"]
    step: int
    did: Literal["hint", "retry", "end"]
    text: str  # one sentence for the user


class DemandsSet(_Event):
    """What the user demanded or forbade, whole: it replaces the list before."""

    kind: Literal["demands_set"] = "demands_set"
    demands: tuple[Demand, ...]
    by: Literal["user", "agent", "app"]  # app: found in the user's own words


class Rewound(_Event):
    """The user took back everything after seq. It stays in the journal; memory goes on from seq, money does not."""

    kind: Literal["rewound"] = "rewound"
    seq: int


Event = Annotated[
    UserSaid | RunEnded | SandboxReported | Noticed
    | StepStarted | TextSaid | ReasoningSaid | ReplyRestarted | CodeWritten | OutputPrinted | StepEnded
    | ToolStarted | ToolSaid | ToolShowed | ToolEnded
    | ApprovalAsked | ApprovalAnswered
    | BudgetSet | MoneyReserved | MoneySettled | MoneyReleased | MoneyCorrected
    | JobEvent
    | ModelChosen | Compacted | Guarded | DemandsSet | Rewound,
    Field(discriminator="kind"),
]  # fmt: skip

DURABLE = (
    UserSaid, RunEnded, ApprovalAsked, ApprovalAnswered, BudgetSet, MoneyReserved, MoneySettled, MoneyReleased,
    MoneyCorrected, JobSubmitting, JobSubmitted, JobEnded, JobBilled, DemandsSet, Rewound,
)  # fmt: skip
"""Events that reach the disk itself (fsync) before anyone is told of them."""


class Entry(BaseModel):
    """One line of the journal. seq counts from 1 without a gap; at is Unix time in seconds."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    seq: int
    at: float
    event: Event
