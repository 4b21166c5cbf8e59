"""What was measured, as a table for people and as one line of JSON for programs."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field

from bench.browser import PageFigures
from bench.measure import Figures
from tests.agent.situations import SITUATIONS

BARS = {
    "one: KB per run, on the wire": 60.0,
    "one: server CPU seconds per run": 4.0,
    "one: CPU of the last steps / the first": 1.5,
    "one: latency of the last steps / the first": 1.5,
    "eight: token to client, p95 ms": 150.0,
    "fifty: slowest run / ideal": 1.1,
    "fifty: token to client, p95 ms": 250.0,
    "page, 100 steps: main thread, ms per token": 15.0,
    "tokens: fixed prompt, acting by code": 6000,
    **{f"stop while {situation}: ms": 1000.0 for situation in SITUATIONS},
}
PARTS = ("one", "eight", "fifty", "fifty at once")


@dataclass
class Report:
    """All figures of one bench. Parts that were left out are missing."""

    quick: bool = False
    ours: dict[str, Figures] = field(default_factory=dict)  # by part, see PARTS
    peer: dict[str, Figures] = field(default_factory=dict)
    pages: list[PageFigures] = field(default_factory=list)
    stops: dict[str, float] = field(default_factory=dict)  # situation -> milliseconds
    tokens: dict[str, float] = field(default_factory=dict)  # figure -> value
    notes: list[str] = field(default_factory=list)
    load: float = field(default_factory=lambda: round(os.getloadavg()[0], 2))  # of this machine when the bench began

    @property
    def missed(self) -> list[str]:
        """The bars that ours did not meet. A quick bench has none: its runs are shorter than the bars are meant for."""
        if self.quick:
            return []
        ours = {name: values[0] for name, values in self._rows().items()}
        return [name for name, bar in BARS.items() if (value := ours.get(name)) is not None and value > bar]

    def table(self) -> str:
        missed = self.missed
        lines = [f"{'':66} {'ours':>12} {'GradioUI':>12} {'bar':>8}"]
        for name, values in self._rows().items():
            bar = BARS.get(name)
            verdict = "" if bar is None or self.quick or values[0] is None else "MISSED" if name in missed else "met"
            cells = [_number(value) for value in values]
            lines.append(f"{name:66} {cells[0]:>12} {cells[1]:>12} {_number(bar):>8}  {verdict}".rstrip())
        return "\n".join([*lines, "", *(f"- {note}" for note in self.notes)])

    def line(self) -> str:
        """Everything as one line of JSON."""
        groups = {app: {part: _told(figures) for part, figures in parts.items()} for app, parts in self._apps()}
        return json.dumps(
            {
                "bench": "stream",
                "quick": self.quick,
                "cores": os.cpu_count(),
                "load_at_start": self.load,
                **groups,
                "stop_ms": self.stops,
                "tokens": {name: round(value, 3) for name, value in self.tokens.items()},
                "pages": [_told(page) for page in self.pages],
                "bars": BARS,
                "missed": self.missed,
                "notes": self.notes,
            }
        )

    def _apps(self) -> list[tuple[str, dict[str, Figures]]]:
        return [("ours", self.ours), ("gradio_ui", self.peer)]

    def _rows(self) -> dict[str, tuple[float | None, float | None]]:
        """Name -> what ours and the peer have."""
        rows: dict[str, tuple[float | None, float | None]] = {}
        for part in PARTS:
            ours, peer = (_of_group(parts.get(part)) for _, parts in self._apps())
            for name in ours | peer:
                rows[f"{part}: {name}"] = ours.get(name), peer.get(name)
        for page in self.pages:
            rows |= {
                f"page, {page.steps_before} steps: {name}": (value, None) for name, value in _of_page(page).items()
            }
        rows |= {f"tokens: {name}": (value, None) for name, value in self.tokens.items()}
        rows |= {f"stop while {situation}: ms": (value, None) for situation, value in self.stops.items()}
        return rows


def _of_group(figures: Figures | None) -> dict[str, float]:
    if figures is None:
        return {}
    rows = {
        "sessions at once": figures.sessions,
        "steps of a run": figures.steps,
        "slowest run, seconds": figures.wall_seconds,
        "slowest run / ideal": figures.wall_seconds / figures.ideal_seconds,
        "longest wait for a first token, s": figures.first_token_seconds,
        "token to client, p50 ms": figures.p50_ms,
        "token to client, p95 ms": figures.p95_ms,
        "tokens that never came": figures.lost_tokens,
        "pause between two steps, p50 ms": figures.pause_p50_ms,
        "pause between two steps, p95 ms": figures.pause_p95_ms,
        "model speaks, seconds per step": figures.model_seconds_per_step,
        "server CPU seconds per run": figures.cpu_seconds_per_run,
        "server CPU, ms per token": figures.cpu_ms_per_token,
        "KB per run, on the wire": figures.wire_kb_per_run,
        "KB per run, unpacked": figures.plain_kb_per_run,
        "events per run": figures.events_per_run,
        "app memory before, MB": figures.app_mb[0],
        "app memory after, MB": figures.app_mb[1],
        "memory of its children after, MB": figures.children_mb[1],
    }
    if figures.sessions == 1:  # with more, the steps of one run are not alone
        rows |= {
            "CPU of the last steps / the first": figures.cpu_growth,
            "latency of the last steps / the first": figures.latency_growth,
        }
    return rows


def _of_page(page: PageFigures) -> dict[str, float]:
    return {
        "main thread, ms per token": page.task_ms_per_token,
        "of it scripts": page.script_ms_per_token,
        "of it layout and style": page.layout_ms_per_token,
        "reload to the last line, s": page.reload_seconds,
        "replay without a page, ms": page.replay_ms,
        "replay, KB on the wire": page.replay_kb,
    }


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if isinstance(value, int) or value >= 1000 else f"{value:.3g}"


def _told(figures: Figures | PageFigures) -> dict[str, object]:
    rounded = json.loads(json.dumps(asdict(figures)), parse_float=lambda text: round(float(text), 3))
    return dict(rounded)
