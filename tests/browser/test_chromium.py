"""A Chromium that hangs when a window is closed costs a run its patience, and nothing else."""

import os
import signal

import pytest
from playwright.sync_api import Browser

from tests.browser import chromium
from tests.browser.chromium import Chromium, Hangs, close, running

pytestmark = pytest.mark.browser


def hung(browser: Browser) -> None:
    context = browser.new_context()
    context.new_page()
    for pid in running():
        os.kill(pid, signal.SIGSTOP)
    close(context)


def test_one_that_hangs_is_ended_and_another_begun(
    running_chromium: Chromium, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Hangs, "seen", 0)
    monkeypatch.setattr(chromium, "CLOSED_MAX_S", 1)
    hung(running_chromium.browser)
    assert "did not close a window within 1 s" in capsys.readouterr().err
    page = running_chromium.browser.new_page()
    assert page.evaluate("1 + 1") == 2
    close(page.context)


def test_where_they_hang_again_and_again_it_is_a_fault(
    running_chromium: Chromium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Hangs, "seen", chromium.HANGS_MAX)
    monkeypatch.setattr(chromium, "CLOSED_MAX_S", 1)
    with pytest.raises(AssertionError, match="hung 3 times"):
        hung(running_chromium.browser)
