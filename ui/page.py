"""The page: Gradio's shell with three empty places, which the modules in static/ fill from a session's events."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.themes.utils.fonts import LocalFont

from ui.assets import HASH
from ui.login import Login
from ui.routes import PREFIX, routes

if TYPE_CHECKING:
    from agent.sessions import Menu, Sessions

TITLE = "ML Intern"

# Relative, so that it also works behind a prefix.
HEAD = f"""
<link rel="stylesheet" href=".{PREFIX}/static/{HASH}/style.css">
<link rel="stylesheet" href=".{PREFIX}/static/{HASH}/timeline.css">
<link rel="stylesheet" href=".{PREFIX}/static/{HASH}/cards.css">
<link rel="stylesheet" href=".{PREFIX}/static/{HASH}/models.css">
<script type="module" src=".{PREFIX}/static/{HASH}/main.js"></script>
"""


@dataclass(frozen=True)
class Page:
    """The Blocks, and what their launch() needs beside a port: demo.launch(server_port=..., **page.launch)."""

    demo: gr.Blocks
    launch: dict[str, Any]


def build(sessions: Sessions, environ: Mapping[str, str], menu: Menu | None = None) -> Page:
    """Make the page of an app. environ says where it runs and whether sign-in is configured.

    menu: what the user may choose to think with; None where nothing can be chosen.
    """
    login = Login.from_environment(environ)
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as demo, gr.Row(elem_id="ml-intern"):
        with gr.Column(elem_id="ml-side", min_width=0):
            _place("side")
            if login.oauth:
                gr.LoginButton(elem_id="ml-login", size="sm")
        with gr.Column(elem_id="ml-main", min_width=0):
            _place("timeline")
            _place("composer")
        with gr.Column(elem_id="ml-panel", min_width=0):
            _place("panel")
    return Page(
        demo,
        {
            "app_kwargs": {"routes": routes(sessions, login, menu)},
            "head": HEAD,
            "theme": _theme(),
            "ssr_mode": False,
            "run_history": False,
            "show_error": True,
            "footer_links": [],
        },
    )


def launch(sessions: Sessions, port: int) -> None:
    """Open the page and serve it until the process is told to end."""
    page = build(sessions, os.environ, sessions.menu)
    page.demo.launch(server_port=port, **page.launch)


def _place(name: str) -> None:
    gr.HTML(f'<div id="ml-{name}-place"></div>', js_on_load=None, apply_default_css=False, elem_id=f"ml-{name}-html")


def _theme() -> gr.themes.Base:
    """Amber on slate, with the fonts that Gradio itself ships: nothing is fetched from elsewhere."""
    return gr.themes.Default(
        primary_hue="amber",
        secondary_hue="indigo",
        neutral_hue="slate",
        radius_size="lg",
        font=(LocalFont("IBM Plex Sans", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"),
        font_mono=(LocalFont("IBM Plex Mono", weights=(400, 700)), "ui-monospace", "monospace"),
    )
