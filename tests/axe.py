"""axe-core: finds what keeps a page from being used with a keyboard or a screen reader."""

from typing import Any

from tests.compat.conftest import install_node

AXE = "axe-core@4.14.1"
FIND_VIOLATIONS = """() => axe.run({ resultTypes: ["violations"] }).then(({ violations }) =>
  violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html.slice(0, 120)}`)))"""
"""What axe-core finds: names, roles, contrast, focus and landmarks, of every severity."""


def read_axe() -> str:
    """Return the script of axe-core, or skip the test."""
    return (install_node(AXE) / "node_modules/axe-core/axe.min.js").read_text()


async def find_violations(frame: Any) -> list[str]:
    """Return what axe finds in a page or frame that has its script."""
    return await frame.evaluate(FIND_VIOLATIONS)
