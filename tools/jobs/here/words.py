"""What the place on this machine is called."""

from __future__ import annotations

from tools.cards import PlaceWords

HERE = PlaceWords(
    name="here",
    where="here",
    title="this machine",
    away=False,
    danger="without a fence around it",
    free="it ran on this machine",
)
