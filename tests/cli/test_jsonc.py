"""JSON and TOML of other people: our entry goes in and comes out again, and not a character of theirs is lost."""

import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from seedance_mcp.cli.install.catalog import HOSTS
from seedance_mcp.cli.install.hosts import add_entry, remove_entry, write_change
from seedance_mcp.cli.install.json_edit import cut_json, parse_json, set_json
from seedance_mcp.cli.install.toml_edit import Number, cut_toml, parse_toml, set_toml, write_toml
from seedance_mcp.core.errors import ConfigError

FILE = Path("any.file")
ENTRY: dict[str, object] = {"command": "/opt/ä/seedance-mcp", "args": ["-m"], "env": {"SEEDANCE_MAX_PER_DAY": "2.00"}}
OTHER: dict[str, object] = {"command": "b", "args": [], "env": {}}
MADE = {"seedance": ENTRY}

NEWLINES = ["\n", "\r\n"]
COMMENT = re.compile(r"note\d+")


@st.composite
def jsonc(draw: st.DrawFn, *, entry: bool = False) -> str:
    """A JSON object with comments, trailing commas, and blanks of every kind anywhere."""
    notes = iter(range(10_000))

    def gap() -> str:
        parts = st.sampled_from(["", " ", "  ", "\t", "\n", "\r\n", "\n  ", "\r\n\t", "line", "block", "long"])
        text = ""
        for part in draw(st.lists(parts, max_size=2)):
            if part == "line":
                text += f'// note{next(notes)} {{"}}{draw(st.sampled_from(NEWLINES))}'
            elif part == "block":
                text += f'/* note{next(notes)}: "seedance": {{}}, */'
            elif part == "long":
                text += f"/* note{next(notes)}\n, */"
            else:
                text += part
        return text

    def members(pairs: list[tuple[str, Callable[[], str]]]) -> str:
        texts = [
            f'{gap()}"{name}": {value()}{gap()}' if name == "seedance" else f'{gap()}"{name}"{gap()}:{gap()}{value()}'
            for name, value in pairs
        ]
        last = ("," + gap()) if texts and draw(st.booleans()) else ""
        return "{" + (",".join(texts) + last if texts else gap()) + "}"

    def value() -> str:
        return draw(st.sampled_from(["1", "null", '"x, // \\" }"', '"/* s */"', "[1, 2,]", '{"a": [ {} ]}']))

    def servers() -> str:
        names = draw(st.lists(st.sampled_from(["a", "b", "}", "//c"]), max_size=3, unique=True))
        if entry:
            names.insert(draw(st.integers(0, len(names))), "seedance")
        return members([(name, value) for name in names])

    names = draw(st.lists(st.sampled_from(["theme", "x", "\\u0041"]), max_size=2, unique=True))
    if entry or draw(st.booleans()):
        names.insert(draw(st.integers(0, len(names))), "mcpServers")
    return gap() + members([(name, servers if name == "mcpServers" else value) for name in names]) + gap()


def set_entry(text: str, entry: dict[str, object] = ENTRY) -> str:
    return set_json(text, FILE, "mcpServers", "seedance", entry)


def cut_entry(text: str, *, with_key: bool = False) -> str:
    return cut_json(text, FILE, "mcpServers", "seedance", with_key=with_key)


@given(jsonc())
@example("{/* note0 */}/* note1 */\n")
def test_an_entry_goes_into_any_file_and_no_comment_goes(text: str) -> None:
    before = parse_json(text, FILE)
    servers = before.get("mcpServers", {})
    assert isinstance(servers, dict)
    added = set_entry(text)
    assert parse_json(added, FILE) == {**before, "mcpServers": {**servers, "seedance": ENTRY}}
    assert set_entry(added) == added
    assert set_entry(set_entry(text, OTHER)) == added
    assert COMMENT.findall(added) == COMMENT.findall(text)
    removed = cut_entry(added, with_key="mcpServers" not in before)
    assert parse_json(removed, FILE) == before
    assert COMMENT.findall(removed) == COMMENT.findall(text)
    if servers and not re.search(r"/\*[^*]*\n", text):
        assert removed == text


@given(jsonc(entry=True))
def test_an_entry_that_another_program_wrote_takes_no_comment_with_it(text: str) -> None:
    before = parse_json(text, FILE)
    assert isinstance(before["mcpServers"], dict)
    del before["mcpServers"]["seedance"]
    after = cut_entry(text)
    assert parse_json(after, FILE) == before
    assert COMMENT.findall(after) == COMMENT.findall(text)
    assert set_entry(set_entry(text)) == set_entry(text)


TABLES = [
    "# note{n}\n",
    "\n",
    "\n\n\n",
    "[t{n}]  # note{n}\nx = 1\n",
    '[mcp_servers.s{n}]\ncommand = "y" # note{n}\n',
    "[mcp_servers.\"a.]b{n}\".env]\nA = '[mcp_servers.seedance]'\n",
    '[n{n}]\nnotes = """\n[mcp_servers.seedance]\nline \\""" # of mine\n[other]\n"""\n',
    "[n{n}]\nnotes = '''\n[mcp_servers.seedance]\nline\n[other]\n'''''\n",
    '[n{n}]\nx = [\n  [1, 2], # note{n} ]\n  [3]\n]\ny = nan\nz = {{ a = [1.50], b = "}}" }}\n',
    "[[many]]\nx = 1979-05-27\n   [ many . below{n} ]\n",
    "# note{n}\n  [[rules.list{n}]] # [mcp_servers.seedance]\n[rules.list{n}.deep]\n'[x]' = [\n[]\n]\n",
]
MINE = [
    '[mcp_servers.seedance]\ncommand = "old"\nmatrix = [\n [1],\n [2]\n]\n',
    '[mcp_servers . "seedance"]\n\ncommand = """\n# no comment\n[x]\n"""\n\n[mcp_servers.seedance.env]\nA = "b"',
    '[mcp_servers.seedance.env]\nA = "b"\n',
]


@st.composite
def toml(draw: st.DrawFn, *, entry: bool = False) -> str:
    """A TOML file with all that looks like a table of ours and is none."""
    parts = draw(st.lists(st.sampled_from(TABLES), max_size=5))
    parts = [part.format(n=number) for number, part in enumerate(parts)]
    if entry:
        parts.insert(draw(st.integers(0, len(parts))), draw(st.sampled_from(MINE)) + "\n")
    text = "".join(parts)
    text = text.removesuffix("\n") if draw(st.booleans()) else text
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


def set_table(text: str, entry: dict[str, object] = ENTRY) -> str:
    return set_toml(text, FILE, "mcp_servers", "seedance", entry)


def cut_table(text: str) -> str:
    return cut_toml(text, FILE, "mcp_servers", "seedance")


@given(toml())
def test_a_table_goes_in_and_out_again_to_the_character(text: str) -> None:
    added = set_table(text)
    document = tomllib.loads(added)
    assert document["mcp_servers"]["seedance"] == ENTRY
    assert set_table(added) == added
    assert set_table(set_table(text, OTHER)) == added
    assert cut_table(added) == text
    assert ("\r\n" in added) == ("\r\n" in text)
    assert not text or added.endswith("\n") == text.endswith("\n")
    assert added.startswith(text)


@given(toml(entry=True))
def test_a_table_that_another_program_wrote_takes_nothing_with_it(text: str) -> None:
    before = parse_toml(text, FILE)
    assert isinstance(before["mcp_servers"], dict)
    del before["mcp_servers"]["seedance"]
    after = cut_table(text)
    assert {"mcp_servers": {}, **parse_toml(after, FILE)} == before
    assert COMMENT.findall(after) == COMMENT.findall(text)
    changed = set_table(text)
    assert set_table(changed) == changed
    assert tomllib.loads(changed, parse_float=Number) == {**before, "mcp_servers": {**before["mcp_servers"], **MADE}}
    theirs = [line for line in after.splitlines(keepends=True) if line.strip()]
    lines = iter(changed.splitlines(keepends=True))
    assert all(line in lines or not text.endswith("\n") for line in theirs)  # each of them, in their order


@given(st.tuples(st.just("cursor"), jsonc()) | st.tuples(st.just("codex"), toml()), st.booleans())
def test_install_and_uninstall_give_back_the_very_bytes(
    tmp_path_factory: pytest.TempPathFactory, written: tuple[str, str], marked: bool
) -> None:
    host, file = HOSTS[written[0]], tmp_path_factory.mktemp("host") / "file"
    content = (("\ufeff" if marked else "") + written[1]).encode()
    file.write_bytes(content)
    for entry in (OTHER, ENTRY):  # the second is a reinstall with other settings
        write_change(add_entry(host, file, entry))
        again = add_entry(host, file, entry)
        assert again.after == again.before
    write_change(remove_entry(host, file))
    assert file.read_bytes() == written[1].encode()  # without the mark: hosts refuse it


HAND_WRITTEN = [
    'mcp_servers.seedance = { command = "x" }\n',
    '[mcp_servers]\nseedance = { command = "x" }\n',
    '[mcp_servers]\nseedance.command = "x"\n',
    'mcp_servers = { seedance = { command = "x" } }\n',
]


@pytest.mark.parametrize("text", HAND_WRITTEN)
def test_an_entry_in_another_form_than_a_table_is_refused_by_name(text: str) -> None:
    for change in (set_table, cut_table):
        with pytest.raises(ConfigError, match=r"Remove it by hand") as caught:
            change(text)
        assert "mcp_servers.seedance in a form that is not edited here" in caught.value.what


def test_servers_in_an_inline_table_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="not written as tables"):
        set_table('mcp_servers = { a = { command = "x" } }\n')


values = st.recursive(
    st.booleans() | st.integers(-9, 9) | st.text(st.characters(codec="utf-8"), max_size=8) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=8), values, max_size=4))
def test_any_entry_can_be_written_as_toml(entry: dict[str, object]) -> None:
    assert tomllib.loads(write_toml("a", "b", entry)) == {"a": {"b": entry}}


@given(st.text(max_size=60) | st.text("{}[]\",:/*\\\n\r= #'a1", max_size=60))
def test_hostile_text_raises_only_our_error(text: str) -> None:
    for change in (set_entry, set_table):
        try:
            change(text)
        except ConfigError:
            continue
