"""A Spend as what HF Jobs is told: image, command, environment, labels, volumes. Pure.

The script travels compressed in the environment: no bucket and no repository is needed to start a job. On several
machines the same script runs under torchrun; the machines find each other by the names that the platform gives them.
"""

from __future__ import annotations

import base64
import hashlib
import re
import zlib
from collections.abc import Mapping
from typing import Any

from tools.cards import Spend
from tools.jobs import tracking
from tools.jobs.checks import OUTPUTS, TRACKED, volume
from tools.jobs.remote.client import Submission
from tools.problem import Problem

LABEL = "ml-intern"  # its value starts at most one job (per machine)
NODE = "ml-intern-node"
KIND = "ml-intern-kind"  # "job" or "sandbox"
IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"  # huggingface_hub's own for scripts
PIECE = 96 * 1024  # characters of one environment variable; Linux takes 128 KiB
PIECES = 4
PORT = 29_500  # of the rendezvous

_METADATA = re.compile(r"^# /// script\s*$", re.MULTILINE)

_UNPACK = (
    "import base64,os,zlib;"
    't="".join(os.environ["ML_INTERN_SCRIPT_%d"%n] for n in range(int(os.environ["ML_INTERN_SCRIPTS"])));'
    'open("script.py","wb").write(zlib.decompress(base64.b64decode(t)))'
)
_BEGIN = f"""\
set -e
if [ -n "$ML_INTERN_UNTIL" ] && [ "$(date +%s)" -gt "$ML_INTERN_UNTIL" ]; then
  echo "This schedule has ended; delete it."
  exit 0
fi
mkdir -p /tmp/job
cd /tmp/job
python3 -c '{_UNPACK}'
unset ML_INTERN_SCRIPTS {" ".join(f"ML_INTERN_SCRIPT_{n}" for n in range(PIECES))}
command -v uv >/dev/null 2>&1 || python3 -m pip install --quiet uv
"""
_ALONE = _BEGIN + 'exec uv run --no-project "$@" script.py\n'
_TOGETHER = (
    _BEGIN
    + 'exec uv run --no-project "$@" --master-addr "${HF_NETWORK_GROUP_PREFIX}node-0" '
    + f"--master-port {PORT} script.py\n"
)


def submissions(label: str, spec: Spend, secrets: Mapping[str, str]) -> list[Submission]:
    """One per machine, the first leads. secrets: the values of spec's. Raises Problem for what cannot be sent."""
    env = {**spec.env, **_packed(spec.script), "PYTHONUNBUFFERED": "1", "OUTPUTS": OUTPUTS if spec.outputs else "."}
    env |= tracking.environment(label, spec, TRACKED.removesuffix("/inbox") if spec.dashboard else tracking.ASIDE)
    volumes = [_mounted(text) for text in spec.volumes]
    if spec.outputs:
        kept = {"type": "bucket", "source": spec.outputs, "mount_path": OUTPUTS, "path": label, "read_only": False}
        volumes.append(kept)
    if spec.dashboard:
        volumes.append(tracking.volume(label, spec))
    return [
        Submission(
            namespace=spec.namespace,
            image=spec.image or IMAGE,
            command=_command(spec, node),
            env=env,
            secrets=secrets,
            flavor=spec.flavor,
            timeout_seconds=spec.timeout_seconds,
            labels={**spec.labels, **labels(label, spec, node)},
            volumes=volumes,
            network_group=group(label) if spec.nodes > 1 else "",
            network_alias=f"node-{node}" if spec.nodes > 1 else "",
        )
        for node in range(spec.nodes)
    ]


def labels(label: str, spec: Spend, node: int = 0) -> dict[str, str]:
    """What every job of this app carries. name: what the Hub's page shows."""
    name = re.sub(r"[^a-zA-Z0-9_-]+", "-", spec.title).strip("-")[:60] or "ml-intern"
    return {LABEL: label, NODE: str(node), KIND: "sandbox" if spec.place.runs == "machine" else "job", "name": name}


def group(label: str) -> str:
    """The name of the network that the machines of one job share."""
    return f"ml-intern-{hashlib.sha256(label.encode()).hexdigest()[:16]}"


def _mounted(text: str) -> dict[str, Any]:
    kind, source, path = volume(text)
    return {"type": kind, "source": source, "mount_path": path, "read_only": True}


def _command(spec: Spend, node: int) -> list[str]:
    packages = [f"--with={requirement}" for requirement in spec.dependencies]
    if spec.nodes == 1:
        return ["/bin/sh", "-c", _ALONE, "job", *packages]
    if _METADATA.search(spec.script):
        packages.append("--with-requirements=script.py")
    each = "1" if spec.flavor.startswith("cpu") else "gpu"
    ranks = [f"--nnodes={spec.nodes}", f"--node-rank={node}", f"--nproc-per-node={each}"]
    return ["/bin/sh", "-c", _TOGETHER, "job", *packages, "--", "torchrun", *ranks]


def _packed(script: str) -> dict[str, str]:
    text = base64.b64encode(zlib.compress(script.encode(), 9)).decode()
    pieces = [text[at : at + PIECE] for at in range(0, len(text), PIECE)]
    if len(pieces) > PIECES:
        raise Problem(
            f"The script is too large to be sent: {len(text):,} characters when packed.",
            f"At most {PIECE * PIECES:,} can be; put data into a dataset and mount it as a volume.",
        )
    return {"ML_INTERN_SCRIPTS": str(len(pieces))} | {f"ML_INTERN_SCRIPT_{n}": p for n, p in enumerate(pieces)}
