"""Story files: what a film is read from, and that one error lists all that is wrong."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.cli.film_input import read_story
from seedance_mcp.core.errors import RequestError
from seedance_mcp.generation.film_request import SHOTS_MAX

STORY = """\
model: seedance
resolution: 720p
crossfade: 0.5
shots:
  - image: boat.jpg
    prompt: The boat leaves the harbour
    duration: 5
  - It passes the lighthouse
  - prompt: Night falls
    image: https://pictures.example/night.jpg
"""


def write(folder: Path, text: str, name: str = "story.yaml") -> Path:
    (folder / "boat.jpg").touch()
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def test_story_is_read_with_paths_beside_it(tmp_path: Path) -> None:
    story = read_story(write(tmp_path, STORY))

    assert story.shots == [
        {"image": str(tmp_path / "boat.jpg"), "prompt": "The boat leaves the harbour", "duration": 5},
        {"prompt": "It passes the lighthouse"},
        {"prompt": "Night falls", "image": "https://pictures.example/night.jpg"},
    ]
    assert story.options == {"model": "seedance", "resolution": "720p"}
    assert story.crossfade_seconds == 0.5


def test_json_says_the_same(tmp_path: Path) -> None:
    text = json.dumps({"take": 2, "shots": [{"image": "boat.jpg", "prompt": "Waves"}]})

    story = read_story(write(tmp_path, text, "story.json"))

    assert (story.shots, story.options) == ([{"image": str(tmp_path / "boat.jpg"), "prompt": "Waves"}], {"take": 2})


def test_shots_of_text_and_references_need_no_picture(tmp_path: Path) -> None:
    story = """\
shots:
  - {prompt: Fog, text_only: true}
  - It lifts
  - {prompt: "@image1 passes", references: [boat.jpg, https://pictures.example/sea.jpg]}
"""
    shots = read_story(write(tmp_path, story)).shots

    assert shots[0] == {"prompt": "Fog", "text_only": True}
    assert shots[2]["references"] == [str(tmp_path / "boat.jpg"), "https://pictures.example/sea.jpg"]
    with pytest.raises(RequestError) as caught:
        read_story(write(tmp_path, story.replace("{prompt: Fog", "{image: boat.jpg, prompt: Fog")))
    assert "shot 1: A video from text alone is wanted" in caught.value.what


def test_one_error_lists_everything_that_is_wrong(tmp_path: Path) -> None:
    story = """\
colour: red
model: turbo
crossfade: 9
image: boat.jpg
shots:
  - {prompt: Waves, duration: 99}
  - {prompt: "", image: gone.jpg, seconds: 4}
  - 7
"""
    with pytest.raises(RequestError) as caught:
        read_story(write(tmp_path, story))

    assert caught.value.what.removeprefix("story.yaml: ").rstrip(".").split("; ") == [
        "shot 2: there is no file «gone.jpg»",
        "shot 3 is neither a prompt nor a mapping",
        "crossfade «9»: seconds from 0 to 2",
        "image belongs to a shot, not to the film",
        "model «turbo»: a Seedance model is needed: seedance-fast, seedance, or another one that the studio lists",
        "there is no option «colour»",
        "shot 1 has no image, no references, and no shot before it to start from",
        "shot 1: duration «99»: must be at most 60",
        "shot 2: «seconds» is not one of prompt, image, last_image, duration, references, text_only",
        "shot 2: The prompt is empty",
    ]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("story.yaml", "shots: [", "story.yaml is not YAML, line 1."),
        ("story.yaml", "shots: [a]\nshots: [b]", "story.yaml is not YAML"),
        ("story.json", "{\n'shots': 1}", "story.json is not JSON, line 2."),
        ("story.yaml", "", "story.yaml has no list of shots."),
        ("story.yaml", "- a\n- b", "story.yaml has no list of shots."),
        ("story.yaml", "shots: []", "story.yaml: it has no shots."),
        ("story.yaml", "shots:\n" + "  - {image: boat.jpg, prompt: a}\n" * (SHOTS_MAX + 1), "it has 21 shots; 20 are"),
        ("story.txt", "shots: []", "story.txt is neither .yaml nor .json."),
        ("story.yaml", "#" * 300_000, "story.yaml is larger than 256 KiB."),
        ("story.yaml", "shots: !!python/object/apply:os.getcwd []", "story.yaml is not YAML"),
    ],
)
def test_unusable_file_is_refused(tmp_path: Path, name: str, text: str, what: str) -> None:
    with pytest.raises(RequestError) as caught:
        read_story(write(tmp_path, text, name))
    assert what in caught.value.what


def test_long_list_of_problems_is_cut(tmp_path: Path) -> None:
    rows = "\n".join(f"  - {{prompt: '', image: {number}.png}}" for number in range(20))

    with pytest.raises(RequestError, match=r"19\.png»; and 20 more\.") as caught:
        read_story(write(tmp_path, f"shots:\n{rows}"))
    assert len(caught.value.what) < 2000


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["shots", "prompt", "image", "duration", "crossfade", "x"]), inner)
    ),
    max_leaves=12,
)


@given(document=VALUES)
def test_any_document_is_read_or_refused(document: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps(document))
    with contextlib.suppress(RequestError):
        assert all(isinstance(shot["prompt"], str) for shot in read_story(file).shots)
