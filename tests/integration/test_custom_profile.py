"""A custom profile: another deployment of the same contract, with its own pins and the same rules."""

from pathlib import Path

import pytest

from tests.integration.host import Bench
from tests.servers import say, serve_raw

PINS = {
    "network": "eip155:402402",
    "asset": "0x5A4dB0c500000000000000000000000000000402",
    "name": "Sandbox USDC",
    "version": "1",
}


def write_profile(bench: Bench, folder: Path, *, pay_to: str = "", **changed: str) -> dict[str, str]:
    """The settings of a server on a custom profile that points at this bench's studio."""
    pins = {**PINS, "rpc_url": f"{bench.sandbox.url}/rpc", **changed}
    lines = [
        f'studio_url = "{bench.sandbox.url}"',
        f'blob_url = "{bench.sandbox.url}/api/blob/"',
        "allow_loopback_http = true",
        *([f'pay_to = ["{pay_to}"]'] if pay_to else []),
        "[x402]",
        *(f'{name} = "{value}"' for name, value in pins.items()),
    ]
    file = folder / "profile.toml"
    file.write_text("\n".join(lines))
    return {"SEEDANCE_PROFILE": "custom", "SEEDANCE_PROFILE_FILE": str(file), "SEEDANCE_STUDIO_URL": ""}


async def test_a_custom_profile_buys_a_video_by_its_own_pins(bench: Bench, picture: Path, tmp_path: Path) -> None:
    async with bench.host(**write_profile(bench, tmp_path)) as host:
        video = await host.animate_to_the_end(image=str(picture), prompt="x")

    assert video["status"] == "complete"
    assert Path(video["file"]).is_relative_to(tmp_path / "data" / "custom")
    assert await bench.paid() == [10_000, 320_000]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        # The sign-in names the network, too: the list of jobs cannot be read, and nothing is bought before that.
        ("network", "eip155:8453", "studio_unreachable"),
        ("asset", "0x833589fCD6eDb6E08f4c7C32D4f71b54bdA02913", "unacceptable_offer"),
        ("name", "USD Coin", "unacceptable_offer"),
        ("version", "2", "unacceptable_offer"),
    ],
)
async def test_an_offer_outside_the_pins_is_refused(
    bench: Bench, picture: Path, tmp_path: Path, name: str, value: str, code: str
) -> None:
    async with bench.host(**write_profile(bench, tmp_path, **{name: value})) as host:
        answer = await host.call("animate_image", image=str(picture), prompt="x")

    assert answer.text.startswith(f"{code}:")
    assert await bench.paid() == []


async def test_a_recipient_outside_the_profiles_list_is_refused(bench: Bench, picture: Path, tmp_path: Path) -> None:
    async with bench.host(**write_profile(bench, tmp_path, pay_to="0x" + "11" * 20)) as host:
        answer = await host.call("animate_image", image=str(picture), prompt="x")

    assert answer.text.startswith("unacceptable_offer:")
    assert "is not among the allowed" in answer.text
    assert await bench.paid() == []


async def test_a_public_studio_opens_nothing_on_this_machine(bench: Bench, picture: Path, tmp_path: Path) -> None:
    settings = write_profile(bench, tmp_path)
    file = tmp_path / "profile.toml"
    file.write_text(file.read_text().replace(f'studio_url = "{bench.sandbox.url}"', 'studio_url = "https://8.8.8.8"'))
    async with serve_raw(say(200, picture.read_bytes())) as inside, bench.host(**settings) as host:
        plain = await host.call("quote_price", image=f"{inside.url}/x.png", prompt="x")
        https = await host.call("quote_price", image=f"https://127.0.0.1:{inside.port}/x.png", prompt="x")

    assert "is plain http" in plain.text
    assert "is not at a public address" in https.text
    assert inside.asked == []
