"""No attack succeeds, as canaries see it; and without confinement most do, which shows that the canaries are awake."""

from __future__ import annotations

import functools

import pytest

from agent.sandbox import levels
from tests.sandbox import WHOLE, corpus, harness
from tests.sandbox.attacks import ATTACKS
from tests.sandbox.keeper import Verdict

# Of each kind some, and quick ones: what `make test` has time for.
SPREAD = [
    "every_reader",
    "openat2_and_handles",
    "proc_of_everyone",
    "links_to_the_app",
    "swap_the_session_folders",
    "state_replaced",
    "elsewhere_in_the_tree",
    "names_of_others",
    "other_worker",
    "kill_everyone",
    "kill_own_group",
    "zygote_killed",
    "pidfd",
    "memory_by_syscall",
    "limits_of_the_app",
    "every_fork",
    "exec_from_memory",
    "own_machine_code",
    "kernel_corners",
    "pair_turned_outward",
    "gated_by_frame",
    "huge_number",
    "deep_and_wide",
    "channel_closed",
    "worker_taken_over",
    "builtins_replaced",
    "late_gated_call",
    "sparse_file",
]
FOR_BROKERED = SPREAD[:10] + SPREAD[15:21]
PROOF = ["every_reader", "links_to_the_app", "names_of_others", "every_fork"]  # quick, and all of them succeed

# These print that they succeeded and did not: what they print comes before what they do, or is about something allowed.
BOASTS = {"cve5120_random_os", "cve5120_from_import_private", "cve9959_match_walk", "pandas_read_pickle"}

ALL = {case.name: case for case in (*corpus.attacks(), *ATTACKS)}
CHOSEN = {
    "full": list(ALL) if WHOLE else SPREAD,
    "brokered": list(ALL) if WHOLE else FOR_BROKERED,
    "unsafe": list(ALL) if WHOLE else PROOF,
}

pytestmark = pytest.mark.timeout(3600 if WHOLE else 120)


@functools.cache
def verdicts(level: str) -> dict[str, Verdict]:
    if level == "full" and not levels.kernel()["landlock_abi"]:
        pytest.skip("this kernel has no Landlock")
    cases = [ALL[name] for name in CHOSEN[level]]
    try:
        return harness.attack(cases, level) if WHOLE else harness.attack_together(cases, level)
    except harness.Impossible as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(("level", "name"), [(level, name) for level in ("full", "brokered") for name in CHOSEN[level]])
def test_an_attack_is_stopped(level: str, name: str) -> None:
    verdict = verdicts(level)[name]
    assert verdict.breaches == [], f"must not {ALL[name].must_not}: {verdict.printed} {verdict.error}"
    assert not verdict.claimed or name in BOASTS, verdict.printed


def test_without_confinement_most_attacks_succeed() -> None:
    """Of all of them, those included that the host's own strictness with frames stops at every level."""
    found = verdicts("unsafe")
    succeeded = [name for name, verdict in found.items() if verdict.breaches and verdict.judged]
    print(f"{len(succeeded)} of {len(found)} succeed without confinement")
    assert len(succeeded) > len(found) / 2, harness.table(found, [ALL[name] for name in found])


@pytest.mark.skipif(not corpus.attacks(), reason=corpus.MISSING)
def test_our_attacks_hide_none_of_the_corpus() -> None:
    assert len(ALL) == len(corpus.attacks()) + len(ATTACKS)
