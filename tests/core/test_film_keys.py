"""The identities of shots, of their last frames and of films are frozen: a change would buy every film again."""

from seedance_mcp.core.idempotency import film_key, last_frame_key, shot_key

ASKED: dict[str, object] = {
    "model": "seedance-fast", "prompt": " hi ", "image": "ab" * 32, "last_image": None, "duration": 4,
    "resolution": "480p", "aspect_ratio": "16:9", "camera_fixed": None, "generate_audio": None, "seed": None, "take": 1,
}  # fmt: skip
SHOT = "b803f896c9c1e239ea641cce4b06cd78b4a97376136f484bff8fe6981608bd99"
FRAME = "f4268370afdabbd0ef6513ac25b7d286f8100cb9b1239292b4b1d1b0345092c7"
FILM = "a12e131329fe3d14819b9287432bc68020877bd4c985a81bf6a96f4ed5f70c77"


def find_key(**changed: object) -> str:
    return shot_key({**ASKED, **changed}, wallet="0xAA", studio="https://s.test")


def test_keys_are_those_that_were_published() -> None:
    assert find_key() == SHOT
    assert last_frame_key(SHOT) == FRAME
    assert film_key([SHOT]) == FILM


def test_later_arguments_without_a_value_change_no_key() -> None:
    assert find_key(references=(), text_only=False, upscale=None, camera_fixed=False, prompt="hi") == SHOT


def test_every_other_argument_and_caller_is_another_shot() -> None:
    others = {
        find_key(prompt="ho"), find_key(take=2), find_key(generate_audio=False), find_key(upscale="4k"),
        shot_key(ASKED, wallet="0xAA", studio="https://s.test", caller="ada"),
    }  # fmt: skip
    assert len(others | {SHOT}) == 6
