"""Idempotency keys: known values that no later version may change, and which requests are identical."""

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.idempotency import GenerationKeys, generation_keys, upload_keys

STUDIO = "https://stablestudio.dev"
WALLET = "0x52908400098527886E0F7030069857D2E4169EE7"
ASKED: dict[str, Any] = {
    "model": "seedance-fast",
    "prompt": 'The "boat" sails 🚤',
    "image": "ab" * 32,
    "last_image": None,
    "duration": 4,
    "resolution": "480p",
    "aspect_ratio": "16:9",
    "camera_fixed": None,
    "generate_audio": None,
    "seed": None,
    "take": 1,
}
OTHER: dict[str, Any] = {
    "model": "seedance",
    "prompt": "another prompt",
    "image": "cd" * 32,
    "last_image": "ab" * 32,
    "duration": 5,
    "resolution": "720p",
    "aspect_ratio": "9:16",
    "camera_fixed": True,
    "generate_audio": True,
    "seed": 0,
    "take": 2,
}


def keys(wallet: str = WALLET, studio: str = STUDIO, caller: str = "", **changes: Any) -> GenerationKeys:
    return generation_keys(ASKED | changes, wallet=wallet, studio=studio, caller=caller)


def test_known_keys_never_change() -> None:
    """A changed key would pay for every video of every ledger again."""
    text = (
        '{"aspect_ratio":"16:9","camera_fixed":false,"dialect":"classic","duration":4,"generate_audio":false,'
        f'"image":"{"ab" * 32}","kind":"generation","last_image":null,"model":"seedance-fast",'
        '"prompt":"The \\"boat\\" sails \\ud83d\\udea4","resolution":"480p","seed":null,'
        f'"studio":"{STUDIO}","take":1,"v":1,"wallet":"{WALLET.lower()}"}}'
    )
    assert keys().classic == hashlib.sha256(text.encode()).hexdigest()
    assert keys() == GenerationKeys(
        classic="8279440fb4a745af1c4cbde9fd1c6093af172d38e068239d53afbe54b9e1aef6",
        current="ed25149c9afb2b82a8d70dd5d871314e5309a0236d27638ab7636a72dd0f195f",
        current_with_audio="ed25149c9afb2b82a8d70dd5d871314e5309a0236d27638ab7636a72dd0f195f",
        v0="e13d6fc9f84381f867ea42182b1f20df9f83a81c8c7f92b0189c6de27d75e975",
        seed_minus_one=(keys(seed=-1).classic, keys(seed=-1).v0),
    )
    full = keys(last_image="cd" * 32, camera_fixed=True, generate_audio=False, seed=-7, take=2)
    assert full == GenerationKeys(
        classic="77b777c3209259c534e7e63dd93544c561e6693244f5c6dfcbfaea2d2431c606",
        current="059666b164cdeadb1b13037272464c5c4ea54c245038ad9892dbb337b5963f9c",
        current_with_audio="8203b8cc4c37eb8f457eef5e546dda011c261785af3e65afa831e1cf0f2c623f",
        v0="b1fb9346b19f5c1625713a8aaa3bd6155ed197cb056f6240c84b96c3f8ef403c",
    )
    assert upload_keys("ab" * 32, wallet=WALLET, studio=STUDIO) == (
        "f6e859f13a0ac7dfe215a4fa9df0714bc2b751945e8daff7f20dfbcae4d30729",
        "f58c35a22fe4df31b6a1382b5c5318b08d310e3d8ca03c3d3614038c992901be",
    )


def test_known_keys_of_a_caller_never_change() -> None:
    text = (
        '{"aspect_ratio":"16:9","caller":"ada","camera_fixed":false,"dialect":"classic","duration":4,'
        f'"generate_audio":false,"image":"{"ab" * 32}","kind":"generation","last_image":null,'
        '"model":"seedance-fast","prompt":"The \\"boat\\" sails \\ud83d\\udea4","resolution":"480p","seed":null,'
        f'"studio":"{STUDIO}","take":1,"v":1,"wallet":"{WALLET.lower()}"}}'
    )
    ada = keys(caller="ada")
    assert ada.classic == hashlib.sha256(text.encode()).hexdigest()
    assert ada.classic == "5ce0e487441629e00f0dc504b62c0b23a2da83dd4e0a823dc9e65268157551a5"
    assert ada.current == "3e5e7c8c5a495713cc8b1e4c05d014cd8cc2bb28a9ff02a1479e58a642136140"


def test_no_key_of_a_caller_is_tried_for_another() -> None:
    everyones = [set(keys(caller=caller).all) for caller in ("", "ada", "bob")]
    assert len({key for one in everyones for key in one}) == sum(map(len, everyones))
    assert keys(caller="") == keys()
    assert "" not in keys(caller="ada").all


def test_v0_is_the_text_that_earlier_ledgers_hashed() -> None:
    text = (
        f"('generation', '{STUDIO}', '{WALLET.lower()}', GenerationRequest(model='seedance-fast', "
        f"prompt='The \"boat\" sails 🚤', image='{'ab' * 32}', last_image=None, duration_seconds=4, resolution='480p', "
        "aspect_ratio='16:9', camera_fixed=None, generate_audio=None, seed=None, take=1))"
    )
    assert keys().v0 == hashlib.sha256(text.encode()).hexdigest()
    upload = f"('upload', '{STUDIO}', '{WALLET.lower()}', '{'ab' * 32}')"
    assert upload_keys("ab" * 32, wallet=WALLET, studio=STUDIO)[1] == hashlib.sha256(upload.encode()).hexdigest()


def test_key_covers_every_argument_wallet_and_studio() -> None:
    assert set(OTHER) == set(ASKED)
    changed = [keys(**{name: value}) for name, value in OTHER.items()]
    changed += [keys(), keys(wallet="0x" + "1" * 40), keys(studio="https://b.example")]
    for form in ("classic", "current_with_audio"):
        told = {getattr(one, form) for one in changed}
        silent = 1 if form == "current_with_audio" else 0  # audio is on by default in this form
        assert len(told) == len(changed) - silent, form
    assert keys() == keys(wallet=WALLET.lower())


@pytest.mark.parametrize("prompt", [" sway", "sway\n", "\t sway  ", "\u00a0sway"])
def test_blanks_around_the_prompt_do_not_change_the_key(prompt: str) -> None:
    assert (keys(prompt=prompt).classic, keys(prompt=prompt).current) == (
        keys(prompt="sway").classic,
        keys(prompt="sway").current,
    )


def test_explicit_default_equals_an_omitted_one() -> None:
    assert keys().classic == keys(camera_fixed=False, generate_audio=False).classic
    assert keys().current_with_audio == keys(camera_fixed=False, generate_audio=True).current_with_audio


def test_current_key_omits_arguments_that_the_dialect_lacks() -> None:
    told = {
        keys(generate_audio=audio, camera_fixed=camera).current
        for audio in (None, True, False)
        for camera in (None, False)
    }
    assert len(told) == 1
    assert keys(generate_audio=False).current_with_audio != keys().current_with_audio


def test_purchase_is_stored_by_dialect_and_found_by_every_key() -> None:
    asked = keys(generate_audio=False)
    assert asked.choose("classic", carries_audio=True) == asked.classic
    assert asked.choose("current", carries_audio=False) == asked.current
    assert asked.choose("current", carries_audio=True) == asked.current_with_audio
    four = {asked.classic, asked.current, asked.current_with_audio, asked.v0}
    assert set(asked.all) == {*four, *asked.seed_minus_one}
    assert len(keys(seed=3).all) == 3


def test_request_without_a_seed_finds_what_a_seed_of_minus_one_bought() -> None:
    bought = keys(seed=-1)
    assert {bought.classic, bought.v0} <= set(keys().all)
    assert not {bought.classic, bought.v0} & set(keys(seed=7).all)
    assert not bought.seed_minus_one


@given(st.text(), st.text())
def test_only_equal_prompts_share_a_key(one: str, other: str) -> None:
    same = one.strip() == other.strip()
    assert (keys(prompt=one).current == keys(prompt=other).current) == same
    assert (keys(prompt=one).v0 == keys(prompt=other).v0) == (one == other)


def test_known_keys_of_version_2_never_change() -> None:
    text = (
        '{"aspect_ratio":"16:9","camera_fixed":false,"dialect":"current","duration":4,"generate_audio":true,'
        '"image":null,"kind":"generation","last_image":null,"model":"seedance-fast",'
        f'"prompt":"x","references":["{"ab" * 32}"],"resolution":"480p","seed":null,"studio":"{STUDIO}","take":1,'
        f'"text_only":false,"upscale":null,"v":2,"wallet":"{WALLET.lower()}"}}'
    )
    asked = keys(prompt="x", image=None, references=["ab" * 32])
    assert asked.current == hashlib.sha256(text.encode()).hexdigest()
    assert asked.v0 == ""
    assert not asked.seed_minus_one


def test_default_of_a_new_argument_keeps_the_old_key() -> None:
    assert keys(references=[], text_only=False, upscale=None) == keys()
    assert len({keys(text_only=True).current, keys(upscale="4k").current, keys(references=["a"]).current}) == 3
