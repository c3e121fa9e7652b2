"""What several of the tests without a host share."""

import os

import pytest
from fewstep.weights import stream


@pytest.fixture
def replaced_when_closed(monkeypatch):
    """As on Windows: no file that is still open can be replaced."""
    opened, replace, enter = [], os.replace, stream.Reader.__enter__

    def entered(reader):
        opened.append(reader)
        return enter(reader)

    def replacing(source, target):
        assert len(opened) == 2 and all(reader.file.closed for reader in opened), "a parent is still open"
        replace(source, target)

    monkeypatch.setattr(stream.Reader, "__enter__", entered)
    monkeypatch.setattr(os, "replace", replacing)
