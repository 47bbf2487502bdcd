"""A secret in the wrong setting leaves by no error, no result and no JSON; hashes are still shown."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp import Client
from mcp.types import CallToolResult

from seedance_mcp.config.settings import PROBLEMS_MAX, SETTINGS
from seedance_mcp.config.sources import HOSTED_SETTINGS
from seedance_mcp.core.redaction import VALUE_CHARACTERS_MAX, redact, redact_data
from seedance_mcp.server import build_server
from tests.cli.conftest import Person, write_keystore

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

KEY = "0x4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
PHRASE = "legal winner thank year wave sausage worth useful legal winner thank yellow"
LONG_PHRASE = f"{PHRASE} letter advice cage absurd amount doctor acoustic avoid letter advice cage above"
TOKEN = "ghp_" + "a1B2c3D4e5F6g7H8i9J0" * 2
URL = "https://ann:hunter2hunter2hunter2@studio.example"
SECRETS = {"key": KEY, "bare-key": KEY[2:], "phrase": PHRASE, "long-phrase": LONG_PHRASE, "token": TOKEN, "url": URL}
LIMITS = (
    "MAX_PRICE_PER_VIDEO", "MAX_PER_DAY", "MAX_PER_WEEK", "MAX_PER_MONTH", "MAX_PER_FILM", "MAX_TOTAL", "ASK_ABOVE",
    "RAILS", "RECIPIENTS", "MODELS", "ALLOW_PUSH",
)  # fmt: skip
"""Settings that do not end a quote if they are wrong; one answer names up to `PROBLEMS_MAX` of them."""
ALONE = sorted(set(SETTINGS) - {"WALLET_KEY"} - set(LIMITS) - set(HOSTED_SETTINGS))
TOGETHER = [
    tuple(HOSTED_SETTINGS),  # of which this server and these commands read none
    *(LIMITS[at : at + PROBLEMS_MAX] for at in range(0, len(LIMITS), PROBLEMS_MAX)),
    *((name,) for name in ALONE),
]
"""All settings, in groups of which one answer names each that is wrong."""
PASSWORD = "correct-horse-battery-staple-1234"


def find_leak(secret: str, text: str) -> str | None:
    """A part of a secret that is longer than what an error may quote."""
    secret = secret.removeprefix("0x").removeprefix("https://").partition("@")[0]
    length = VALUE_CHARACTERS_MAX + 1
    parts = [secret[at : at + length] for at in range(len(secret) - length + 1)]
    return next((part for part in parts if part in text), None)


def hold(secret: str, names: Sequence[str]) -> dict[str, str]:
    """Settings that all hold a secret."""
    return {f"SEEDANCE_{name}": secret for name in names}


def names_limits(names: Sequence[str], shown: str) -> bool:
    """Whether an answer names every limit among these settings."""
    return all(f"SEEDANCE_{name}" in shown for name in names if name in LIMITS)


def read(answer: CallToolResult) -> str:
    return json.dumps(answer.model_dump(mode="json"))


@pytest.mark.parametrize("shift", range(3))
async def test_secret_in_a_wrong_setting_is_in_no_answer_of_a_tool(
    shift: int,
    make_picture: Callable[..., Path],
    studio_server: "Sandbox",
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each setting holds each secret, and each tool answers for each group of settings."""
    monkeypatch.chdir(tmp_path)
    video = {"image": str(make_picture()), "prompt": "x"}
    calls: list[tuple[str, dict[str, str]]] = [("quote_price", video), ("wallet_status", {}), ("animate_image", video)]
    secret = (KEY, PHRASE, URL)[shift]
    for number, names in enumerate(TOGETHER):
        tool, arguments = calls[(number + shift) % len(calls)]
        environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio_server.url}
        async with Client(build_server({**environ, **hold(secret, names)})) as client:
            said = read(await client.call_tool(tool, arguments))
            assert find_leak(secret, said) is None, f"{names}: {said}"
            assert tool == "animate_image" or names_limits(names, said), f"{names}: {said}"


@pytest.mark.parametrize(
    ("secret", "as_json", "shift"),
    [(KEY, True, 0), (KEY, False, 1), (PHRASE, False, 0), (URL, True, 1)],
    ids=["key-json", "key", "phrase", "url-json"],
)
def test_secret_in_a_wrong_setting_is_in_no_output_of_a_command(
    secret: str, as_json: bool, shift: int, person: Person, studio_server: "Sandbox"
) -> None:
    """For each group of settings, each command runs with JSON and without, and with two of the secrets."""
    environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio_server.url}
    person.draw("a.png")
    commands = [("wallet", "show"), ("quote", "a.png", "--prompt", "x")]
    for number, names in enumerate(TOGETHER):
        command = commands[(number + shift) % 2]
        words = (*command, "--json") if as_json else command
        ended = person.run(*words, **{**environ, **hold(secret, names)})
        shown = ended.out + ended.err
        assert find_leak(secret, shown) is None, f"{names}: {shown}"
        assert names_limits(names, shown), f"{names}: {shown}"


@pytest.mark.parametrize("secret", [KEY, PHRASE, TOKEN], ids=["key", "phrase", "token"])
def test_doctor_and_install_name_the_setting_and_not_its_secret(secret: str, person: Person) -> None:
    for name in ("WALLET_FILE", "PROFILE_FILE", "IMAGE_DIRS", "MODELS"):
        for command in (("doctor", "--json"), ("install", "zed", "--dry-run")):
            ended = person.run(*command, **{"SEEDANCE_STUDIO_URL": "x", f"SEEDANCE_{name}": secret})
            assert find_leak(secret, ended.out + ended.err) is None
            assert ended.code == 2
    assert "SEEDANCE_MODELS" in person.run("jobs", SEEDANCE_MODELS=secret).one_line


async def test_secret_as_an_argument_is_not_repeated(make_picture: Callable[..., Path]) -> None:
    environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": "http://127.0.0.1:9"}
    async with Client(build_server(environ)) as client:
        for secret in SECRETS.values():
            for arguments in (
                {"image": secret, "prompt": "x"},
                {"image": str(make_picture()), "prompt": "x", "model": secret},
                {"image": str(make_picture()), "prompt": "x", "max_price_usd": secret},
            ):
                said = read(await client.call_tool("quote_price", arguments))
                assert find_leak(secret, said) is None, said


def test_password_in_place_of_its_file_is_not_repeated(person: Person) -> None:
    write_keystore(person.data_dir / "live" / "wallet.json", "0x" + "1" * 64, PASSWORD)
    person.draw("a.png")
    wrong = {"SEEDANCE_WALLET_PASSWORD_FILE": PASSWORD}
    for command in (("wallet", "show"), ("wallet", "show", "--json"), ("wallet", "fund"), ("doctor", "--json")):
        ended = person.run(*command, **wrong, HTTPS_PROXY="http://127.0.0.1:9")
        assert find_leak(PASSWORD, ended.out + ended.err) is None
    assert "SEEDANCE_WALLET_PASSWORD_FILE" in person.run("wallet", "fund", **wrong).one_line


@pytest.mark.parametrize("name", ["PROFILE_FILE", "WALLET_FILE", "IMAGE_DIRS"])
def test_missing_path_is_named_by_its_setting(name: str, person: Person) -> None:
    settings = {f"SEEDANCE_{name}": PASSWORD}
    if name == "PROFILE_FILE":
        settings["SEEDANCE_PROFILE"] = "custom"
    else:
        settings |= {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": "http://127.0.0.1:9"}
    person.draw("a.png")
    for command in (("wallet", "show"), ("wallet", "fund"), ("quote", "a.png", "--prompt", "x")):
        ended = person.run(*command, **settings)
        assert find_leak(PASSWORD, ended.out + ended.err) is None, ended.err
    assert (
        f"SEEDANCE_{name}"
        in person.run(
            *({"IMAGE_DIRS": ("quote", "a.png", "--prompt", "x")}.get(name, ("wallet", "fund"))), **settings
        ).err
    )


def test_hashes_of_a_purchase_are_still_shown(customer: Person) -> None:
    customer.draw("hash.png")
    upload = customer.run("upload", "hash.png", "--json").json
    video = customer.run("animate", "hash.png", "--prompt", "It moves", "--json").json

    assert len(upload["sha256"]) == 64
    assert len(video["receipt"]["transaction"]) == 66
    assert video["receipt"]["transaction"] in video["receipt"]["explorer_url"]


# ── the function itself ──────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"The key is {KEY}.", "The key is [redacted]."),
        (f"key={KEY[2:]}", "key=[redacted]"),
        (f"Paid by transaction {KEY}.", f"Paid by transaction {KEY}."),
        (f"It has the nonce {KEY}.", f"It has the nonce {KEY}."),
        (f"signature {KEY}{KEY[2:]}1b", "signature [redacted]"),
        (f"words: {PHRASE}", "words: [redacted]"),
        (f"{LONG_PHRASE.replace(' ', ', ')}", "[redacted]"),
        (PHRASE.replace("sausage", "sausige"), "[redacted]"),
        ("https://ann:pw@host/a?api_key=abc&x=1", "https://[redacted]@host/a?api_key=[redacted]&x=1"),
        ("Authorization: Bearer abcdefghijkl", "Authorization: Bearer [redacted]"),
        (TOKEN, "[redacted]"),
        ("A cat slowly turning its head and blinking in warm evening light over the harbour", None),
        ("slow camera push through misty forest while golden light falls over ancient mossy stones", None),
        ("0x07F067959297767c887dbfA3C72379c66E82a045 on eip155:8453", None),
    ],
)
def test_redaction_takes_out_secrets_and_leaves_the_rest(text: str, expected: str | None) -> None:
    assert redact(text) == (text if expected is None else expected)


def test_redaction_keeps_the_fields_that_hold_hashes() -> None:
    data: dict[str, Any] = {"receipt": {"transaction": KEY}, "notes": [f"see {KEY}"], "sha256": KEY[2:], "price": 1}
    assert redact_data(data) == {
        "receipt": {"transaction": KEY}, "notes": ["see [redacted]"], "sha256": KEY[2:], "price": 1,
    }  # fmt: skip


@given(before=st.text(max_size=80), secret=st.sampled_from([KEY, PHRASE, TOKEN]), after=st.text(max_size=80))
def test_redaction_leaves_no_secret_in_any_text(before: str, secret: str, after: str) -> None:
    text = redact(f"{before} {secret} {after}")
    is_named = any(word in text.lower() for word in ("transaction", "nonce"))
    assert secret not in text or is_named
    assert redact(text) == text or is_named
