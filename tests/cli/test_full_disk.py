"""A disk that is full once a payment has settled: the exit code and the words say that it settled."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import COMMAND_SECONDS, Person

if TYPE_CHECKING:
    from seedance_mcp.sandbox import Sandbox

UPLOAD, CLIP = 10_000, 320_000
TELLING_ITS_NUMBER = """\
import os
from pathlib import Path
from seedance_mcp.__main__ import main
Path("number").write_text(str(os.getpid()))
main()
"""
"""Our command, which first writes the number of its process into a file."""


@pytest.mark.skipif(sys.platform != "linux", reason="prlimit is Linux's")
def test_a_disk_full_after_the_payment_ends_with_exit_code_4(
    make_sandbox: "Callable[..., Sandbox]", funded_key: str, tmp_path: Path
) -> None:
    import resource

    studio = make_sandbox(faults=("slow_answer=2",))
    person = Person(
        folder=tmp_path,
        environ={
            "SEEDANCE_PROFILE": "sandbox", "SEEDANCE_STUDIO_URL": studio.url, "SEEDANCE_WALLET_KEY": funded_key,
        },
    )  # fmt: skip
    command = ("animate", str(person.draw("cat.png")), "--prompt", "x")

    def paid() -> list[int]:
        return [settlement.amount_micro_usdc for settlement in studio.chain.settlements()]

    program = tmp_path / "telling_its_number.py"
    program.write_text(TELLING_ITS_NUMBER)
    with person.start(*command, program=str(program)) as process:
        end = time.monotonic() + COMMAND_SECONDS
        while CLIP not in paid() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.05)
        process_id = int((tmp_path / "number").read_text())
        resource.prlimit(process_id, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))  # nothing can be written now
        _, err = process.communicate(timeout=COMMAND_SECONDS)
    again = person.run(*command)

    assert process.returncode == 4
    assert "$0.32 was paid (payment 2)." in err
    assert "Nothing was paid" not in err
    assert again.code == 0
    assert Path(again.out.strip()).exists()
    assert paid() == [UPLOAD, CLIP]
