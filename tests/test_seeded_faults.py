"""The seeded faults name lines that are in the code, and tests that exist."""

import importlib.machinery
import importlib.util
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def read_faults() -> list[Any]:
    loader = importlib.machinery.SourceFileLoader("seed_faults", str(ROOT / "scripts" / "seed_faults"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return list(module.FAULTS)


@pytest.mark.parametrize("fault", read_faults(), ids=lambda fault: fault.name)
def test_a_seeded_fault_names_a_line_of_the_code_and_a_test(fault: Any) -> None:
    code = (ROOT / "seedance_mcp" / f"{fault.module}.py").read_text(encoding="utf-8")
    assert fault.line in code
    assert (ROOT / fault.test).is_file()
