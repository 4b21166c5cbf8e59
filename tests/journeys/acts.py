"""What a user does on the page, for the tests that need no more than that."""

from __future__ import annotations

from playwright.sync_api import Page, expect


def start(page: Page, path: str = "./") -> None:
    page.goto(path)
    expect(page.get_by_label("Your message")).to_be_visible()


def say(page: Page, text: str) -> None:
    page.get_by_label("Your message").fill(text)
    page.get_by_label("Your message").press("Enter")
