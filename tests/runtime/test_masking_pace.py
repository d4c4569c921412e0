"""Masking takes time in proportion to the text, whatever somebody wrote to hold it up."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from runtime.masking import StreamMask, mask
from runtime.secret_kinds import KINDS

# What patterns begin with, what nearly fits them, and what fits; each is repeated without end.
UNITS = [
    *(
        "sk-",
        "sk-1",
        "eyJ-",
        "eyJ-eyJaaaaa.",
        "eyJsk-",
        "-----BEGIN ",
        "-----BEGIN PRIVATE KEY-----",
        "-",
        "ghp_",
    ),
    *(
        "-----BEGIN PRIVATE KEY-----\n-----END ",
        "sk_live_",
        "github_pat_",
        "glpat-",
        "xox",
        "AIza",
        "npm_",
        "hf_",
    ),
    *("SG.", "SG.aaaaaaaaaaaaaaaaaaaa", "pypi-", "cs_", "AKIA", "ASIA", "bearer ", "bearer/", "basic  "),
    *("authorization.basic ", "pwd:", "pwd:,", "pwd:!-", "password is ", "api key: ", "密码是", "secret='"),
    *("key ", "token ", "://", "://a:b", ":// :", "4242", "4242 ", "4242 4242 4242 4242 ", "[masked:"),
    *("sk-aaaaaaaaaaaaaaa1 4242424242424242 ", "[masked:card:aaaaaaaaaaaaaaaa] 4242424242424242 "),
]
AT_MOST = (
    30.0  # times as long, for ten times as much; a hundred times where characters are read again and again
)
SECONDS = 10.0  # of the longer text, which takes one at most


def seconds(work: Callable[[str], object], text: str) -> float:
    begun = time.thread_time()
    work(text)
    return max(time.thread_time() - begun, 0.002)  # what is quicker is not worth comparing


def streamed(text: str) -> str:
    stream = StreamMask()
    return "".join(stream.feed(text[at : at + 10]) for at in range(0, len(text), 10)) + stream.end()


def of_length(unit: str, length: int) -> str:
    """The last character fits no pattern: what was read to the end was read in vain."""
    return (unit * (length // len(unit) + 1))[:length] + "\x00"


def test_every_kind_is_attacked() -> None:
    told = " ".join(UNITS).lower()

    assert [kind.signs for kind in KINDS if kind.signs and not any(sign in told for sign in kind.signs)] == []


@pytest.mark.parametrize("unit", UNITS)
def test_ten_times_the_text_takes_ten_times_as_long(unit: str) -> None:
    short = seconds(mask, of_length(unit, 30_000))
    long = seconds(mask, of_length(unit, 300_000))

    assert long < SECONDS
    assert long / short < AT_MOST


@pytest.mark.parametrize("unit", ["sk-", "eyJ-", "a", "pwd:", "-----BEGIN PRIVATE KEY-----", "4242 "])
def test_a_stream_in_small_pieces_takes_as_long_as_it_is(unit: str) -> None:
    short = seconds(streamed, of_length(unit, 30_000))
    long = seconds(streamed, of_length(unit, 300_000))

    assert long < SECONDS
    assert long / short < AT_MOST


def test_a_long_word_of_a_stream_comes_out_whole() -> None:
    text = "sk-" * 3_000 + " and on"

    assert streamed(text) == text


def test_a_secret_behind_a_long_beginning_is_masked_in_a_stream() -> None:
    text = "https://" + "a" * 3_000 + " sk-proj-CANARYabcdef0123456789 after"

    assert "CANARY" not in streamed(text)
    assert streamed(text).endswith(" after")


def test_of_two_keys_in_a_row_the_second_is_held_back_too() -> None:
    first = "-----BEGIN PRIVATE KEY-----\nA\n-----END PRIVATE KEY-----"
    stream = StreamMask()
    out = stream.feed(f"{first}-----BEGIN PRIVATE KEY-----\nMIICANARY") + stream.feed("\nMIIC") + stream.end()

    assert "MIIC" not in out
