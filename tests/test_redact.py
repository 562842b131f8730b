"""Secrets are masked by their position in addresses; what surrounds them stays readable."""

from __future__ import annotations

import base64
import pickle
from urllib.parse import quote

import pytest

from benchmark.errors import InputError, TrackingError, first_line
from benchmark.redact import address_problem, has_secrets, shown, shown_address

HOSTILE = [
    "p@ssW0rdX",
    "@@@@pw99",
    "pa ss word9",
    "pa\nssword9",
    "pa/ssw0rd9",
    "12/ssw0rd9",
    "pa?ssw0rd9",
    "pa#ssw0rd9",
    "pa\\ssw0rd9",
    "pa[ssw0rd9",
    "\u202eevilpw99",
    "pw99\x1b[2K",
]
"""Passwords that an address cannot contain as they are."""


@pytest.mark.parametrize("password", HOSTILE)
def test_an_address_whose_password_cannot_be_found_with_certainty_is_refused(password: str) -> None:
    address = f"http://me:{password}@host:5000/base"
    assert address_problem(address) is not None
    assert shown_address(address) == "http://***"


@pytest.mark.parametrize("password", [*HOSTILE, "S3cretPW", 'it\'s"one"', "pässw0rd"])
def test_an_encoded_password_is_accepted_and_masked(password: str) -> None:
    address = f"http://me:{quote(password, safe='')}@host:5000/base"
    assert address_problem(address) is None
    assert shown_address(address) == "http://***@host:5000/base"


@pytest.mark.parametrize("address", ["http://host:port/x", "http://", "http://[::1/x", "http:///x"])
def test_an_address_without_a_valid_host_and_port_is_refused(address: str) -> None:
    assert "has no" in str(address_problem(address))


def test_the_secret_a_is_masked_where_it_stands_and_leaves_all_other_letters() -> None:
    address = "postgresql://me:a@data.base/a?token=a"
    masked = "postgresql://***@data.base/a?token=***"
    assert shown_address(address) == masked
    text = f"a database at {address} rejected a table"
    assert shown(text, address) == f"a database at {masked} rejected a table"


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("https://host/?abcdef123456", "https://host/?***"),
        ("https://host/x?a=1&abcdef&b=***c", "https://host/x?a=***&***&b=***"),
        ("https://host/x;token=abc;v", "https://host/x;token=***;***"),
        ("https://host/x#abc", "https://host/x#***"),
    ],
)
def test_every_part_of_a_query_is_masked(address: str, masked: str) -> None:
    assert shown(address) == shown(masked) == masked
    assert shown(f"{address}; try again") == f"{masked}; try again"


def test_a_secret_that_a_library_repeats_alone_is_masked_in_all_its_forms() -> None:
    address = "http://me:S3cret%2FPW@host"
    basic = base64.b64encode(b"me:S3cret/PW").decode()
    text = f"tried S3cret/PW, S3cret%2FPW and Basic {basic}"
    assert shown(text, address) == "tried ***, *** and Basic ***"


def test_a_short_secret_is_masked_only_as_a_whole_word() -> None:
    assert shown("pass, passed, compass", "http://me:pass@host") == "***, passed, compass"


def test_secrets_of_the_environment_are_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_0123456789")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:pr0xyPW99@proxy:3128")
    text = "401 for token hf_0123456789; proxy said pr0xyPW99"
    assert shown(text) == "401 for token ***; proxy said ***"


def test_paths_and_addresses_without_secrets_stay() -> None:
    for text in (
        "sqlite:////home/me@work/mlflow.db",
        "file:///home/me@work/x#1",
        "/home/me@work/x?y=5",
        "give http(s)://host:port",
        "me@work.org: no such file",
    ):
        assert shown(text) == text


def test_a_query_in_a_message_of_urllib3_is_masked() -> None:
    text = "Max retries exceeded with url: /base?token=abc&page=2 (Caused by x)"
    masked = "Max retries exceeded with url: /base?token=***&page=*** (Caused by x)"
    assert shown(text) == masked
    assert shown(masked) == masked


@pytest.mark.parametrize(
    ("address", "secret"),
    [
        ("http://host:5000/base", False),
        ("sqlite:////home/me@work/x.db", False),
        ("http://me:pw@host", True),
        ("http://token@host", True),
        ("me:pw@host", True),
        ("http:///me:pw@host", True),
        ("http://host/x?token=abc", True),
        ("http://host/x?abc", True),
        ("http://host/x#abc", True),
        ("sqlite:///x.db?password=abc", True),
    ],
)
def test_an_address_with_a_place_for_secrets_is_recognised(address: str, secret: bool) -> None:
    assert has_secrets(address) is secret


@pytest.mark.parametrize("kind", [InputError, TrackingError])
def test_an_error_for_users_holds_neither_passwords_nor_control_characters(
    kind: type[Exception],
) -> None:
    error = kind("http://me:S3cretPW@host: no\nkdbench: all is well\x1b[2K")
    assert str(error) == r"http://***@host: no\nkdbench: all is well\x1b[2K"
    assert "S3cretPW" not in repr(error)


def test_an_error_has_a_line_for_each_argument_and_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(InputError("one\ntwo", "three")))
    assert str(error) == "one\\ntwo\nthree"


def test_the_first_line_of_a_librarys_error_can_be_printed() -> None:
    assert first_line(ValueError("no http://me:pw@host\x07\nmore")) == r"no http://***@host\x07"
