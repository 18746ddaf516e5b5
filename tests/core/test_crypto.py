"""What is sealed opens only with its key and in its place; a token is found by a keyed hash alone."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core import crypto
from controller.core.crypto import Sealed, Sealer, SealError

KEY = crypto.new_key()
PLACE = "box|telegram|1"


def flipped(data: bytes, at: int) -> bytes:
    """``data`` with one bit of one byte changed."""
    at %= len(data)
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@settings(max_examples=30)
@given(st.text(max_size=200), st.text(max_size=60))
def test_what_was_sealed_opens_in_its_place(plain: str, place: str) -> None:
    sealer = Sealer(KEY)
    assert sealer.open(sealer.seal(plain, place), place) == plain


@settings(max_examples=30)
@given(st.integers(0, 1000), st.sampled_from(["wrapped_key", "ciphertext"]))
def test_no_byte_can_be_changed(at: int, part: str) -> None:
    sealed = Sealer(KEY).seal("secret", PLACE)
    changed = replace(sealed, **{part: flipped(getattr(sealed, part), at)})
    with pytest.raises(SealError):
        Sealer(KEY).open(changed, PLACE)


@pytest.mark.parametrize("place", ["box|telegram|2", "other|telegram|1", "box|proxy|1", ""])
def test_a_value_moved_elsewhere_does_not_open(place: str) -> None:
    with pytest.raises(SealError):
        Sealer(KEY).open(Sealer(KEY).seal("secret", PLACE), place)


def test_another_key_does_not_open_it() -> None:
    with pytest.raises(SealError):
        Sealer(crypto.new_key()).open(Sealer(KEY).seal("secret", PLACE), PLACE)


@pytest.mark.parametrize("sealed", [Sealed(b"", b""), Sealed(b"short", b"short"), Sealed(b"\0" * 60, b"\0" * 40)])
def test_bytes_that_were_never_sealed_are_refused(sealed: Sealed) -> None:
    with pytest.raises(SealError):
        Sealer(KEY).open(sealed, PLACE)


def test_sealing_twice_shows_no_likeness() -> None:
    first, second = Sealer(KEY).seal("secret", PLACE), Sealer(KEY).seal("secret", PLACE)
    assert first.ciphertext != second.ciphertext
    assert first.wrapped_key != second.wrapped_key


@pytest.mark.parametrize(
    "key",
    ["", "short", "ä" * 43, base64.urlsafe_b64encode(b"0" * 31).decode(), KEY + "AAAA", f"{KEY[:20]}!{KEY[20:]}"],
    ids=["empty", "short", "not ascii", "31 bytes", "35 bytes", "a stray character"],
)
def test_a_malformed_key_is_refused(key: str) -> None:
    with pytest.raises(SealError) as caught:
        Sealer(key)
    assert caught.value.code == "sealing_key_malformed"


def test_the_lookup_is_the_same_for_the_same_token_and_pepper_only() -> None:
    names = {crypto.lookup(pepper, token) for pepper in ("p", "q") for token in ("a", "b")}
    assert len(names) == 4
    assert crypto.lookup("p", "a") in names


@pytest.mark.parametrize(
    ("left", "right", "equal"), [("a", "a", True), ("a", "b", False), ("", "", True), ("ä", "a", False)]
)
def test_same_tells_equal_secrets(left: str, right: str, equal: bool) -> None:
    assert crypto.same(left, right) is equal
