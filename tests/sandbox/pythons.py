"""`python -m tests.sandbox.pythons INTERPRETER ...`: both corpora with the workers of other Pythons, as a table.

Each interpreter needs numpy, pandas, pyarrow, matplotlib and yaml, as the snippets do. Ends with 1 if anything is red.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from tests.sandbox import corpus, harness
from tests.sandbox.attacks import ATTACKS

LEVELS = ("full", "brokered")


def main(pythons: Sequence[str]) -> int:
    cases = [*corpus.attacks(), *ATTACKS]
    red = 0
    for python in pythons:
        version = subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout.strip()
        for level in LEVELS:
            differences = {name: found for name, found in harness.work(corpus.honest(), level, python).items() if found}
            verdicts = harness.attack_together(cases, level, python)
            breached = {name: verdict.breaches for name, verdict in verdicts.items() if verdict.breaches}
            red += len(differences) + len(breached)
            print(
                f"{version:14} {level:9} attacks {len(cases) - len(breached)}/{len(cases)} stopped,"
                f" honest {len(corpus.honest()) - len(differences)}/{len(corpus.honest())} right",
                flush=True,
            )
            for name, what in {**breached, **differences}.items():
                print(f"  {name}: {'; '.join(what)[:300]}", flush=True)
    return min(red, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
