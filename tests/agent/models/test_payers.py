"""Who pays for thinking, and how little of the owner's money strangers can spend."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as runs
from hypothesis import strategies as st

from agent.models.payers import Payer, payers, pick, whose_token
from agent.models.visitor_caps import FILE, VisitorCaps
from agent.settings import Settings
from tests import ROOT
from tests.doubles.hub import FakeHub
from tools.hub.hub import Hub, HubAccount
from tools.hub.values import Organization
from tools.problem import Problem

DAY = 86_400
NOON = 1_790_000_000.0 // DAY * DAY + DAY / 2


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def purse(tmp_path: Path, clock: Clock) -> VisitorCaps:
    return VisitorCaps(tmp_path, 100_000, 250_000, clock=clock)


# --- the user and the organizations ---


def test_the_user_is_the_default_and_organizations_that_pay_follow(hub: FakeHub) -> None:
    hub.people["ada"] |= {"canPay": True, "isPro": True}
    hub.people["ada"]["orgs"] = [
        {"name": "zeta-lab", "canPay": True, "plan": "team", "roleInOrg": "write"},
        {"name": "poor-lab", "canPay": False},
        {"name": "silent-lab"},
        {"name": "alpha-lab", "canPay": True, "plan": "enterprise", "spendLimitReached": True},
        {"canPay": True},
        "nonsense",
    ]
    account = Hub("hf_ada", hub.url).account()
    assert (account.name, account.can_pay, account.plan) == ("ada", True, "pro")
    assert payers(account) == (
        Payer("ada", "", "pro"),
        Payer("alpha-lab", "alpha-lab", "enterprise", False, "Its spending limit is reached."),
        Payer("zeta-lab", "zeta-lab", "team"),
    )


@pytest.mark.parametrize("orgs", [None, {}, "x", 5])
def test_an_account_with_odd_organizations_still_has_its_user(hub: FakeHub, orgs: Any) -> None:
    hub.people["bo"]["orgs"] = orgs
    [user] = payers(Hub("hf_bo", hub.url).account())
    assert (user.name, user.bill_to) == ("bo", "")
    assert "free credit" in user.note


def test_nobody_signed_in_has_no_account(hub: FakeHub) -> None:
    with pytest.raises(Problem, match="Nobody is signed in"):
        Hub("", hub.url).account()


def test_only_a_payer_that_was_offered_can_be_picked() -> None:
    account = HubAccount(
        "ada", True, "", (Organization("lab", True, "team", False), Organization("full", True, "", True))
    )
    offered = payers(account)
    assert pick(offered, "").name == "ada"
    assert pick(offered, "lab").bill_to == "lab"
    with pytest.raises(Problem, match=r"full cannot pay\. Its spending limit is reached"):
        pick(offered, "full")
    with pytest.raises(Problem, match="'google' cannot pay for you") as problem:
        pick(offered, "google")
    assert problem.value.hint == "Those who can are ada, lab."


# --- the owner's settings ---


def test_the_owners_token_is_for_nobody_unless_the_owner_says_one() -> None:
    assert not Settings.from_environ({}).allow_owner_token
    for text in ("", "0", "true", "yes", "01"):
        assert not Settings.from_environ({"ALLOW_OWNER_TOKEN": text}).allow_owner_token
    said = Settings.from_environ({"ALLOW_OWNER_TOKEN": "1", "OWNER_CAP_PER_VISITOR": "0.05", "OWNER_CAP_PER_DAY": "$7"})
    assert (said.allow_owner_token, said.owner_cap_per_visitor, said.owner_cap_per_day) == (True, 50_000, 7_000_000)
    usual = Settings.from_environ({"OWNER_CAP_PER_DAY": ""})
    assert (usual.owner_cap_per_visitor, usual.owner_cap_per_day) == (100_000, 2_000_000)
    with pytest.raises(Problem, match="no amount"):
        Settings.from_environ({"OWNER_CAP_PER_VISITOR": "much"})


@pytest.mark.parametrize(
    ("lent", "space", "owner", "allowed", "whose"),
    [
        ("hf_ada", True, "hf_owner", True, "user"),
        ("hf_ada", False, "", False, "user"),
        ("", False, "hf_me", False, "nobody"),
        ("", False, "hf_me", True, "owner"),
        ("", True, "hf_owner", True, "owner"),
        ("", True, "hf_owner", False, "nobody"),
        ("", True, "", True, "nobody"),
        ("", False, "", True, "nobody"),
    ],
)
def test_a_spaces_own_token_is_used_only_for_who_has_none_and_only_where_it_is_allowed(
    tmp_path: Path, lent: str, space: bool, owner: str, allowed: bool, whose: str
) -> None:
    settings = Settings(data_dir=tmp_path, hf_token=owner, on_space=space, allow_owner_token=allowed)
    assert whose_token(lent, settings) == whose


# --- the owner's purse ---


def test_a_visitor_may_spend_its_share_of_the_day_and_not_a_micro_dollar_more(purse: VisitorCaps) -> None:
    assert purse.free("visitor:a") == 100_000
    purse.reserve("visitor:a", "1", 60_000)
    assert purse.free("visitor:a") == 40_000
    with pytest.raises(Problem, match="your share") as problem:
        purse.reserve("visitor:a", "2", 40_001)
    assert "Sign in with Hugging Face" in problem.value.hint
    purse.reserve("visitor:a", "2", 40_000)
    assert purse.free("visitor:a") == 0
    assert purse.free("visitor:b") == 100_000


def test_all_visitors_together_have_a_cap_too(purse: VisitorCaps) -> None:
    purse.reserve("visitor:a", "1", 100_000)
    purse.reserve("visitor:b", "2", 100_000)
    assert purse.free("visitor:c") == 50_000
    with pytest.raises(Problem, match="today's free thinking of this Space"):
        purse.reserve("visitor:c", "3", 50_001)
    purse.reserve("visitor:c", "3", 50_000)


def test_what_was_not_spent_is_free_again(purse: VisitorCaps) -> None:
    purse.reserve("visitor:a", "1", 100_000)
    purse.settle("1", 1_234)
    assert purse.free("visitor:a") == 98_766
    purse.reserve("visitor:a", "2", 98_766)
    purse.release("2")
    assert purse.free("visitor:a") == 98_766


def test_repeating_a_step_changes_nothing(purse: VisitorCaps, tmp_path: Path) -> None:
    purse.reserve("visitor:a", "1", 50_000)
    purse.reserve("visitor:a", "1", 50_000)
    purse.settle("1", 10)
    purse.settle("1", 20)
    purse.release("1")
    purse.settle("never", 5)
    purse.release("never")
    assert purse.free("visitor:a") == 99_990
    assert len((tmp_path / FILE).read_text().splitlines()) == 2


def test_a_hold_that_has_ended_or_is_anothers_cannot_be_used_again(purse: VisitorCaps) -> None:
    purse.reserve("visitor:a", "1", 50_000)
    for visitor, micro_usd in (("visitor:b", 50_000), ("visitor:a", 50_001)):
        with pytest.raises(Problem, match="was used already"):
            purse.reserve(visitor, "1", micro_usd)
    purse.settle("1", 0)
    with pytest.raises(Problem, match="was used already"):
        purse.reserve("visitor:a", "1", 50_000)


def test_a_call_that_cost_more_than_its_hold_is_counted_in_full(purse: VisitorCaps) -> None:
    purse.reserve("visitor:a", "1", 10)
    purse.settle("1", 150_000)
    assert purse.free("visitor:a") == 0
    assert purse.free("visitor:b") == 100_000
    purse.reserve("visitor:b", "2", 100_000)
    assert purse.free("visitor:c") == 0


def test_a_new_day_begins_at_midnight_utc_and_a_late_bill_counts_for_its_own_day(
    purse: VisitorCaps, clock: Clock
) -> None:
    purse.reserve("visitor:a", "1", 100_000)
    clock.now = NOON + DAY / 2 - 1
    assert purse.free("visitor:a") == 0
    clock.now += 1
    assert purse.free("visitor:a") == 100_000
    purse.settle("1", 90_000)
    assert purse.free("visitor:a") == 100_000
    clock.now -= 1
    assert purse.free("visitor:a") == 10_000


def test_the_purse_is_the_same_after_a_restart_and_for_another_process(
    purse: VisitorCaps, tmp_path: Path, clock: Clock
) -> None:
    other = VisitorCaps(tmp_path, 100_000, 250_000, clock=clock)
    purse.reserve("visitor:a", "1", 60_000)
    assert other.free("visitor:a") == 40_000
    other.reserve("visitor:a", "2", 40_000)
    assert purse.free("visitor:a") == 0
    purse.settle("2", 0)
    assert VisitorCaps(tmp_path, 100_000, 250_000, clock=clock).free("visitor:a") == 40_000


@pytest.mark.parametrize("kept", range(0, 95, 7))
def test_half_a_line_that_a_crash_left_was_never_granted(tmp_path: Path, clock: Clock, kept: int) -> None:
    first = VisitorCaps(tmp_path, 100_000, 250_000, clock=clock)
    first.reserve("visitor:a", "1", 60_000)
    whole = (tmp_path / FILE).read_bytes()
    with (tmp_path / FILE).open("ab") as file:
        file.write(whole.replace(b'"1"', b'"2"')[:kept])
    second = VisitorCaps(tmp_path, 100_000, 250_000, clock=clock)
    assert second.free("visitor:a") == 40_000
    second.reserve("visitor:a", "3", 40_000)
    assert first.free("visitor:a") == 0
    assert [json.loads(line)["hold"] for line in (tmp_path / FILE).read_text().splitlines()] == ["1", "3"]


@pytest.mark.parametrize(
    "line", [b"garbage", b"{}", b"[]", b'{"kind":"held","hold":"x","micro_usd":-5}', b"\xff", b"["]
)
def test_a_damaged_file_lends_nothing_until_its_owner_mends_it(
    purse: VisitorCaps, tmp_path: Path, clock: Clock, line: bytes
) -> None:
    purse.reserve("visitor:a", "1", 60_000)
    with (tmp_path / FILE).open("ab") as file:
        file.write(line + b"\n")
    for one in (purse, VisitorCaps(tmp_path, 100_000, 250_000, clock=clock)):
        for _ in range(2):
            with pytest.raises(Problem, match=r"Line 2 of owner-spend\.jsonl is damaged"):
                one.free("visitor:a")
    (tmp_path / FILE).unlink()
    assert purse.free("visitor:a") == 100_000


def test_where_nothing_can_be_written_nothing_is_lent(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(Problem, match="cannot be opened"):
        VisitorCaps(tmp_path / "missing", 100_000, 250_000, clock=clock).reserve("visitor:a", "1", 1)


def test_a_name_that_is_odd_is_a_name_like_any_other(purse: VisitorCaps) -> None:
    for number, visitor in enumerate(['"}\n{"', "\ud800", "ü" * 1000, "\x00"]):
        purse.reserve(visitor, f"{number}\n", 1)
        assert purse.free(visitor) == 99_999
    with pytest.raises(ValueError, match="a visitor"):
        purse.reserve("", "x", 1)
    with pytest.raises(ValueError, match="amount"):
        purse.reserve("visitor:a", "x", -1)


def test_only_the_owner_of_the_app_can_read_the_file(purse: VisitorCaps, tmp_path: Path) -> None:
    purse.reserve("visitor:a", "1", 1)
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["reserve", "settle", "release", "restart", "tear", "tomorrow"]),
        st.sampled_from("ab"),
        st.integers(0, 9),
        st.integers(0, 120),
    ),
    max_size=60,
)


@runs(max_examples=150, deadline=None)
@given(STEPS)
def test_whatever_happens_no_more_is_authorised_than_the_caps(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, int, int]]
) -> None:
    """Against a plain account of the same steps; real costs stay within their holds here."""
    folder, clock = tmp_path_factory.mktemp("purse"), Clock()
    purses = [VisitorCaps(folder, 100, 150, clock=clock), VisitorCaps(folder, 100, 150, clock=clock)]
    account: dict[tuple[int, int], tuple[str, int, int, bool]] = {}  # (day begun, hold) -> visitor, day, sum, open
    day = 0
    for number, (what, visitor, hold, micro_usd) in enumerate(steps):
        purse = purses[number % 2]
        names = [key for key in account if key[1] == hold]
        key = names[-1] if names else (day, hold)
        match what:
            case "reserve":
                whose = [one for one in account.values() if one[1] == day]
                left = min(100 - sum(o[2] for o in whose if o[0] == visitor), 150 - sum(o[2] for o in whose))
                known = account.get(key)
                allowed = micro_usd <= left if known is None else known == (visitor, known[1], micro_usd, True)
                try:
                    purse.reserve(visitor, f"{hold}", micro_usd)
                    assert allowed
                    account.setdefault(key, (visitor, day, micro_usd, True))
                except Problem:
                    assert not allowed
            case "settle" | "release" if key in account and account[key][3]:
                cost = min(micro_usd, account[key][2]) if what == "settle" else 0
                purse.settle(f"{hold}", cost) if what == "settle" else purse.release(f"{hold}")
                account[key] = (*account[key][:2], cost, False)
            case "restart":
                purses[number % 2] = VisitorCaps(folder, 100, 150, clock=clock)
            case "tear" if (folder / FILE).exists():
                with (folder / FILE).open("ab") as file:
                    file.write(b'{"kind":"held","micro_usd":1')
            case "tomorrow" if day == 0:
                day, clock.now = 1, clock.now + DAY
        for who in "ab":
            today = [one for one in account.values() if one[1] == day]
            spent = sum(one[2] for one in today if one[0] == who)
            assert spent <= 100
            assert sum(one[2] for one in today) <= 150
            assert purses[0].free(who) == min(100 - spent, 150 - sum(one[2] for one in today))


SPENDER = """
import random, sys
from pathlib import Path
from agent.models.visitor_caps import VisitorCaps
from tools.problem import Problem

folder, number, now = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
purse, dice = VisitorCaps(folder, 10**9, 1_000, clock=lambda: now), random.Random(number)
with (folder / f"granted-{number}").open("ab", buffering=0) as granted:
    for turn in range(10_000):
        amount = dice.randrange(1, 9)
        try:
            purse.reserve(f"visitor:{number}", f"{number}-{turn}", amount)
        except Problem:
            continue
        granted.write(b"%d " % amount)
"""


def test_processes_that_spend_at_once_and_are_killed_never_pass_the_cap(tmp_path: Path) -> None:
    spenders = [
        subprocess.Popen([sys.executable, "-c", SPENDER, str(tmp_path), str(number), str(NOON)], cwd=ROOT)
        for number in range(3)
    ]
    purse = VisitorCaps(tmp_path, 10**9, 1_000, clock=Clock())
    deadline = time.monotonic() + 60
    for left in (700, 0):
        while purse.free("x") > left and time.monotonic() < deadline:
            time.sleep(0.002)
        spenders[0].kill()
    for spender in spenders:
        spender.kill()
        spender.wait()
    lines = [json.loads(line) for line in (tmp_path / FILE).read_bytes().splitlines()]
    granted = sum(int(sum) for file in tmp_path.glob("granted-*") for sum in file.read_text().split())
    assert sum(line["micro_usd"] for line in lines) == 1_000
    assert len({line["hold"] for line in lines}) == len(lines)
    assert 0 <= 1_000 - granted <= 8 * len(spenders), "what is granted is written down first; a kill may come between"


def test_threads_that_spend_at_once_never_pass_the_cap(purse: VisitorCaps) -> None:
    def spend(number: int) -> int:
        try:
            purse.reserve("visitor:a", str(number), 7_001)
        except Problem:
            return 0
        return 7_001

    with ThreadPoolExecutor(8) as pool:
        spent = sum(pool.map(spend, range(40)))
    assert spent == 100_000 // 7_001 * 7_001
    assert purse.free("visitor:a") == 100_000 - spent
