"""Secrets are found wherever they stand, however many there are, and nothing else is touched."""

from __future__ import annotations

import random
import re

import pytest

from execwire.delivery import Secrets


def test_every_secret_and_nothing_else():
    chance = random.Random(1)
    secrets = ["".join(chance.choices("abcDEF0189_-/", k=chance.randint(3, 12))).encode() for _ in range(300)]
    hide = Secrets()
    for one in secrets:
        hide.add(one)
    for _ in range(200):
        text = "".join(chance.choices('abcDEF0189_-/:,"{} ', k=200)).encode()
        text += b" ".join(chance.sample(secrets, 3)) + text[:7]
        expected = bytearray(text)
        for one in secrets:  # those that overlap, too
            for found in re.finditer(rb"(?=%b)" % re.escape(one), text):
                expected[found.start() : found.start() + len(one)] = b"*" * len(one)
        assert hide.hide(text) == bytes(expected)


def test_without_secrets_the_text_itself_comes_back():
    hide = Secrets()
    for text in (b"", b"ab", b"abc" * 100):
        assert hide.hide(text) is text
    hide.add(b"ab")  # too short to be one
    assert hide.hide(b"abab") == b"abab"
    hide.add(b"secret")
    hide.add(b"secret")
    assert hide.hide(b"secre secret") == b"secre ******"
    assert "secret" not in repr(hide).lower().replace("secrets(...)", "")
    with pytest.raises(TypeError):
        hide.__reduce__()
