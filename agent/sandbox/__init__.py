"""Where generated code runs: a process that knows names and docs of tools, no secrets, and can reach nothing else.

Host side: host.py (Executor) runs steps by step.py, calls.py, child.py and messages.py. forks.py has the zygote and gets
workers from it; levels.py finds out by selftest.py what is in force; turns.py and seats.py say whose code runs; watch.py
and files.py look at what it takes; seal.py knows again what it has saved. See SECURITY.md for what holds.

inside/ is the child's side, standard library only, loaded by path and never through `agent`: zygote.py forks worker.py, which shuts itself
in by confine.py (landlock.py, seccomp.py, syscalls.py, broker.py), then runs steps with snapshot.py and plain.py.
"""
