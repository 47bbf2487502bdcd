"""Hostile bytes for the parsers: noise, JSON that JavaScript would not write, and real documents with one odd value."""

import json
from typing import Any

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


@st.composite
def mangled(draw: st.DrawFn, document: Any) -> Any:
    """A real document in which one value, at any depth, is replaced, or one field taken away."""
    if not isinstance(document, dict | list) or not document or draw(st.integers(0, 3)) == 0:
        return draw(VALUES)
    copied: Any = document.copy()
    key = draw(st.sampled_from(sorted(document) if isinstance(document, dict) else list(range(len(document)))))
    if isinstance(document, dict) and draw(st.booleans()) and draw(st.booleans()):
        del copied[key]
    else:
        copied[key] = draw(mangled(document[key]))
    return copied
