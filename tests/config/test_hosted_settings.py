"""The settings of `serve`: defaults, every value, and what is refused by name."""

from pathlib import Path

import pytest

from seedance_mcp.config.hosted import HostedSettings, ListenAddress, read_hosted_settings
from seedance_mcp.core.callers import NO_CAPS, CallerCaps
from seedance_mcp.core.errors import ConfigError
from seedance_mcp.core.objects import BucketAddress, BucketKey

DATABASE = "postgresql://db/ledger"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def read(folder: Path, **environ: str) -> HostedSettings:
    named = {f"SEEDANCE_{name}": value for name, value in {"DATABASE_URL": DATABASE, **environ}.items()}
    return read_hosted_settings({"SEEDANCE_DATA_DIR": str(folder), **named})


def refuse(folder: Path, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(folder, **environ)
    assert caught.value.next_step
    return str(caught.value)


def test_defaults_serve_this_machine_alone(folder: Path) -> None:
    found = read(folder)
    assert found.listen == ListenAddress("127.0.0.1", 8080)
    assert found.public_url == "http://127.0.0.1:8080"
    assert found.objects == folder / "live" / "objects"
    assert (found.link_seconds, found.drain_seconds, found.metrics_listen) == (900, 60, None)
    assert not found.is_single
    assert not found.shares_state
    assert len(found.state_keys.current()[0]) == 32
    assert found.calls_per_minute == 120
    assert found.caller_caps == NO_CAPS
    assert found.caller_scope == "caller"


def test_every_value_is_read(folder: Path) -> None:
    keys = folder / "keys"
    keys.write_text("a" * 32 + "\n\n" + "b" * 40 + "\r\n")
    found = read(
        folder, HTTP_LISTEN="[::]:9000", PUBLIC_URL="https://Clips.example/app/", OBJECTS_URL="file:///srv/my%20clips",
        LINK_SECONDS="60", STATE_KEYS_FILE=str(keys), AUTH="tokens", METRICS_LISTEN="127.0.0.1:9100",
        DRAIN_SECONDS="0", DATABASE_SINGLE="on", CALLER_MAX_PER_DAY="2", CALLER_MAX_TOTAL="20", CALLER_MAX_OPEN="3",
        CALLER_CALLS_PER_MINUTE="10", CALLER_SCOPE="team",
    )  # fmt: skip
    assert found.listen == ListenAddress("::", 9000)
    assert found.public_url == "https://Clips.example/app"
    assert found.hosts == {"clips.example", "clips.example:443", "[::]:9000"}
    assert found.origins == {"https://clips.example", "https://clips.example:443", "http://[::]:9000"}
    assert found.objects == Path("/srv/my clips")
    assert found.state_keys.current() == (b"a" * 32, b"b" * 40)
    assert found.shares_state
    assert found.metrics_listen == ListenAddress("127.0.0.1", 9100)
    assert (found.link_seconds, found.drain_seconds, found.is_single) == (60, 0, True)
    caps = CallerCaps(max_per_day_micro_usdc=2_000_000, max_total_micro_usdc=20_000_000, max_open=3)
    assert (found.caller_caps, found.calls_per_minute, found.caller_scope) == (caps, 10, "team")
    assert "a" * 32 not in repr(found)


def test_loopback_server_accepts_each_name_of_loopback(folder: Path) -> None:
    found = read(folder, HTTP_LISTEN="127.0.0.1:0").at_port(4321)
    assert found.public_url == "http://127.0.0.1:4321"
    assert found.hosts == {"127.0.0.1:4321", "localhost:4321", "[::1]:4321"}


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("HTTP_LISTEN", ":8080", "not a host and a port"),
        ("HTTP_LISTEN", "127.0.0.1", "not a host and a port"),
        ("HTTP_LISTEN", "127.0.0.1:70000", "not a host and a port"),
        ("METRICS_LISTEN", "9100", "not a host and a port"),
        ("PUBLIC_URL", "http://clips.example", "not https"),
        ("PUBLIC_URL", "https://clips.example?x=1", "a query or a fragment"),
        ("OBJECTS_URL", "/srv/clips", "not s3:// with a bucket, or file:/// with a folder"),
        ("OBJECTS_URL", "file://elsewhere/clips", "not s3:// with a bucket, or file:/// with a folder"),
        *(
            ("OBJECTS_URL", f"s3://{place}", "not s3:// with the name of a bucket and a plain prefix")
            for place in (
                "",
                "b",
                "Bucket",
                "id:key@bucket",
                "bucket/../x",
                "bucket/a b",
                "bucket/.a",
                "bucket//a",
                "bucket?x",
            )
        ),
        ("LINK_SECONDS", "0", "a whole number from 1 to 604800"),
        ("DRAIN_SECONDS", "1.5", "a whole number from 0 to 3600"),
        ("AUTH", "oauth", "SEEDANCE_OAUTH_ISSUER is not set"),
        ("AUTH", "none", "Allowed are: tokens, oauth"),
        ("OAUTH_ISSUER", "https://id.example", "SEEDANCE_AUTH is tokens"),
        ("DATABASE_SINGLE", "yes", "Allowed are: on, off"),
        ("CALLER_MAX_PER_DAY", "much", "US dollars"),
        ("CALLER_MAX_TOTAL", "", "is empty"),
        ("CALLER_MAX_OPEN", "0", "a whole number from 1"),
        ("CALLER_SCOPE", "everyone", "Allowed are: caller, team"),
        ("CALLER_CALLS_PER_MINUTE", "-1", "a whole number from 1"),
        ("IMAGE_DIRS", "/pictures", "callers of a hosted server cannot use its files"),
        ("STATE_KEYS_FILE", "/no/such/file", "cannot be read"),
        ("MAX_PER_DAI", "1", "Did you mean SEEDANCE_MAX_PER_DAY"),
    ],
)
def test_wrong_value_is_refused_by_name(name: str, value: str, says: str, folder: Path) -> None:
    said = refuse(folder, **{name: value})
    assert f"SEEDANCE_{name} (environment)" in said
    assert says in said


def test_issuer_is_kept_exactly_as_it_is_written(folder: Path) -> None:
    """Its tokens have it letter by letter."""
    found = read(folder, AUTH="oauth", OAUTH_ISSUER="https://id.example/realms/a/", PUBLIC_URL="https://clips.example",
                 OBJECTS_URL="file:///srv/clips")  # fmt: skip
    assert found.oauth_issuer == "https://id.example/realms/a/"
    assert found.resource == "https://clips.example/mcp"
    assert read(folder).oauth_issuer is None


@pytest.mark.parametrize(
    ("url", "resource"),
    [
        ("https://Clips.Example:443/Video/", "https://clips.example/Video/mcp"),
        ("https://clips.example:8443", "https://clips.example:8443/mcp"),
        ("http://127.0.0.1:80", "http://127.0.0.1/mcp"),
    ],
)
def test_resource_is_written_as_clients_write_it(url: str, resource: str, folder: Path) -> None:
    assert read(folder, PUBLIC_URL=url, OBJECTS_URL="file:///srv/clips").resource == resource


@pytest.mark.parametrize(
    ("issuer", "says"),
    [
        ("http://id.example", "not https"),
        ("id.example", "not a plain URL"),
        ("https://id.example?tenant=1", "a query or a fragment"),
        ("https://ada:secret@id.example", "not a plain URL"),
    ],
)
def test_issuer_that_is_no_plain_https_url_is_refused(issuer: str, says: str, folder: Path) -> None:
    said = refuse(folder, AUTH="oauth", OAUTH_ISSUER=issuer)
    assert "SEEDANCE_OAUTH_ISSUER (environment)" in said
    assert says in said
    assert "secret" not in said
    assert read(folder, AUTH="oauth", OAUTH_ISSUER="http://127.0.0.1:9000").oauth_issuer == "http://127.0.0.1:9000"


@pytest.mark.parametrize("text", ["", "short\n", f"{'a' * 32}\nshort\n", "a" * 40 + "\n" + ("b" * 40 + "\n") * 20])
def test_keys_that_seal_nothing_are_refused_without_showing_them(text: str, folder: Path) -> None:
    file = folder / "keys"
    file.write_text(text)
    said = refuse(folder, STATE_KEYS_FILE=str(file))
    assert "SEEDANCE_STATE_KEYS_FILE (environment)" in said
    assert "short" not in said


def read_bucket(folder: Path, url: str = "s3://clips", **aws: str) -> BucketAddress:
    named = {"SEEDANCE_DATABASE_URL": DATABASE, "SEEDANCE_DATA_DIR": str(folder), "SEEDANCE_OBJECTS_URL": url}
    found = read_hosted_settings({**named, **{f"AWS_{name}": value for name, value in aws.items()}}).objects
    assert isinstance(found, BucketAddress)
    return found


def test_bucket_is_found_by_the_usual_variables(folder: Path) -> None:
    assert read_bucket(folder) == BucketAddress(bucket="clips")
    found = read_bucket(
        folder, "s3://clips/team-1/live/", ENDPOINT_URL="http://store.internal:8333/", ACCESS_KEY_ID="id",
        SECRET_ACCESS_KEY="a-secret", SESSION_TOKEN="a-token", REGION="eu-west-1",
    )  # fmt: skip
    assert found == BucketAddress(
        bucket="clips", prefix="team-1/live", endpoint="http://store.internal:8333", region="eu-west-1",
        key=BucketKey("id", "a-secret", "a-token"),
    )  # fmt: skip
    assert found.url == "s3://clips/team-1/live"
    assert "a-" not in repr(found)
    assert read_bucket(folder, ENDPOINT_URL="https://a", ENDPOINT_URL_S3="https://b").endpoint == "https://b"
    assert read_bucket(folder, DEFAULT_REGION="eu-west-1", ACCESS_KEY_ID="", SECRET_ACCESS_KEY=" ").key is None


@pytest.mark.parametrize(
    ("aws", "says"),
    [
        ({"ACCESS_KEY_ID": "id"}, "AWS_SECRET_ACCESS_KEY is not set"),
        ({"SECRET_ACCESS_KEY": "a-secret"}, "AWS_ACCESS_KEY_ID is not set"),
        ({"ENDPOINT_URL": "store.internal"}, "AWS_ENDPOINT_URL is not a plain http or https URL"),
        ({"ENDPOINT_URL": "https://id:a-secret@store"}, "AWS_ENDPOINT_URL is not a plain http or https URL"),
    ],
)
def test_wrong_variable_of_a_bucket_is_refused_by_name(aws: dict[str, str], says: str, folder: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        read_bucket(folder, **aws)
    assert says in str(refused.value)
    assert "a-secret" not in str(refused.value)


def test_embedded_sandbox_is_refused_and_a_real_one_is_fine(folder: Path) -> None:
    assert "SEEDANCE_STUDIO_URL" in refuse(folder, PROFILE="sandbox")
    assert read(folder, PROFILE="sandbox", STUDIO_URL="http://127.0.0.1:8402").owner.profile.name == "sandbox"


def test_database_is_required(folder: Path) -> None:
    assert "SEEDANCE_DATABASE_URL is not set" in refuse(folder, DATABASE_URL="")


def test_listening_beyond_this_machine_requires_a_public_url_and_a_shared_folder(folder: Path) -> None:
    assert "SEEDANCE_PUBLIC_URL is not set" in refuse(folder, HTTP_LISTEN="0.0.0.0:8080")
    beyond = {"HTTP_LISTEN": "0.0.0.0:8080", "PUBLIC_URL": "https://clips.example"}
    assert "SEEDANCE_OBJECTS_URL is not set" in refuse(folder, **beyond)
    assert read(folder, **beyond, OBJECTS_URL="file:///srv/clips").listen.port == 8080
