from __future__ import annotations

from agent.loop.guards import GuardVerdict, Plan, Repetition, Replies


def did(verdicts: list[GuardVerdict | None]) -> list[str]:
    return [verdict.did if verdict else "" for verdict in verdicts]


def run(guard: Repetition, steps: str) -> list[str]:
    """Each letter is a step: the same letter, the same code with the same result."""
    return did([guard.take(step, f"result of {step}") for step in steps])


def test_the_same_code_with_the_same_result_is_warned_of_at_three_and_ended_at_six() -> None:
    assert run(Repetition(), "aaaaaa") == ["", "", "hint", "", "", "end"]


def test_a_cycle_is_warned_of_when_it_comes_a_second_time() -> None:
    assert run(Repetition(), "xabab") == ["", "", "", "", "hint"]
    assert run(Repetition(), "abcdeabcde") == [""] * 9 + ["hint"]
    assert run(Repetition(), "abcdefabcdef") == [""] * 12  # six steps are work with a habit


def test_a_cycle_ends_the_run_when_its_step_came_six_times() -> None:
    told = run(Repetition(), "ab" * 6)
    assert told.index("end") == 10  # the sixth a
    assert told.count("hint") == 1


def test_it_does_not_fire_again_after_recovery() -> None:
    guard = Repetition()
    assert run(guard, "aaa")[-1] == "hint"
    assert run(guard, "bcdefg" + "a" + "hia" + "jka") == [""] * 13  # old steps come back now and then: no harm


def test_a_second_episode_is_warned_of_anew() -> None:
    guard = Repetition()
    assert run(guard, "aaab") == ["", "", "hint", ""]
    assert run(guard, "aaa") == ["", "", "hint"]


def test_waiting_for_something_is_no_repetition() -> None:
    guard = Repetition()
    assert did([guard.take("print(job.status(), time.time())", f"running 17{n}.5") for n in range(30)]) == [""] * 30


def test_blanks_and_addresses_of_objects_make_no_difference() -> None:
    guard = Repetition()
    results = ["<object at 0x7f00aa11bb22>", "<object at 0x7f00aa11cc33>  ", "<object at 0x7f00aa11dd44>\n"]
    assert did([guard.take(f"x  = f()\n{' ' * n}", result) for n, result in enumerate(results)])[-1] == "hint"


def test_the_same_result_of_other_code_is_no_repetition() -> None:
    guard = Repetition()
    assert did([guard.take(f"write({n})", "(no output)") for n in range(20)]) == [""] * 20


def test_an_unfinished_plan_is_nudged_about_twice_at_most() -> None:
    guard = Plan()
    first = guard.ask(["Train", "Evaluate"])
    assert first
    assert "- Train\n- Evaluate" in first.model
    assert "2 items" in first.user
    assert guard.ask(["Evaluate"])
    assert guard.ask(["Evaluate"]) is None


def test_a_finished_plan_is_no_matter() -> None:
    assert Plan().ask([]) is None


def test_empty_replies_are_asked_again_and_end_the_run_after_three() -> None:
    guard = Replies()
    assert did([guard.take(empty=True, cut=False) for _ in range(3)]) == ["retry", "retry", "end"]


def test_a_sound_reply_in_between_starts_the_count_anew() -> None:
    guard = Replies()
    told = [guard.take(empty=empty, cut=False) for empty in (True, True, False, True, True)]
    assert did(told) == ["retry", "retry", "", "retry", "retry"]


def test_a_reply_that_is_cut_off_again_gets_a_larger_budget() -> None:
    guard = Replies()
    assert did([guard.take(empty=False, cut=True)]) == ["hint"]
    assert not guard.wants_more
    guard.take(empty=True, cut=True)  # all of it was thought
    assert guard.wants_more
    assert did([guard.take(empty=False, cut=True) for _ in range(2)]) == ["hint", "end"]
