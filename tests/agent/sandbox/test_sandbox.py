"""Generated code in its child process: plain Python, live output, tools, and no way back to the host's secrets."""

from __future__ import annotations

import contextvars
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent.sandbox.host import Executor, Limits, ToolStub
from tests.agent.sandbox.sessions_of_code import PATIENCE, Code
from tools.problem import Problem, Stopped


@pytest.fixture
def code(tmp_path: Path) -> Iterator[Code]:
    with Code(tmp_path) as session:
        yield session


@pytest.fixture(scope="module")
def any_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Code]:
    """One session for tests that leave nothing behind in it."""
    with Code(tmp_path_factory.mktemp("any")) as session:
        yield session


@pytest.fixture
def unsafe(tmp_path: Path) -> Iterator[Code]:
    """Code that is not shut in: for what a developer's own machine lets it do."""
    with Code(tmp_path, level="unsafe") as session:
        yield session


# --- it is plain Python ---------------------------------------------------------------------------


def test_variables_live_from_step_to_step(code: Code) -> None:
    code("x = 1")
    code("x += 1")
    assert code.value("x") == "2"


def test_the_last_expression_is_shown_as_in_a_repl_and_none_is_not(code: Code) -> None:
    assert code.value("y = 2\n'a' * y") == "'aa'"
    assert code.value("None") == ""
    assert code.value("y") == "2"


def test_an_error_is_cpythons_traceback_of_the_users_frames_only(code: Code) -> None:
    error = code("def f(a):\n    return 1 / a\nf(0)").error
    assert error.startswith('Traceback (most recent call last):\n  File "<step 1>", line 3, in <module>\n    f(0)\n')
    assert error.endswith("ZeroDivisionError: division by zero\n")
    assert "worker" not in error
    assert "worker" not in code("try:\n    fail('x')\nexcept ToolError as e:\n    raise ValueError('y') from e").error


def test_a_syntax_error_points_at_the_place(code: Code) -> None:
    assert code("x = (1 +").error.startswith('  File "<step 1>", line 1\n    x = (1 +\n')


def test_a_step_that_fails_keeps_what_it_printed_and_what_it_set(code: Code) -> None:
    result = code("z = 5\nprint('before')\n1 / 0")
    assert (result.output, result.value) == ("before\n", "")
    assert code.value("z") == "5"


def test_top_level_await_and_asyncio_run_both_work(code: Code) -> None:
    assert code.value("import asyncio\nasync def w(i):\n    return i + 1\nawait w(4)") == "5"
    assert code.value("asyncio.run(w(1))") == "2"


def test_main_is_the_real_main_module(code: Code) -> None:
    code(
        "import pickle, inspect\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\ndef f():\n    return 1"
    )
    assert code.value("pickle.loads(pickle.dumps(P(3))), __name__") == "(P(x=3), '__main__')"
    assert code.value("inspect.getsource(f)") == repr("def f():\n    return 1\n")


def test_a_module_written_by_the_code_can_be_imported(code: Code) -> None:
    code("open('helper.py', 'w').write('answer = 42')")
    assert code.value("import helper\nhelper.answer") == "42"


def test_exit_ends_the_step_and_not_the_session(code: Code) -> None:
    code("x = 1")
    assert "SystemExit: 3" in code("import sys\nsys.exit(3)").error
    assert "SystemExit" in code("exit()").error
    assert code.value("x") == "1"
    assert not code("x").restarted


def test_input_says_that_nobody_types(any_code: Code) -> None:
    assert "input() has nobody to ask" in any_code("input('name? ')").error


def test_a_fork_of_the_code_does_not_speak_for_it(unsafe: Code) -> None:
    result = unsafe(
        "import os\npid = os.fork()\nif pid:\n    os.waitpid(pid, 0)\nx = 'child' if pid == 0 else 'parent'\nx"
    )
    assert result.value == "'parent'"
    assert unsafe.value("x") == "'parent'"


@pytest.mark.parametrize("broken", ["sys.stdout = None", "sys.stdout.close()", "sys.stdout = open('log', 'w')"])
def test_each_step_begins_with_a_working_stdout(any_code: Code, broken: str) -> None:
    any_code(f"import sys\n{broken}")
    assert any_code("print('seen')").output == "seen\n"


# --- output ---------------------------------------------------------------------------------------


def test_output_is_told_while_the_step_runs(code: Code) -> None:
    stop, ended = threading.Event(), threading.Event()

    def run() -> None:
        with pytest.raises(Stopped):
            code.run("import time\nprint('early', end='')\ntime.sleep(60)", stop)
        ended.set()

    threading.Thread(target=run).start()
    code.wait_for("early")
    assert code.told == ["early"]
    assert not ended.is_set()
    stop.set()
    assert ended.wait(PATIENCE)


def test_python_and_its_subprocesses_print_in_order(unsafe: Code) -> None:
    out = unsafe(
        "import os, sys\nprint('a')\nos.system('echo b')\nprint('c', file=sys.stderr)\nos.write(1, b'd')"
    ).output
    assert out == "a\nb\nc\nd"


def test_much_output_is_cut_and_the_notice_says_by_how_much(tmp_path: Path) -> None:
    with Code(tmp_path, Limits(output_chars=1000)) as code:
        output = code("for _ in range(500): print('x' * 9)").output
    assert output == "".join(code.told)
    assert output.startswith("xxxxxxxxx\n" * 100)
    assert output.endswith("4,000 more characters were printed and are not shown ...\n")


def test_a_step_that_hands_too_much_to_tools_is_stopped(tmp_path: Path) -> None:
    with Code(tmp_path, Limits(sent_bytes=1 << 20)) as code:
        code("x = 1")
        result = code("while True: echo('y' * 100_000)")
        assert "handed more than 1,048,576 bytes to tools" in result.error
        assert code.value("x") == "1"


def test_a_runaway_printer_is_stopped(tmp_path: Path) -> None:
    with Code(tmp_path, Limits(output_bytes=1 << 20)) as code:
        code("x = 1")
        result = code("while True: print('y' * 1000)")
        assert "printed more than 1,048,576 bytes" in result.error
        assert len(result.output) < 101_000
        assert code.value("x") == "1"


def test_bytes_that_are_no_text_do_no_harm(any_code: Code) -> None:
    assert (
        any_code("import os\nos.write(1, b'\\xff\\xfe ok')\nprint('\\ud800 \\u00e9')").output
        == "\ufffd\ufffd ok\\ud800 é\n"
    )


def test_a_long_value_and_a_long_error_keep_both_ends(any_code: Code) -> None:
    value = any_code.value("'a' * 100_000 + 'z'")
    assert len(value) < 21_000
    assert value.startswith("'aaa")
    assert value.endswith("az'")
    assert len(any_code("raise ValueError('e' * 50_000_000)").error) < 21_000


# --- tools ----------------------------------------------------------------------------------------


def test_a_tool_is_a_function_with_its_name_doc_and_signature(any_code: Code) -> None:
    assert any_code.value("add(1, b=2)") == "3"
    assert any_code.value("import inspect\nadd.__name__, add.__doc__, str(inspect.signature(add))") == repr(
        ("add", "Add two numbers.", "(a: 'int', b: 'int' = 1) -> 'int'")
    )


def test_a_tools_problem_is_an_exception_that_the_code_can_read(any_code: Code) -> None:
    result = any_code(
        "try:\n    fail('No column x.')\nexcept ToolError as error:\n    print(error)\nfail('No column y.')"
    )
    assert result.output == "No column x. Name another.\n"
    assert result.error.endswith("ToolError: No column y. Name another.\n")


def test_a_refusal_is_told_from_a_problem(any_code: Code) -> None:
    out = any_code(
        "try:\n    refuse()\nexcept ToolRefused as error:\n    print(isinstance(error, ToolError), error)"
    ).output
    assert out.startswith("True The user said no: too dear.")


def test_calls_from_threads_run_side_by_side(any_code: Code) -> None:
    result = any_code(
        "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(8) as pool:\n"
        "    print(list(pool.map(meet, range(8))))"  # each waits for the others
    )
    assert result.output == "[0, 1, 2, 3, 4, 5, 6, 7]\n"


def test_more_calls_than_run_at_once_all_come_back_to_their_own_caller(code: Code) -> None:
    out = code.value(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "with ThreadPoolExecutor(60) as pool: answers = list(pool.map(lambda i: slow(i, 0.001), range(300)))\n"
        "answers == list(range(300))"
    )
    assert out == "True"


@pytest.mark.parametrize(
    ("given", "got"),
    [
        ("(1, 2)", "[1, 2]"),
        ("{3, 1, 2}", "[1, 2, 3]"),
        ("{1: 'a'}", "{'1': 'a'}"),
        ("__import__('datetime').date(2026, 1, 2)", "'2026-01-02'"),
        ("__import__('pathlib').Path('a/b')", "'a/b'"),
        ("__import__('numpy').float64(1.5)", "1.5"),
        ("__import__('numpy').arange(4).reshape(2, 2)", "[[0, 1], [2, 3]]"),
        ("__import__('pandas').DataFrame({'a': [1, 2]})", "[{'a': 1}, {'a': 2}]"),
        ("'\\ud800 \\u00e9'", "'? é'"),
    ],
)
def test_python_values_reach_a_tool_as_plain_data(any_code: Code, given: str, got: str) -> None:
    assert any_code.value(f"echo({given})") == got


@pytest.mark.parametrize(
    "given", ["float('nan')", "float('inf')", "b'x'", "object()", "print", "(l := []).append(l) or l"]
)
def test_what_is_no_plain_data_is_a_clear_type_error(any_code: Code, given: str) -> None:
    assert "cannot leave the code" in any_code(f"echo({given})").error.splitlines()[-1]


def test_an_argument_that_is_too_large_is_an_error_in_the_code(any_code: Code) -> None:
    assert "is the most" in any_code("echo('x' * 9_000_000)").error
    assert any_code.value("len(echo('x' * 1_000_000))") == "1000000"


def test_a_step_may_call_tools_so_often_and_the_next_may_again(tmp_path: Path) -> None:
    with Code(tmp_path, Limits(calls=3)) as code:
        assert "A step may call tools 3 times" in code("for i in range(4): add(i)").error
        assert code.value("add(1)") == "2"


def test_a_thread_that_outlives_its_step_calls_no_tool(code: Code) -> None:
    code(
        "import threading, time\nseen = []\ngo = threading.Event()\ndef late():\n    go.wait()\n    time.sleep(0.05)\n"
        "    try: seen.append(add(1))\n    except ToolError as error: seen.append(str(error))\n"
        "thread = threading.Thread(target=late, daemon=True)\nthread.start()"
    )
    code("import os\nos.kill(os.getpid(), 0)\ngo.set()")  # ends before the thread calls
    time.sleep(0.2)
    code.run("pass", threading.Event())
    value = code.value("thread.join(5)\nseen")
    assert "after its step had ended" in value or value == "[2]"  # frozen between steps, it may come in a later one


def test_a_step_ends_when_its_calls_have_ended(any_code: Code) -> None:
    result = any_code("import threading\nthreading.Thread(target=slow, args=(1, 0.3)).start()")
    assert result.seconds >= 0.3


def test_an_unforeseen_failure_of_a_tool_is_an_error_in_the_code(any_code: Code) -> None:
    assert any_code("add(1, 'x')").error.splitlines()[-1].startswith("ToolError: add failed: TypeError: unsupported")


def test_tools_see_the_context_of_the_caller_of_run(tmp_path: Path) -> None:
    who = contextvars.ContextVar("who", default="nobody")
    with Executor(tmp_path, lambda _: who.get(), [ToolStub("ask")], on_output=lambda _: None) as code:
        who.set("ada")
        assert code.run("ask()", threading.Event()).value == "'ada'"


def test_a_result_that_is_no_json_is_an_error_in_the_code(tmp_path: Path) -> None:
    with Executor(tmp_path, lambda _: object(), [ToolStub("odd")], on_output=lambda _: None) as code:
        assert "cannot be handed over" in code.run("odd()", threading.Event()).error


@pytest.mark.parametrize(
    ("name", "signature"), [("a b", "()"), ("class", "()"), ("f", "(a: "), ("f", "(): pass\nimport os")]
)
def test_a_tool_with_an_odd_name_or_signature_is_refused(name: str, signature: str) -> None:
    with pytest.raises(Problem):
        ToolStub(name, signature)


# --- the final answer -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "answer"),
    [("'done'", "done"), ("answer={'a': (1, None)}", {"a": [1, None]}), ("float('nan')", "nan"), ("None", None)],
)
def test_final_answer_ends_the_step_with_plain_data(any_code: Code, given: str, answer: object) -> None:
    result = any_code(f"final_answer({given})\nprint('not reached')")
    assert (result.final, result.answer, result.output, result.error) == (True, answer, "", "")


def test_final_answer_counts_in_a_thread_in_asyncio_and_under_a_bare_except(any_code: Code) -> None:
    assert (
        any_code("import threading\nt = threading.Thread(target=final_answer, args=(1,))\nt.start()\nt.join()").answer
        == 1
    )
    assert any_code("async def f():\n    final_answer(2)\nawait f()").answer == 2
    assert any_code("try:\n    final_answer(3)\nexcept:\n    pass").answer == 3


# --- what the child cannot see --------------------------------------------------------------------


def test_the_hosts_environment_is_not_the_childs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with Code(tmp_path) as code:
        assert "hf_secret" not in code.value("import os\ndict(os.environ)")
        assert code.value("os.environ['HOME'] == os.environ['TMPDIR'] != os.getcwd()") == "True"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_the_host_is_hidden_once_it_has_a_child(tmp_path: Path) -> None:
    script = (
        "import sys, threading\nfrom pathlib import Path\nfrom agent.sandbox.host import Executor\n"
        "with Executor(Path(sys.argv[1]), lambda c: None, [], on_output=lambda t: None, level='unsafe') as code:\n"
        "    before = code.report()['kernel']['host_memory']\n    code.run('1', threading.Event())\n"
        "    print(before, '->', code.report()['kernel']['host_memory'])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "readable -> hidden\n", done.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has it")
def test_a_hidden_hosts_environment_cannot_be_read_by_its_children() -> None:
    """Root may read all of /proc, so root becomes nobody first; that alone hides it too, so it is made visible again."""
    script = (
        "import ctypes, os, subprocess\nfrom agent.sandbox.inside import confine\n"
        "if os.getuid() == 0: os.setgroups([]), os.setgid(65534), os.setuid(65534)\n"
        "ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)\n"
        "def read(): return subprocess.run(['cat', f'/proc/{os.getpid()}/environ'], capture_output=True, cwd='/').stdout\n"
        "print(b'hf_secret' in read(), confine.hide_host(), b'hf_secret' in read())\n"
    )
    environment = {**os.environ, "HF_TOKEN": "hf_secret"}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "True True False\n", done.stderr


def test_the_report_says_what_is_in_force_and_no_more(unsafe: Code) -> None:
    unsafe("pass")
    report = unsafe.report()
    json.dumps(report)
    assert (report["level"], report["landlock"], report["seccomp"]) == ("unsafe", 0, 0)
    assert report["memory_bytes"] == 3 << 30
    assert report["no_new_privs"] is (sys.platform == "linux")


def test_the_child_holds_no_descriptor_of_the_host(unsafe: Code, tmp_path: Path) -> None:
    with open(tmp_path / "secret", "w") as file:
        os.set_inheritable(file.fileno(), True)
        held = unsafe.value("import os\n[os.path.realpath(f'/proc/self/fd/{n}') for n in os.listdir('/proc/self/fd')]")
    assert "secret" not in held
    assert "pipe" in held


def test_two_sessions_do_not_see_each_others_variables(tmp_path: Path) -> None:
    with Code(tmp_path / "a") as one, Code(tmp_path / "b") as two:
        one("x = 'mine'")
        assert "NameError" in two("x").error


# --- no traces ------------------------------------------------------------------------------------


def test_closing_leaves_no_process_and_no_descriptor_behind(tmp_path: Path) -> None:
    me = psutil.Process()
    before = me.num_fds()
    for _ in range(10):
        with Code(tmp_path) as code:
            code("import subprocess\np = subprocess.Popen(['sleep', '60'])")
            code.close()
        with pytest.raises(Stopped):
            code("x = 1")
    assert me.num_fds() <= before + 5  # a spare has three
    assert [child for child in me.children(recursive=True) if child.status() == psutil.STATUS_ZOMBIE] == []


def test_the_child_dies_with_the_host_even_when_the_code_never_lets_go(tmp_path: Path) -> None:
    script = (
        "import sys, threading\nfrom pathlib import Path\nfrom agent.sandbox.host import Executor\n"
        "code = Executor(Path(sys.argv[1]), lambda c: None, [], on_output=lambda t: print(t, flush=True))\n"
        "code.run('import os\\nprint(os.getpid())\\nsum(range(10**12))', threading.Event())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout
        child = psutil.Process(int(host.stdout.readline()))
        host.kill()
    assert child.wait(timeout=10) is None or not child.is_running()


def test_a_run_outlives_the_thread_that_started_the_child(code: Code) -> None:
    thread = threading.Thread(target=code, args=("x = 1",))
    thread.start()
    thread.join()
    time.sleep(0.05)
    assert code("x").restarted == ""
