"""What a person is asked before money is spent: facts on lines of their own, and untrusted text that forges none."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from seedance_mcp.core.limits import Cost, Recipient
from seedance_mcp.generation.questions import Proposal, describe_question

BASE = Recipient("eip155:8453", "0x" + "ab" * 20, "USDC on Base")
TEMPO = Recipient("eip155:4217", "0x" + "cd" * 20, "USDC.e on Tempo")
COST = Cost(price_micro_usdc=320_000, uploads_micro_usdc=10_000, uploads=1)
FEES = Cost(
    price_micro_usdc=320_000, fee_micro_usdc=9_000, uploads_micro_usdc=19_000, uploads=1, upload_fees_micro_usdc=9_000
)


def propose(prompt: str = "Fog lifts", image: str = "/home/me/harbour.jpg", *, recipient: Recipient = BASE) -> Proposal:
    return Proposal(
        image=image, last_image=None, prompt=prompt, video="4 s 480p video by seedance-fast", cost=COST,
        recipients=(recipient,),
    )  # fmt: skip


def ask(*proposals: Proposal, cost: Cost = COST) -> list[str]:
    return describe_question(proposals, cost, play_money=False).split("\n")


def test_names_real_money_price_picture_prompt_and_recipient() -> None:
    assert ask(propose()) == [
        "Real USDC: $0.33 for a 4 s 480p video by seedance-fast.",
        "Price: 1 video $0.32, 1 image upload $0.01, no network fee.",
        "Picture: «/home/me/harbour.jpg»",
        "Prompt: «Fog lifts»",
        f"Recipient: {BASE.address}",
        "  in USDC on Base",
        "Pay $0.33?",
    ]


def test_names_uploads_and_network_fees_apart() -> None:
    lines = ask(propose(), cost=FEES)
    assert lines[0].startswith("Real USDC: up to $0.348 for ")
    assert lines[1] == "Price: 1 video $0.32, 1 image upload $0.01, network fee up to $0.018."
    assert lines[-1] == "Pay up to $0.348?"


def test_batch_names_the_first_videos_and_every_recipient() -> None:
    shots = [propose(f"Prompt {number}", f"/p/{number}.png") for number in range(4)]
    assert ask(*shots, propose(recipient=TEMPO), cost=COST.plus(COST)) == [
        "Real USDC: $0.66 for 5 videos.",
        "Price: 5 videos $0.64, 2 image uploads $0.02, no network fee.",
        "Video 1: «/p/0.png»",
        "  «Prompt 0»",
        "Video 2: «/p/1.png»",
        "  «Prompt 1»",
        "Video 3: «/p/2.png»",
        "  «Prompt 2»",
        "And 2 more videos.",
        f"Recipient: {BASE.address}",
        "  in USDC on Base",
        f"Recipient: {TEMPO.address}",
        "  in USDC.e on Tempo",
        "Pay $0.66?",
    ]


def test_warns_of_a_changed_recipient_and_names_both_addresses() -> None:
    changed = replace(BASE, replaces=("0x" + "12" * 20,))
    lines = ask(propose(recipient=changed))
    assert lines[0] == "WARNING: the studio's recipient has changed. This can be an attack."
    assert lines[-4:] == [
        "Old recipient: 0x" + "12" * 20,
        f"New recipient: {BASE.address}",
        "  in USDC on Base",
        "Pay $0.33 to the new recipient?",
    ]
    assert all(len(line) < 80 for line in lines)


def test_keeps_the_end_of_a_path_and_the_beginning_of_a_url() -> None:
    assert ask(propose(image="/home/" + "a" * 300 + "/harbour.jpg"))[3].endswith("aaa/harbour.jpg»")
    assert ask(propose(image="https://pictures.test/" + "a" * 300))[3].startswith("  «https://pictures.test/aaa")


@given(prompt=st.text(max_size=300), image=st.text(min_size=1, max_size=300))
def test_no_text_adds_a_line_or_breaks_one_at_80_columns(prompt: str, image: str) -> None:
    lines = ask(propose(prompt, image))
    quoted = [line for line in lines if "«" in line]
    assert "\n".join(lines).splitlines() == lines
    assert len(quoted) == 2
    assert all(line.endswith("»") and line.count("«") == line.count("»") == 1 for line in quoted)
    assert all(line.isprintable() and len(line) < 80 for line in lines)
    assert [line for line in lines if "«" not in line and line not in ("Picture:", "Prompt:")] == [
        line for line in ask(propose()) if "«" not in line
    ]


def test_wide_letters_count_twice() -> None:
    assert len(ask(propose("漢" * 100))[4]) < 44
