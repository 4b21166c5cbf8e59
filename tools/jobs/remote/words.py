"""What the places on Hugging Face are called."""

from __future__ import annotations

from tools.cards import PlaceWords

JOBS = PlaceWords(
    name="jobs",
    where="jobs",
    title="Hugging Face Jobs",
    takes=("flavor", "nodes", "secrets", "volumes", "labels", "namespace", "outputs", "dashboard"),
    payer="you",
)
SCHEDULE = PlaceWords(
    name="schedule",
    where="jobs",
    title="Hugging Face Jobs",
    runs="cron",
    takes=("flavor", "secrets", "volumes", "labels", "namespace", "outputs"),
    payer="you",
    stop="Stop this schedule",
)
SANDBOX = PlaceWords(
    name="sandbox",
    where="sandbox",
    title="a sandbox on Hugging Face",
    runs="machine",
    takes=("flavor", "namespace"),
    payer="you",
    tag="sandbox",
    stop="End this sandbox",
    warning="What the agent runs in it after this is not asked about again.",
)
