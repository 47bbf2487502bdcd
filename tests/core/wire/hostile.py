"""Hostile input for the parsers: noise, unusual JSON, and real documents with one invalid value."""

import json
from typing import Any, cast

from hypothesis import strategies as st

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(min_value=-(10**40), max_value=10**40)
    | st.floats()
    | st.text(max_size=30)
    | st.sampled_from(["\ud800", "\n", "0x", "1e999", "²", "9" * 40, "0x" + "0" * 40])
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
ODD_TEXTS = ['{"a":' * 4000, "[" * 4000, '{"a":1e999}', '{"a":NaN}', '{"a":-Infinity}', "9" * 5000, '"\\ud800"', "null"]
BODIES: st.SearchStrategy[bytes] = (
    st.binary(max_size=200)
    | st.sampled_from(ODD_TEXTS).map(str.encode)
    | VALUES.map(lambda value: json.dumps(value).encode())
)


def _keys(document: Any) -> list[Any]:
    if isinstance(document, dict):
        return list(cast("dict[str, object]", document))
    return list(range(len(cast("list[object]", document)))) if isinstance(document, list) else []


@st.composite
def mangled(draw: st.DrawFn, document: Any) -> Any:
    """Draw a real document with one value, at any depth, replaced, or one field removed."""
    keys = _keys(document)
    if not keys or draw(st.integers(0, 3)) == 0:
        return draw(VALUES)
    copied, key = document.copy(), draw(st.sampled_from(keys))
    if draw(st.integers(0, 4)) == 0:
        del copied[key]
    else:
        copied[key] = draw(mangled(document[key]))
    return copied
