"""The owner's settings: every one, from both sources, and every kind of error."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seedance_mcp.config.names import NEVER_EMPTY, SETTINGS_FILE
from seedance_mcp.config.profiles import LIVE, SANDBOX_TOKEN, sandbox_profile
from seedance_mcp.config.settings import SETTINGS, SETTINGS_BYTES_MAX, Settings, read_settings
from seedance_mcp.config.sources import HOSTED_SETTINGS
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.limits import Limits

ADDRESS = "0x07F067959297767c887dbfA3C72379c66E82a045"
KEY = "0x" + "5eed" * 16
CUSTOM = f"""
studio_url = "https://studio.example"
blob_url = "https://blob.example/put"
pay_to = ["{ADDRESS}"]

[x402]
network = "eip155:84532"
asset = "0x036CbD53842c5426634e7929541eC2318f3dCF7e"
name = "USDC"
version = "2"
rpc_url = "https://rpc.example/v3/hunter2"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


def read(folder: Path, file: str | bytes | None = None, **environ: str) -> Settings:
    """Read settings from a folder whose settings.toml holds `file`, and from `SEEDANCE_<name>` variables."""
    folder.mkdir(exist_ok=True)
    if file is not None:
        (folder / SETTINGS_FILE).write_bytes(file if isinstance(file, bytes) else file.encode())
    named = {f"SEEDANCE_{name}": value for name, value in environ.items()}
    return read_settings({"SEEDANCE_DATA_DIR": str(folder), **named})


def read_custom(folder: Path, text: str) -> Settings:
    folder.mkdir(exist_ok=True)
    file = folder / "profile.toml"
    file.write_text(text, encoding="utf-8")
    return read(folder, PROFILE="custom", PROFILE_FILE=str(file))


def refuse(folder: Path, file: str | bytes | None = None, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, file, **environ)
    assert caught.value.payment_state == "none"
    assert caught.value.next_step
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) < 1200
    return text


def test_nothing_set_is_the_live_studio_within_small_limits(folder: Path) -> None:
    found = read(folder)
    assert found.profile == LIVE
    assert not found.embedded
    assert found.limits == Limits()
    assert found.limits.max_price_per_video_micro_usdc == 1_500_000
    assert found.limits.max_per_day_micro_usdc == 5_000_000
    assert found.limits.max_total_micro_usdc is found.limits.ask_above_micro_usdc is None
    assert found.limits.rails == ("x402", "mpp")
    assert found.data_dir == folder / "live"
    assert found.wallet_file == folder / "live" / "wallet.json"
    assert found.ledger_file == folder / "live" / "ledger.sqlite3"
    assert found.videos_dir == folder / "live" / "videos"
    assert found.wallet_key is None
    assert found.image_dirs == ()
    assert found.log_level == "WARNING"


def test_without_a_folder_the_platforms_own_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    for environ in ({}, {"SEEDANCE_DATA_DIR": ""}, {"SEEDANCE_DATA_DIR": "${user_config.folder}"}):
        assert "seedance-mcp" in read_settings(environ).data_dir.parts


# Each setting: its text in the environment, its line of TOML, how to see it, and what it must be.
EACH: dict[str, tuple[str, str, Callable[[Settings], object], object]] = {
    "PROFILE": ("sandbox", '"sandbox"', lambda found: found.profile.name, "sandbox"),
    "MAX_PRICE_PER_VIDEO": ("0.30", "0.30", lambda found: found.limits.max_price_per_video_micro_usdc, 300_000),
    "MAX_PER_DAY": ("2", "2", lambda found: found.limits.max_per_day_micro_usdc, 2_000_000),
    "MAX_PER_WEEK": ("7", "7", lambda found: found.limits.max_per_week_micro_usdc, 7_000_000),
    "MAX_PER_MONTH": ("20.5", '"20.5"', lambda found: found.limits.max_per_month_micro_usdc, 20_500_000),
    "MAX_PER_FILM": ("3", "3", lambda found: found.limits.max_per_film_micro_usdc, 3_000_000),
    "MAX_TOTAL": ("10.5", '"10.5"', lambda found: found.limits.max_total_micro_usdc, 10_500_000),
    "ASK_ABOVE": ("0", "0", lambda found: found.limits.ask_above_micro_usdc, 0),
    "RAILS": ("mpp, x402", '["mpp", "x402"]', lambda found: found.limits.rails, ("mpp", "x402")),
    "RECIPIENTS": (f"{ADDRESS} , ", f'["{ADDRESS}"]', lambda found: found.limits.recipients, (ADDRESS.lower(),)),
    "MODELS": (
        "seedance, seedance-fast", '["seedance", "seedance-fast"]',
        lambda found: found.limits.models, ("seedance", "seedance-fast"),
    ),
    "ALLOW_PUSH": ("on", '"on"', lambda found: found.limits.push_allowed, True),
    "RPC_URL": (
        "https://rpc.example/key, https://two.example", '["https://rpc.example/key", "https://two.example"]',
        lambda found: found.profile.rpc_urls, ("https://rpc.example/key", "https://two.example"),
    ),
    "TEMPO_RPC_URL": (
        "https://tempo.example/key", '"https://tempo.example/key"',
        lambda found: found.profile.tempo_rpc_urls, ("https://tempo.example/key",),
    ),
    "WALLET_FILE": ("/keys/w.json", '"/keys/w.json"', lambda found: found.wallet_file, Path("/keys/w.json")),
    "RESOURCE_LINKS": ("off", '"off"', lambda found: found.resource_links, False),
    "THUMBNAILS": ("off", '"off"', lambda found: found.thumbnails, False),
    "WALLET_KEYCHAIN": ("on", '"on"', lambda found: found.wallet_keychain, "live"),
    "KEY_FILE_GROUP_READABLE": ("on", '"on"', lambda found: found.key_file_group_readable, True),
    "WALLET_PASSWORD_FILE": ("/p.txt", '"/p.txt"', lambda found: found.wallet_password_file, Path("/p.txt")),
    "IMAGE_DIRS": (
        f"/pictures{os.pathsep}/photos", '["/pictures", "/photos"]',
        lambda found: found.image_dirs, (Path("/pictures"), Path("/photos")),
    ),
    "DATABASE_URL": (
        "postgresql://me:secret@db/ledger", '"postgresql://me:secret@db/ledger"',
        lambda found: found.database_url, "postgresql://me:secret@db/ledger",
    ),
    "DATABASE_DIRECT_URL": (
        "postgresql://db/ledger", '"postgresql://db/ledger"',
        lambda found: found.database_direct_url, "postgresql://db/ledger",
    ),
    "KEEP_DAYS": ("90", "90", lambda found: found.keep_days, 90),
    "LOG_LEVEL": ("debug", '"debug"', lambda found: found.log_level, "DEBUG"),
}  # fmt: skip
ENVIRONMENT_ONLY = {"DATA_DIR", "WALLET_KEY"}
TESTED_BELOW = {"STUDIO_URL", "PROFILE_FILE"}


def test_every_setting_is_in_this_file() -> None:
    assert set(EACH) | ENVIRONMENT_ONLY | TESTED_BELOW | set(HOSTED_SETTINGS) == set(SETTINGS)


@pytest.mark.parametrize("name", EACH)
def test_setting_is_read_from_either_place_and_the_environment_wins(name: str, folder: Path) -> None:
    text, line, see, value = EACH[name]
    assert see(read(folder, **{name: text})) == value
    assert see(read(folder, f"{name.lower()} = {line}")) == value
    assert see(read(folder, f'{name.lower()} = "nonsense\\u007f"', **{name: f"  {text} "})) == value


@pytest.mark.parametrize("password", ["pa/secret", "p@secret", "pa#secret@", "pa?secret"])
@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_DIRECT_URL"])
def test_database_address_with_an_unencoded_password_is_refused_and_not_shown(
    name: str, password: str, folder: Path
) -> None:
    said = refuse(folder, **{name: f"postgresql://me:{password}@db/ledger"})
    assert f"SEEDANCE_{name}" in said
    assert "percent-encoded" in said
    assert "secret" not in said


def test_embedded_sandbox_uses_no_shared_database(folder: Path) -> None:
    found = read(folder, PROFILE="sandbox", DATABASE_URL="postgresql://db/ledger")
    assert (found.database_url, found.database_direct_url) == (None, None)


@pytest.mark.parametrize("name", [name for name in NEVER_EMPTY if name not in HOSTED_SETTINGS])
@pytest.mark.parametrize("empty", ["", "   "])
def test_empty_limit_is_an_error(name: str, empty: str, folder: Path) -> None:
    assert f"SEEDANCE_{name} (environment) is empty" in refuse(folder, **{name: empty})
    assert f"SEEDANCE_{name} (environment) is empty" in refuse(
        folder, f"{name.lower()} = {EACH[name][1]}", **{name: empty}
    )
    assert f"{name.lower()} in {folder / SETTINGS_FILE} is empty" in refuse(folder, f'{name.lower()} = "{empty}"')


@pytest.mark.parametrize(
    ("name", "unset"),
    [
        (name, unset)
        for name in EACH
        for unset in ("", "   ", "${user_config.x}")
        if unset.strip() or name not in NEVER_EMPTY
    ],
)
def test_empty_value_of_any_other_setting_means_unset(name: str, unset: str, folder: Path) -> None:
    """An optional field that is empty in a bundle's form is also unset."""
    see = EACH[name][2]
    assert see(read(folder, **{name: unset})) == see(read(folder))
    assert see(read(folder, f"{name.lower()} = {EACH[name][1]}", **{name: unset})) == EACH[name][3]


@pytest.mark.parametrize("name", [*EACH, "DATA_DIR"])
def test_unfilled_variable_of_a_host_is_an_error(name: str, folder: Path) -> None:
    said = refuse(folder, **{name: "${OWNERS_LIMIT}"})
    assert f"SEEDANCE_{name} (environment) is the literal «${{OWNERS_LIMIT}}»" in said
    if name in EACH:
        assert f"SEEDANCE_{name}" in refuse(folder, f"{name.lower()} = {EACH[name][1]}", **{name: "${X}"})


def test_unfilled_key_of_a_host_still_allows_quotes(folder: Path) -> None:
    assert read(folder, WALLET_KEY="${SEEDANCE_WALLET_KEY}").wallet_key is None


@pytest.mark.parametrize("name", ["RAILS", "RECIPIENTS", "WALLET_FILE", "WALLET_KEYCHAIN", "WALLET_PASSWORD_FILE"])
def test_sandbox_ignores_the_settings_of_a_real_wallet(name: str, folder: Path) -> None:
    text, line, see, value = EACH[name]
    file = f"{name.lower()} = {line}\nmax_total = 3\n"
    assert see(read(folder, file)) == value
    sandbox = read(folder, file, PROFILE="sandbox")
    assert see(sandbox) == see(read(folder, "", PROFILE="sandbox"))
    assert sandbox.limits.max_total_micro_usdc == 3_000_000, "limits are the owner's everywhere"
    own = read(folder, f'profile = "sandbox"\n{file}', PROFILE="sandbox")
    assert see(own) == see(read(folder, "", PROFILE="sandbox", **{name: text}))


def test_home_is_written_with_a_tilde(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    found = read(folder, WALLET_FILE="~/key", IMAGE_DIRS="~/pictures")
    assert (found.wallet_file, found.image_dirs) == (Path("/home/ann/key"), (Path("/home/ann/pictures"),))
    for name in ("WALLET_FILE", "IMAGE_DIRS", "DATA_DIR"):
        assert f"SEEDANCE_{name} (environment)" in refuse(folder, **{name: "~no-such-user-here/x"})


WRONG: dict[str, tuple[str, tuple[str, ...]]] = {
    "PROFILE": ("prod", ("'prod'", "live, sandbox, custom")),
    "MAX_PRICE_PER_VIDEO": ("1,50", ("'1,50'", "such as 1.50")),
    "MAX_PER_DAY": ("-1", ("'-1'", "US dollars")),
    "MAX_PER_WEEK": ("0.0000001", ("six decimals",)),
    "MAX_PER_MONTH": ("", ("is empty",)),
    "MAX_PER_FILM": ("", ("is empty",)),
    "MAX_TOTAL": ("0.0000001", ("six decimals",)),
    "ASK_ABOVE": ("$1", ("'$1'", "US dollars")),
    "RAILS": ("visa", ("'visa'", "Allowed are: x402")),
    "RECIPIENTS": (f"{ADDRESS},0x12", ("'0x12'", "not an address")),
    "MODELS": ("seedance,sora", ("'sora'", "seedance-fast, seedance")),
    "RPC_URL": ("http://rpc.example", ("not https",)),
    "RESOURCE_LINKS": ("no", ("'no'", "Allowed are: on, off")),
    "THUMBNAILS": ("maybe", ("'maybe'", "Allowed are: on, off")),
    "LOG_LEVEL": ("LOUD", ("'LOUD'", "DEBUG, INFO, WARNING, ERROR")),
    "STUDIO_URL": ("http://127.0.0.1:1", ("the profile is live", "SEEDANCE_PROFILE_FILE")),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_value_names_itself_its_place_and_what_is_allowed(name: str, folder: Path) -> None:
    text, words = WRONG[name]
    said = refuse(folder, **{name: text})
    assert f"SEEDANCE_{name} (environment)" in said
    assert all(word in said for word in words)
    said = refuse(folder, f'{name.lower()} = "{text}"')
    assert f"{name.lower()} in {folder / SETTINGS_FILE}" in said
    assert all(word in said for word in words)


@pytest.mark.parametrize("line", ["true", "nan", "inf", "-1", "1e-7", "[1, 2]", "{ a = 1 }", "2026-11-23", '"1\\n2"'])
def test_limit_that_is_no_amount_is_never_no_limit(line: str, folder: Path) -> None:
    assert "max_per_day" in refuse(folder, f"max_per_day = {line}")


@pytest.mark.parametrize("name", ["RECIPIENTS", "MODELS", "RAILS", "IMAGE_DIRS"])
def test_list_that_names_nothing_is_refused_since_it_would_allow_everything(name: str, folder: Path) -> None:
    separator = os.pathsep if name == "IMAGE_DIRS" else ","
    assert "names nothing" in refuse(folder, **{name: f" {separator} {separator}"})
    assert "names nothing" in refuse(folder, f"{name.lower()} = []")


MISSPELT = {
    "SEEDANCE_MAX_PER_DAYS": "MAX_PER_DAY",
    "SEEDANCE_MAXPERDAY": "MAX_PER_DAY",
    "SEEDANCE_max_per_day": "MAX_PER_DAY",
    "seedance_max_per_day": "MAX_PER_DAY",
    "Seedance_Max_Per_Day": "MAX_PER_DAY",
    "SEEDANCE_MAX_DAY": "MAX_PER_DAY",
    "SEEDANCE_PER_DAY": "MAX_PER_DAY",
    "SEEDANCE_MAX_PER_DAY_USD": "MAX_PER_DAY",
    "SEEDANCE_DAY_MAX": "MAX_PER_DAY",
    "SEEDANCE_MAX_SPEND_PER_DAY": "MAX_PER_DAY",
    "SEEDANCE_DAILY_LIMIT": None,
    "SEEDANCE_BUDGET": None,
    "SEEDANCE_LIMIT": None,
    "SEEDANCE_MAX": None,
    "SEEDANCE_": None,
    "SEEDANCE_MAX_PRICE": "MAX_PRICE_PER_VIDEO",
    "SEEDANCE_MAX_PRICE_VIDEO": "MAX_PRICE_PER_VIDEO",
    "SEEDANCE_MAX_PRICE_PER_CLIP": "MAX_PRICE_PER_VIDEO",
    "SEEDANCE_MAX_SPEND": None,
    "SEEDANCE_MAXTOTAL": "MAX_TOTAL",
    "SEEDANCE_TOTAL_MAX": "MAX_TOTAL",
    "SEEDANCE_ASKABOVE": "ASK_ABOVE",
    "SEEDANCE_RECIPIENT": "RECIPIENTS",
    "SEEDANCE_MODEL": "MODELS",
    "SEEDANCE_RAIL": "RAILS",
    "SEEDANCE_API_KEY": None,
    "SEEDENCE_MAX_PER_DAY": "MAX_PER_DAY",
    "SEEDANCEMAX_PER_DAY": "MAX_PER_DAY",
    "SEEDANCE-MAX-PER-DAY": "MAX_PER_DAY",
}


@pytest.mark.parametrize("name", MISSPELT)
def test_unknown_variable_is_an_error_that_names_the_nearest(name: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_settings({"SEEDANCE_DATA_DIR": str(folder), name: "1"})
    assert f"{name} (environment) is not a setting." in str(caught.value)
    assert f"Did you mean SEEDANCE_{MISSPELT[name] or ''}" in str(caught.value)


def test_several_problems_are_named_in_one_error(folder: Path) -> None:
    said = refuse(folder, "max_per_days = 1", MAX_TOTAL="", MAXPERDAY="1")
    assert all(word in said for word in ("SEEDANCE_MAXPERDAY", "'max_per_days'", "SEEDANCE_MAX_TOTAL"))


def test_variables_of_other_programs_and_of_our_tests_are_ignored(folder: Path) -> None:
    others = {"MAX_PER_DAY": "1", "PATH": "/bin", "SEEDANCETEST_HOSTS": "1", "SEED": "7", "_SEEDANCE_MCP_COMPLETE": "x"}
    assert read_settings({"SEEDANCE_DATA_DIR": str(folder), **others}).limits == Limits()


@pytest.mark.parametrize("key", ["max_per_days", "MAX_PER_DAY", "Max_Per_Day", "seedance_max_per_day", "k" * 500])
def test_unknown_key_of_the_file_is_refused_with_the_known_ones(key: str, folder: Path) -> None:
    said = refuse(folder, f"{key} = 1")
    assert "unknown key" in said
    assert "Did you mean max_per_day?" in said or key.startswith("kkk")
    assert "Known are: " in said


def test_file_cannot_move_the_folder_that_it_lies_in(folder: Path) -> None:
    assert "SEEDANCE_DATA_DIR" in refuse(folder, 'data_dir = "/elsewhere"')


@pytest.mark.parametrize(
    ("file", "says"),
    [
        (b"max_per_day", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        (b"a = 1\na = 2", "is not TOML"),
        (b"a = " + b"[" * 30_000, "is not TOML"),
        (b"#" * (SETTINGS_BYTES_MAX + 1), "is larger than"),
    ],
)
def test_file_that_is_not_settings_is_refused_by_name(file: bytes, says: str, folder: Path) -> None:
    said = refuse(folder, file)
    assert str(folder / SETTINGS_FILE) in said
    assert says in said


def test_folder_in_the_files_place_is_refused(folder: Path) -> None:
    (folder / SETTINGS_FILE).mkdir(parents=True)
    assert "cannot be read" in refuse(folder)


LINES = st.tuples(
    st.sampled_from([name.lower() for name in SETTINGS]),
    st.sampled_from(["1", "1.5", "true", '"x"', "[]", "[1]", "{}", '"~x"', '"\\u0000"']),
).map(lambda line: " = ".join(line).encode())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    environ=st.dictionaries(st.sampled_from(sorted(set(SETTINGS) - {"DATA_DIR"})), st.text(max_size=30)),
    file=st.binary(max_size=60) | LINES,
)
def test_hostile_settings_are_read_or_raise_only_our_error(
    environ: dict[str, str], file: bytes, tmp_path: Path
) -> None:
    found, said = None, ""
    try:
        found = read(tmp_path, file, **environ)
    except ConfigError as exc:
        said = str(exc)
    assert len(said) < 1500
    assert found is None or found.limits.max_per_day_micro_usdc >= 0


# ── secrets ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_wallet_key_is_never_shown(folder: Path) -> None:
    found = read(folder, WALLET_KEY=KEY)
    assert found.wallet_key == KEY
    assert KEY[2:] not in repr(found)


def test_wallet_key_in_the_file_is_refused_without_repeating_it(folder: Path) -> None:
    said = refuse(folder, f'wallet_key = "{KEY}"')
    assert "0600" in said
    assert KEY[2:] not in said


def test_wallet_key_is_in_no_error_about_another_setting(folder: Path) -> None:
    for name, (text, _) in WRONG.items():
        assert KEY[2:] not in refuse(folder, **{name: text, "WALLET_KEY": KEY})


@pytest.mark.parametrize(
    "url",
    [
        "https://ann:hunter2@rpc.example",
        "http://rpc.example/hunter2",
        "https://rpc.example /hunter2",
        "ws://x/hunter2",
        "hunter2",
    ],
)
def test_key_in_an_address_is_in_no_text(url: str, folder: Path) -> None:
    assert "hunter2" not in refuse(folder, RPC_URL=url)
    assert "hunter2" not in repr(read(folder, RPC_URL="https://rpc.example/v3/hunter2"))


# ── the studios ──────────────────────────────────────────────────────────────────────────────────────────────────────


def test_live_studio_is_spoken_to_over_tls_only(folder: Path) -> None:
    assert not LIVE.allow_loopback_http
    assert LIVE.studio_url.startswith("https://")
    for url in ("http://127.0.0.1:8545", "http://localhost", "http://mainnet.base.org", "ftp://mainnet.base.org"):
        assert "not https" in refuse(folder, RPC_URL=url)


def test_sandbox_brings_its_own_studio_unless_one_is_named(folder: Path) -> None:
    own = read(folder, PROFILE="sandbox")
    assert own.embedded
    assert own.profile == sandbox_profile("http://127.0.0.1:8402")
    assert own.profile.token == SANDBOX_TOKEN != LIVE.token
    assert own.data_dir == folder / "sandbox"
    standing = read(folder, PROFILE="sandbox", STUDIO_URL="http://127.0.0.1:9000/")
    assert not standing.embedded
    assert standing.profile.studio_url == "http://127.0.0.1:9000"
    assert standing.profile.blob_url == "http://127.0.0.1:9000/api/blob/"
    assert standing.profile.allow_loopback_http
    assert own.at_studio("http://127.0.0.1:9001").profile.studio_url == "http://127.0.0.1:9001"
    assert not own.at_studio("http://127.0.0.1:9001").embedded


def test_sandbox_elsewhere_is_kept_away_from_this_machines_own_addresses(folder: Path) -> None:
    assert not read(folder, PROFILE="sandbox", STUDIO_URL="https://sandbox.example").profile.allow_loopback_http


def test_sandbox_pays_on_its_own_chain_whatever_chain_the_owner_named(folder: Path) -> None:
    own = ("http://127.0.0.1:8402/rpc",)
    assert read(folder, PROFILE="sandbox", RPC_URL="https://rpc.example").profile.rpc_urls == own


@pytest.mark.parametrize(
    "url",
    ["http://example.com", "http://127.0.0.1.example.com", "http://0.0.0.0:80", "http://127.0.0.1:99999", "http://a@127.0.0.1",
     "http://127.0.0.1/path", "http://127.0.0.1?x", "http://127.0.0.1#x", "//127.0.0.1", "127.0.0.1:80", "http://", "http://[::1",
     "http://127.0.0.1\\@evil.example", "http://loc\u0430lhost"],
)  # fmt: skip
def test_address_that_is_no_studios_is_refused(url: str, folder: Path) -> None:
    assert "SEEDANCE_STUDIO_URL" in refuse(folder, PROFILE="sandbox", STUDIO_URL=url)


def test_custom_profile_is_read_to_the_last_key(folder: Path) -> None:
    found = read_custom(folder, CUSTOM)
    profile = found.profile
    assert (profile.name, profile.studio_url, profile.blob_url) == (
        "custom",
        "https://studio.example",
        "https://blob.example/put/",
    )
    assert profile.token is not None
    assert (profile.token.chain_id, profile.token.name, profile.token.version) == (84532, "USDC", "2")
    assert profile.pins.x402 == profile.token
    assert profile.pins.studio_origin == profile.studio_url
    assert profile.sign_in_chain == "eip155:84532"
    assert profile.rpc_urls == ("https://rpc.example/v3/hunter2",)
    assert not profile.allow_loopback_http
    assert found.limits.recipients == (ADDRESS.lower(),)
    assert found.data_dir == folder / "custom" / "studio.example"
    assert "hunter2" not in repr(found)


def test_owners_list_of_recipients_goes_before_the_profiles(folder: Path) -> None:
    (folder / "p.toml").parent.mkdir()
    (folder / "p.toml").write_text(CUSTOM)
    other = "0x" + "e" * 40
    found = read(folder, PROFILE="custom", PROFILE_FILE=str(folder / "p.toml"), RECIPIENTS=other)
    assert found.limits.recipients == (other,)


@pytest.mark.parametrize(
    ("written", "used"),
    [
        ("https://blob.example", "https://blob.example/api/blob/"),
        ("https://blob.example/", "https://blob.example/api/blob/"),
        ("https://blob.example/put", "https://blob.example/put/"),
        ("https://blob.example/put/", "https://blob.example/put/"),
    ],
)
def test_place_for_bytes_without_a_path_gets_the_usual_one(written: str, used: str, folder: Path) -> None:
    text = CUSTOM.replace("https://blob.example/put", written)
    assert read_custom(folder, text).profile.blob_url == used


@pytest.mark.parametrize(
    "written",
    ["https://Studio.Example", "https://studio.example/", "https://studio.example:443", "HTTPS://studio.example."],
)
def test_studio_spelt_in_two_ways_is_one_studio_with_one_ledger(written: str, folder: Path) -> None:
    found = read_custom(folder, CUSTOM.replace("https://studio.example", written))
    assert found.profile.studio_url == "https://studio.example"
    assert found.data_dir == folder / "custom" / "studio.example"


def test_custom_studio_on_this_machine_needs_a_word_for_it(folder: Path) -> None:
    text = CUSTOM.replace("https://studio.example", "http://[::1]:4020")
    with pytest.raises(ConfigError, match="not https"):
        read_custom(folder, text)
    found = read_custom(folder, "allow_loopback_http = true\n" + text)
    assert found.profile.studio_url == "http://[::1]:4020"
    assert found.profile.allow_loopback_http


MPP = """
[mpp]
chain_id = 4217
currencies = ["0x20C000000000000000000000b9537d11c60E8b50"]
rpc_url = "https://tempo.example"
"""


def test_custom_profile_may_pay_on_either_rail_or_both(folder: Path) -> None:
    without = CUSTOM.partition("[x402]")[0]
    both, alone = read_custom(folder, CUSTOM + MPP), read_custom(folder, without + MPP)
    assert both.limits.rails == ("x402", "mpp")
    assert alone.limits.rails == ("mpp",)
    assert alone.profile.pins.x402 is None
    assert alone.profile.charges == both.profile.charges
    assert both.profile.charges is not None
    assert both.profile.charges.network == "eip155:4217"
    assert both.profile.charges.currencies == ("0x20c000000000000000000000b9537d11c60e8b50",)
    assert both.profile.tempo_rpc_urls == ("https://tempo.example",)
    with pytest.raises(ConfigError, match="no token to pay in"):
        read_custom(folder, without)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("4217", '"4217"', "not a chain's number"),
        ("4217", "0", "not a chain's number"),
        ("4217", "true", "not a chain's number"),
        ('["0x20C000000000000000000000b9537d11c60E8b50"]', "[]", "not a list of addresses"),
        ('["0x20C000000000000000000000b9537d11c60E8b50"]', '["USDC.e"]', "not a list of addresses"),
        ("https://tempo", "http://tempo", "not https"),
        ("rpc_url", "rpc", "unknown key"),
    ],
)
def test_broken_mpp_table_says_what_is_wrong(folder: Path, old: str, new: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        read_custom(folder, CUSTOM.partition("[x402]")[0] + MPP.replace(old, new))


BROKEN = {
    "studio-missing": ('studio_url = "https://studio.example"', "", "studio_url is missing"),
    "studio-number": ('"https://studio.example"', "7", "studio_url in"),
    "studio-empty": ('"https://studio.example"', '""', "studio_url in"),
    "studio-http": ("https://studio.example", "http://studio.example", "not https"),
    "studio-path": ("https://studio.example", "https://studio.example/api", "has a path"),
    "studio-user": ("https://studio.example", "https://me@studio.example", "not a plain URL"),
    "studio-control": ("https://studio.example", "https://studio\\u0009.example", "studio_url in"),
    "blob-missing": ('blob_url = "https://blob.example/put"', "", "blob_url is missing"),
    "blob-http": ("https://blob.example", "http://blob.example", "not https"),
    "blob-query": ("https://blob.example/put", "https://blob.example/put?x=1", "has a query"),
    "loopback-text": ("pay_to", 'allow_loopback_http = "yes"\npay_to', "not true or false"),
    "pay-to-text": (f'["{ADDRESS}"]', f'"{ADDRESS}"', "not a list of addresses"),
    "pay-to-empty": (f'["{ADDRESS}"]', "[]", "not a list of addresses"),
    "pay-to-short": (ADDRESS, ADDRESS[:-1], "not a list of addresses"),
    "unknown-key": ("pay_to", "payto", "unknown key 'payto'"),
    "x402-number": ("[x402]", "x402 = 1\n[mpp]", "not a table"),
    "x402-unknown-key": ("version =", "versoin =", "unknown key 'versoin'"),
    "network-name": ("eip155:84532", "base", "Write eip155:<chain id>"),
    "network-zero": ("eip155:84532", "eip155:0", "Write eip155:<chain id>"),
    "network-superscript": ("eip155:84532", "eip155:²", "Write eip155:<chain id>"),
    "network-number": ('"eip155:84532"', "84532", "network in"),
    "asset-short": ("dCF7e", "dCF7", "not an address"),
    "name-missing": ('name = "USDC"', "", "name is missing"),
    "version-number": ('version = "2"', "version = 2", "version in"),
    "rpc-http": ("https://rpc.example", "http://rpc.example", "not https"),
    "rpc-list-http": ('"https://rpc.example/v3/hunter2"', '["https://a.example", "http://b.example"]', "not https"),
    "rpc-list-empty": ('"https://rpc.example/v3/hunter2"', "[]", "rpc_url in"),
    "rpc-number": ('"https://rpc.example/v3/hunter2"', "8545", "rpc_url in"),
}


@pytest.mark.parametrize(("old", "new", "says"), BROKEN.values(), ids=BROKEN)
def test_broken_profile_names_the_key_and_the_file(old: str, new: str, says: str, folder: Path) -> None:
    assert CUSTOM.count(old) >= 1
    with pytest.raises(ConfigError) as caught:
        read_custom(folder, CUSTOM.replace(old, new, 1))
    said = str(caught.value)
    assert says in said
    assert str(folder / "profile.toml") in said
    assert "hunter2" not in said
    assert caught.value.next_step


def test_profile_file_must_be_named_and_be_there(folder: Path) -> None:
    assert "SEEDANCE_PROFILE_FILE" in refuse(folder, PROFILE="custom")
    missing = folder / "missing.toml"
    said = refuse(folder, PROFILE="custom", PROFILE_FILE=str(missing))
    assert "The file that SEEDANCE_PROFILE_FILE (environment) names does not exist." in said
    assert str(missing) not in said


def test_profile_without_recipients_may_pay_anyone(folder: Path) -> None:
    text = CUSTOM.replace(f'pay_to = ["{ADDRESS}"]', "")
    assert read_custom(folder, text).limits.recipients == ()
