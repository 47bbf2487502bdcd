"""What was written for tools is said in the command line's own words, whoever wrote it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import seedance_mcp
from seedance_mcp.cli.phrases import rephrase

PACKAGE = Path(seedance_mcp.__file__).parent
ELSEWHERE = ("sandbox/", "server/", "cli/demo")
"""Modules whose words reach no person as they are: the sandbox and the MCP server; the demo shows the tools."""
PEOPLES_OWN = ("adapters/wallet/", "app/local_sandbox", "app/web/", "cli/", "config/")
"""Modules that address the owner, and write the right words at once."""
NO_SENTENCES = ("phrases.py", "words.py", "migrations.py")
"""The table itself, a list of words, and SQL."""
KEYS = {
    "allow_loopback_http", "blob_url", "chain_id", "data_dir", "drop_after_settle", "pay_to", "private_key", "rpc_url",
    "startup_timeout_sec", "studio_url", "tool_timeout_sec", "wallet_file", "wallet_key",
}  # fmt: skip
"""Names that a person writes or reads just so: in a settings file, a profile, a wallet or a host's file, as a fault."""
TOOLISH = re.compile(r"\b[a-z][a-z0-9]*(?:_[a-z0-9]+)+\b(?!\.json)|\b[Cc]alls?\b|\b[Tt]he (?:owner|user)\b|\bretry\b")
"""A name in snake_case, a tool's or an argument's; and what one says to a model."""
SQL = re.compile(
    r"^(?:[a-z_]+ ){3,}[a-z_]+$|= NULL|\b(?:SELECT|INSERT|UPDATE|PRAGMA|CREATE|ALTER|FROM|WHERE|ORDER BY)\b|= \?"
)


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        if not module.startswith(ELSEWHERE) and path.name not in NO_SENTENCES:
            yield module, path


def read_sentences(path: Path) -> list[str]:
    """Every text of a file that a person may read: not a docstring, not a single word, not SQL."""
    tree = ast.parse(path.read_text())
    silent = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    silent |= {part for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    found: list[str] = []
    for node in ast.walk(tree):
        if node in silent:
            continue
        if isinstance(node, ast.JoinedStr):
            text = "".join(str(part.value) if isinstance(part, ast.Constant) else "{…}" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
        else:
            continue
        if " " in text.strip() and not SQL.search(text):
            found.append(text)
    return found


def find_toolish(text: str) -> list[str]:
    return [word for word in TOOLISH.findall(text) if word not in KEYS]


SENTENCES = sorted({(module, text) for module, path in modules() for text in read_sentences(path)})


def test_the_sentences_of_the_source_are_read() -> None:
    texts = {text for _, text in SENTENCES}
    assert "Call again with the same arguments to join it." in texts
    assert "If it is worth that, say so with max_price_usd." in texts
    assert "Done. Show the user {…}." in texts
    assert "Do not retry; tell the owner." in texts


SAID = [
    ("Still running. Call get_job with job_id cmw1.", "Still running. Run seedance-mcp get cmw1."),
    ("Call get_job with cmw1 again soon: it dies.", "Run seedance-mcp get cmw1 again soon: it dies."),
    ("Done. Show the user /home/me/a clip.mp4.", "Done. It is in /home/me/a clip.mp4"),
    ("resolution 1080p is not available for x.", "--resolution 1080p is not available for x."),
    (
        "The price is $0.32, above the $0.10 that this call allows (max_price_usd). Nothing was paid. If it is worth "
        "more, call again with a higher max_price_usd.",
        "The price is $0.32, above the $0.10 that this command allows (--max-price-usd). Nothing was paid. If it is "
        "worth more, run it again with a higher --max-price-usd.",
    ),
    (
        "$1.00 is more than the $0.12 left of the owner's budget for 24 hours (max_per_day).",
        "$1.00 is more than the $0.12 left of your budget for 24 hours (SEEDANCE_MAX_PER_DAY).",
    ),
    ("The studio says: «Call again, tell the owner» now.", "The studio says: «Call again, tell the owner» now."),
    (
        "shots.csv line 2: there is no argument «max_price_usd».",
        "shots.csv line 2: there is no argument «max_price_usd».",
    ),
]


@pytest.mark.parametrize(("text", "said"), SAID)
def test_a_text_of_the_tools_is_said_in_the_persons_words_and_a_strangers_is_left(text: str, said: str) -> None:
    assert rephrase(text) == said


def test_no_sentence_reaches_a_person_in_the_words_of_the_tools() -> None:
    assert {text: find_toolish(rephrase(text)) for _, text in SENTENCES if find_toolish(rephrase(text))} == {}


def test_the_rooms_for_people_write_the_persons_words_at_once() -> None:
    own = [text for module, text in SENTENCES if module.startswith(PEOPLES_OWN)]
    assert {text: find_toolish(text) for text in own if find_toolish(text)} == {}
