"""What a tool shows (Card) and what it asks for (Request). Plain frozen values, drawn by the page and journaled."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationInfo, field_validator

from tools.money import cost

MOST_BUDGET = 100_000_000_000  # micro-dollars; more is no budget but a slip of the hand


class Value(BaseModel):
    """What cards, requests and events are made of."""

    model_config = ConfigDict(frozen=True, extra="forbid")


# --- cards: what the user sees -------------------------------------------------------------------


class PaperRow(Value):
    id: str  # arXiv id without version, "2305.18290"
    title: str
    date: str = ""  # ISO date, "2023-05-29"
    authors: str = ""
    upvotes: int | None = None
    url: str = ""
    summary: str = ""


class PapersFound(Value):
    """A list of papers, best first."""

    kind: Literal["papers_found"] = "papers_found"
    query: str
    source: str  # where the list comes from, in words: "Hugging Face Papers"
    papers: tuple[PaperRow, ...]


class PaperOpened(Value):
    """A paper or one part of it was read. source says how faithful the text is."""

    kind: Literal["paper_opened"] = "paper_opened"
    id: str
    title: str
    source: str  # "arXiv HTML", "PDF", ...
    url: str = ""
    sections: tuple[str, ...] = ()  # outline: "3 Method"; empty when one part was read
    section: str = ""  # the part that was read
    text: str = ""  # the first lines of that part, for the eye only


class RepoRow(Value):
    id: str
    url: str
    facts: tuple[str, ...] = ()  # short facts in words: "1.2M downloads", "apache-2.0"


class ReposFound(Value):
    """Models, datasets or Spaces of the Hub, best first. One row when a single repository was looked at."""

    kind: Literal["repos_found"] = "repos_found"
    repo_kind: Literal["model", "dataset", "space"]
    query: str
    repos: tuple[RepoRow, ...]


class Todo(Value):
    text: str
    status: Literal["pending", "in_progress", "completed"] = "pending"


class PlanMade(Value):
    """The whole plan as it stands now; it replaces the one before."""

    kind: Literal["plan_made"] = "plan_made"
    todos: tuple[Todo, ...]


class OutputFile(Value):
    """A file that a job left, below the job's own folder."""

    path: str
    bytes: int


class FileMade(Value):
    """A file that the work produced. path is inside the session's own folder."""

    kind: Literal["file_made"] = "file_made"
    path: str
    bytes: int
    job: str = ""


Card = Annotated[PapersFound | PaperOpened | ReposFound | PlanMade | FileMade, Field(discriminator="kind")]


class Demand(Value):
    """Something the user demanded or forbade, in the user's own words, and what of it code can check."""

    about: Literal["base_model", "data", "method", "budget", "licence", "privacy", "other"]
    rule: Literal["must", "must_not"]
    text: str  # the user's words
    value: str = ""  # what is checked: a repository id, micro-dollars, a licence id; "": nobody can check this


# --- requests: what needs the user's word --------------------------------------------------------


class Foreseen(Value):
    """What a dry run says of the real one: an 80 % interval of time and money, or nothing where it ran elsewhere."""

    job: str  # the dry run
    on: str  # what it ran on: "l4x1", "this machine"
    steps_per_second: float = Field(gt=0)
    start_seconds: float = Field(default=0.0, ge=0)  # before its first step
    seconds_low: float | None = None  # of the whole run, whatever its time limit; None: no forecast
    seconds_high: float | None = None
    micro_usd_low: int | None = None  # of all machines and runs, in whole minutes
    micro_usd_high: int | None = None
    words: str


class PlaceWords(Value):
    """What a place for jobs is called and how it behaves. Each JobPlace declares its own.

    They travel with every request to it: tools, cards and screens ask them, and know no place by its name.
    """

    name: str  # among the places of an app: "jobs"
    where: str  # as tools take it and a terminal tells it: "jobs"
    title: str  # on a card: "Hugging Face Jobs"
    # A script once; a script on a line of cron; or whatever it is told while it is held open.
    runs: Literal["script", "cron", "machine"] = "script"
    # What a request may name beside its script. outputs and dashboard are kept in the name of a namespace.
    takes: tuple[
        Literal["flavor", "nodes", "secrets", "volumes", "labels", "namespace", "outputs", "dashboard"], ...
    ] = ()
    away: bool = True  # what runs there leaves this machine
    danger: str = ""  # said after the title
    payer: str = ""  # who pays where no namespace is named: "you"; "": nobody
    free: str = ""  # why it cost nothing, for the books
    tag: str = ""  # said of a job beside its machine: "sandbox"
    stop: str = "Stop this job"
    warning: str = ""  # on the card that asks for it


class _Request(Value):
    editable: ClassVar[frozenset[str]] = frozenset()  # fields that the user may change before agreeing

    @property
    def hold_micro_usd(self) -> int:
        """The most this can cost; derived again when it was edited."""
        return 0


class Spend(_Request):
    """Run a script on hardware. Where that costs nothing, the danger is the machine itself."""

    editable = frozenset({"script", "timeout_seconds", "dependencies", "on_alarm"})
    kind: Literal["spend"] = "spend"
    title: str
    where: str  # place.where, which sessions of before have alone
    place: PlaceWords
    namespace: str = ""  # the user or organisation that pays; "": nobody, it runs here
    flavor: str = ""
    image: str = ""  # container; "": the place's own
    script: str
    dependencies: tuple[str, ...] = ()  # PEP 508, "transformers==5.23.0"
    env: dict[str, str] = {}
    secrets: tuple[str, ...] = ()  # names only, never values
    # HF_TOKEN inside: none, a narrow one that the user keeps for jobs, or the user's own.
    token: Literal["none", "stored", "own"] = "none"  # noqa: S105
    volumes: tuple[str, ...] = ()  # mounted for reading: "datasets/ada/pets:/data"
    outputs: str = ""  # private bucket that /outputs is a folder of: "ada/ml-intern"; "": nothing is kept
    track: str = ""  # the Trackio project that it tells its measurements to; "": none
    dashboard: str = ""  # private Space, and bucket of the same name, made if they are not there; "": seen here only
    labels: dict[str, str] = {}
    nodes: int = Field(default=1, ge=1, le=16)  # machines of this flavor, one job each
    schedule: str = ""  # a line of cron, in UTC, or "@daily"; "": once, now
    runs: int = Field(default=1, ge=1, le=366)  # the most times a schedule fires
    rhythm: str = ""  # the schedule in words: "at 09:00 on Monday, UTC"
    due: tuple[int, ...] = ()  # Unix times of its runs, as they are if it begins now
    timeout_seconds: int = Field(gt=0, le=7 * 24 * 3600)
    idle_seconds: int = Field(default=0, ge=0)  # a sandbox ends after so long without a command
    price_micro_usd_per_hour: int = Field(ge=0)  # of one machine, live
    likely_micro_usd: int | None = Field(default=None, ge=0)  # what it will probably cost; None: no estimate
    steps: int = Field(default=0, ge=0)  # that the script will make; 0: not said
    foreseen: Foreseen | None = None  # None: there was no dry run
    why: str = ""  # why this hardware, in a sentence
    on_alarm: Literal["ask", "stop"] = "ask"  # when the watchdog says that the training goes wrong
    purpose: Literal["task", "code"] = "task"  # code: a sandbox for the session's generated code; no tool works in it

    @property
    def machines(self) -> str:
        """Where it runs, short: "this machine", "4 × a100-large"."""
        if not self.flavor:
            return self.place.title
        return f"{self.nodes} × {self.flavor}" if self.nodes > 1 else self.flavor

    @property
    def hold_micro_usd(self) -> int:
        """The most this can cost: each machine, in each run, until its timeout."""
        return cost(self.price_micro_usd_per_hour, self.timeout_seconds, machines=self.nodes, runs=self.runs)


class Delete(_Request):
    """Delete a repository and its whole history."""

    kind: Literal["delete"] = "delete"
    repo: str


class Question(_Request):
    """A question only the user can answer. No options: free text."""

    kind: Literal["question"] = "question"
    question: str
    options: tuple[str, ...] = ()


class RaiseCap(_Request):
    """The next model call may cost more than is left for thinking: stop, or a new cap. Micro-dollars."""

    editable = frozenset({"cap_micro_usd"})
    kind: Literal["raise_cap"] = "raise_cap"
    spent_micro_usd: int
    needed_micro_usd: int  # the most the next call can cost
    cap_micro_usd: int = Field(ge=0)  # the proposed one; the user may change it
    model: str = ""

    @field_validator("cap_micro_usd")
    @classmethod
    def _not_below_what_is_spent(cls, cap: int, known: ValidationInfo) -> int:
        if cap < known.data.get("spent_micro_usd", 0):
            raise ValueError("that is less than what is spent already")
        return cap


class GoOn(_Request):
    """All steps of the run are used up: end here, or so many more."""

    editable = frozenset({"more"})
    kind: Literal["go_on"] = "go_on"
    steps: int  # used
    more: int = Field(gt=0, le=1000)


Request = Annotated[Spend | Delete | Question | RaiseCap | GoOn, Field(discriminator="kind")]


class Answer(Value):
    """What was said to a Request. A question's answer is in text; a refusal's reason in reason."""

    verdict: Literal["yes", "no"]
    reason: str = ""
    text: str = ""
    edits: dict[str, JsonValue] = {}
    # With a yes to a Spend: the limit for compute, whole, is raised to this first. It counts from a person only.
    budget_micro_usd: int | None = Field(default=None, ge=0, le=MOST_BUDGET)
