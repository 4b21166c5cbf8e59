"""Where generated code runs: a child process that knows names and docs of tools, and no secrets.

Host side: host.py (Executor) over step.py, calls.py, child.py, messages.py. Child side, standard library only:
worker.py with snapshot.py, plain.py, confine.py, protocol.py. The child loads these by path, never through `agent`.
"""
