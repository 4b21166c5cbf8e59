"""ROOT: the project's folder. AT_ONCE: seconds that nothing takes which waits for nothing, however busy the machine is.

How soon Stop is felt on an idle machine, is measured by the benches.
"""

from pathlib import Path

ROOT = Path(__file__).parent.parent
AT_ONCE = 8.0
