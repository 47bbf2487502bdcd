"""The page in a browser, in the tests' own host, with results of the server and a sandbox."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from seedance_mcp.sandbox import EXAMPLE_IMAGE
from tests.server.apps.conftest import DESKTOP, PHONE, SHOW_SECONDS, MakeEnviron, Screen, open_screen

pytestmark = pytest.mark.browser

PROMPT = "The boat rocks gently while the sun goes down"
REQUEST: dict[str, Any] = {"image": str(EXAMPLE_IMAGE), "prompt": PROMPT, "duration": 4, "resolution": "480p"}
SHUT: Mapping[str, Any] = {}
"""A host that lets a page load nothing, with any declaration."""
HOSTILE = '<img src=x onerror="parent.postMessage(1)"><script>window.hit=1</script>'
WAIT_SECONDS = 30
FILM_SECONDS = 120
"""How long a film of two shots may take on a busy machine."""


async def make_video(screen: Screen) -> Mapping[str, Any]:
    job = await screen.call("animate_image", **REQUEST)
    await screen.see("Finished")
    return job["structuredContent"]


async def is_playing(screen: Screen) -> bool:
    return await screen.page.locator("video").evaluate("(video) => !video.paused && video.currentTime > 0")


async def wait_for_play(screen: Screen) -> str:
    """Press play, wait until the video plays, and return its source."""
    await screen.page.get_by_label("Play the video").click()
    with anyio.fail_after(WAIT_SECONDS):
        while not await is_playing(screen):
            await anyio.sleep(0.1)
    return await screen.page.locator("video").evaluate("(video) => video.currentSrc")


@pytest.mark.slow
@pytest.mark.parametrize("size", [PHONE, DESKTOP], ids=["phone", "desktop"])
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_quote_shows_price_limits_and_rails(
    browser: Any, app_environ: MakeEnviron, tmp_path: Path, size: tuple[int, int], theme: str
) -> None:
    async with open_screen(browser, app_environ(rails=("x402", "mpp")), size=size, context={"theme": theme}) as screen:
        await screen.client.call_tool("upload_image", {"image": str(EXAMPLE_IMAGE)})
        await screen.call("quote_price", **REQUEST)
        await screen.see("Within your limits")
        read = await screen.read()
        ground = await screen.page.locator("html").evaluate("(node) => getComputedStyle(node).backgroundColor")
        wide = await screen.is_too_wide()
        await screen.browser_page.screenshot(path=tmp_path / "quote.png")
    for words in ("$0.32", PROMPT, "4 s", "480p", "Sandbox USDC", "Sandbox dollars", "$4.99 left today"):
        assert words in read, words
    assert ground == ("rgb(255, 255, 255)" if theme == "light" else "rgb(31, 30, 28)")
    assert not wide
    assert screen.calls == []


@pytest.mark.slow
async def test_system_sets_the_colour_scheme_until_the_host_does(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ()) as screen:
        look = "(node) => getComputedStyle(node).backgroundColor"
        seen = [await screen.page.locator("html").evaluate(look)]
        await screen.browser_page.emulate_media(color_scheme="dark")
        seen.append(await screen.page.locator("html").evaluate(look))
        await screen.tell("host-context-changed", {"theme": "light"})
        seen.append(await screen.page.locator("html").evaluate(look))
        styles = {"variables": {"--color-background-primary": "rgb(1, 2, 3)"}}
        await screen.tell("host-context-changed", {"styles": styles})
        seen.append(await screen.page.locator("html").evaluate(look))
    assert seen == ["rgb(255, 255, 255)", "rgb(31, 30, 28)", "rgb(255, 255, 255)", "rgb(1, 2, 3)"]


@pytest.mark.slow
async def test_play_money_is_marked_on_every_view(browser: Any, app_environ: MakeEnviron) -> None:
    settings = {"SEEDANCE_MAX_PRICE_PER_VIDEO": "0.40"}
    async with open_screen(browser, app_environ(settings=settings)) as screen:
        mark = screen.page.get_by_text("Sandbox: play money")
        assert await mark.is_visible(), "before any result"
        calls: tuple[tuple[str, dict[str, Any], str], ...] = (
            ("quote_price", REQUEST, "Within your limits"),
            ("animate_image", {**REQUEST, "duration": 15}, "Nothing was paid"),
            ("list_jobs", {}, "0 videos"),
        )
        for tool, arguments, words in calls:
            await screen.call(tool, **arguments)
            await screen.see(words)
            assert await mark.is_visible(), tool


@pytest.mark.slow
async def test_price_is_what_leaves_the_wallet(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ()) as screen:
        await screen.call("quote_price", **REQUEST)
        await screen.page.get_by_role("button", name="Make it for $0.33").wait_for()
        read = await screen.read()
    assert "$0.33" in read
    assert "$0.32 the video" in read
    assert "$0.01 to host the picture, once" in read


@pytest.mark.slow
async def test_picture_is_shown_while_the_video_is_made(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ(job_seconds=20)) as screen:
        job = (await screen.call("animate_image", **REQUEST, wait_seconds=4))["structuredContent"]
        picture = screen.page.get_by_role("img", name="The picture that the video is made of")
        await picture.wait_for(timeout=SHOW_SECONDS * 1000)
        width = await picture.evaluate("(image) => image.decode().then(() => image.naturalWidth)")
    assert job["status"] in ("pending", "loading")
    assert width == 512
    assert ("resources/read", {"uri": f"seedance://pictures/{job['job_id']}"}) in screen.calls


FILM: dict[str, Any] = {
    "shots": [{"image": str(EXAMPLE_IMAGE), "prompt": "The boat sets sail"}, {"prompt": "Night falls"}],
    "duration": 4,
    "resolution": "480p",
}


@pytest.mark.slow
async def test_strip_of_a_film_fills_with_its_shots(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ(job_seconds=2), size=PHONE) as screen:
        await screen.call("quote_price", **FILM)
        await screen.page.get_by_role("button", name="Make it for").click()
        message = (await screen.heard("ui/message"))[0]["content"][0]["text"]
        await screen.call("animate_storyboard", **FILM, wait_seconds=4)
        shots = screen.page.get_by_role("listitem", name="Shot")
        bought = screen.page.get_by_role("listitem", name="bought", exact=False)
        with anyio.fail_after(FILM_SECONDS):
            while await bought.and_(shots).locator("img").count() < 2:
                await anyio.sleep(0.1)
        await screen.page.get_by_text("Finished").first.wait_for(timeout=FILM_SECONDS * 1000)
        read, wide = await screen.read(), await screen.is_too_wide()
        poster = await screen.page.locator(".stage img").evaluate("(picture) => picture.naturalWidth")
        source = await wait_for_play(screen)
    assert poster == 512
    assert source.startswith("data:video/mp4;base64,")
    assert "call animate_storyboard with the same arguments" in message
    assert "The boat sets sail · Night falls" in read
    assert "$0.64 paid" in read
    assert not wide


@pytest.mark.slow
@pytest.mark.parametrize(("rail", "label", "most"), [("x402", "$0.32", "0.32"), ("mpp", "at most $0.34", "0.34")])
async def test_button_sends_a_message_and_buys_nothing(
    browser: Any, app_environ: MakeEnviron, rail: str, label: str, most: str
) -> None:
    async with open_screen(browser, app_environ(rails=(rail,))) as screen:
        await screen.client.call_tool("upload_image", {"image": str(EXAMPLE_IMAGE)})
        await screen.call("quote_price", **REQUEST)
        await screen.page.get_by_role("button", name=f"Make it for {label}").click()
        await screen.see("Asked")
        messages = await screen.heard("ui/message")
    assert len(messages) == 1
    assert messages[0]["role"] == "user"
    assert f'max_price_usd "{most}"' in messages[0]["content"][0]["text"], "the network's fee included"
    assert screen.calls == []


@pytest.mark.slow
async def test_host_without_messages_and_tools_gets_no_buttons(
    browser: Any,
    app_environ: MakeEnviron,
) -> None:
    async with open_screen(browser, app_environ(job_seconds=20), capabilities={}) as screen:
        await screen.call("quote_price", **REQUEST)
        await screen.see("Within your limits")
        assert await screen.page.get_by_role("button").count() == 0
        job = await screen.call("animate_image", **REQUEST, wait_seconds=4)
        assert job["structuredContent"]["job_id"]
        await anyio.sleep(4)  # longer than the page's pause
        read = await screen.read()
    assert screen.calls == []
    assert read.splitlines()[0] in ("Waiting at the studio", "In the making")


@pytest.mark.slow
async def test_running_job_leads_to_a_video_from_the_studio(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ(job_seconds=5)) as screen:
        await screen.call("animate_image", **REQUEST, wait_seconds=10)
        await screen.see("Finished")
        read = await screen.read()
        source = await wait_for_play(screen)
        sizes = await screen.heard("ui/notifications/size-changed")
        await screen.page.get_by_role("link", name="receipt").click()
        links = await screen.heard("ui/open-link")
    called = {(method, params.get("name")) for method, params in screen.calls}
    assert called <= {("tools/call", "get_job"), ("resources/read", None)}
    assert "$0.32 paid" in read
    assert "Saved as" in read
    assert source.startswith("http://127.0.0.1:")
    assert sizes[-1]["height"] > sizes[0]["height"]
    assert "/_sandbox/tx/0x" in links[0]["url"]


@pytest.mark.slow
async def test_video_comes_through_a_host_that_blocks_loading(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ(), declared=SHUT) as screen:
        job = await make_video(screen)
        poster = await screen.page.locator("img").evaluate("(picture) => picture.naturalWidth")
        source = await wait_for_play(screen)
    assert poster > 0
    assert source.startswith("data:video/mp4;base64,")
    assert screen.calls == [("resources/read", {"uri": f"seedance://videos/{job['job_id']}"})]


@pytest.mark.slow
async def test_unplayable_video_leaves_a_note_and_the_link(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ(), declared=SHUT, capabilities={"openLinks": {}}) as screen:
        job = await make_video(screen)
        await screen.page.get_by_label("Play the video").click()
        await screen.see("This host does not play the video here.")
        await screen.page.get_by_role("link", name="Open the video").click()
        links = await screen.heard("ui/open-link")
    assert links == [{"url": job["video_url"]}]
    assert screen.calls == []


@pytest.mark.slow
async def test_list_opens_its_videos_and_leads_back(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ(), size=PHONE) as screen:
        job = await make_video(screen)
        await screen.call("list_jobs")
        await screen.see("1 video")
        wide = await screen.is_too_wide()
        await screen.page.get_by_role("button", name=PROMPT).click()
        await screen.see("Finished")
        await screen.page.get_by_role("button", name="All videos").click()
        await screen.see("1 video")
    assert not wide
    assert screen.calls == [
        ("tools/call", {"name": "get_job", "arguments": {"job_id": job["job_id"], "wait_seconds": 0}})
    ]


@pytest.mark.slow
async def test_refusal_begins_with_the_state_of_the_money(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ(settings={"SEEDANCE_MAX_PRICE_PER_VIDEO": "0.10"})) as screen:
        await screen.call("quote_price", **REQUEST)
        await screen.see("Not within your limits")
        buttons = await screen.page.get_by_role("button").count()
        await screen.call("animate_image", **REQUEST)
        await screen.see("Nothing was paid")
        read = await screen.read()
    assert buttons == 0
    assert "price_too_high" in read


@pytest.mark.slow
async def test_failed_job_shows_the_studios_error_as_text(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ(faults=("failed_job",))) as screen:
        await screen.call("animate_image", **REQUEST)
        await screen.see("Failed at the studio")
        assert "$0.32 paid" in await screen.read()


HOSTILE_JOB: dict[str, Any] = {
    "job_id": HOSTILE, "status": "complete", "progress": HOSTILE, "video_url": "javascript:parent.postMessage(1)",
    "thumbnail_url": "javascript:parent.postMessage(1)", "file": HOSTILE, "price_usd": HOSTILE, "rail": HOSTILE,
    "receipt": {"network": HOSTILE, "transaction": HOSTILE, "explorer_url": "data:text/html,<script>1</script>"},
    "error": HOSTILE, "notes": [HOSTILE, {}, 1], "next_step": HOSTILE,
}  # fmt: skip
HOSTILE_RESULTS: dict[str, Mapping[str, Any]] = {
    "a job": {"structuredContent": HOSTILE_JOB},
    "a failed job": {"structuredContent": {**HOSTILE_JOB, "status": "failed"}},
    "a status that is none": {"structuredContent": {**HOSTILE_JOB, "status": "__proto__"}},
    "a poster that is none": {
        "structuredContent": HOSTILE_JOB,
        "content": [{"type": "image", "mimeType": "image/jpeg", "data": 'x" onerror="parent.postMessage(1)'}],
    },
    "a quote": {
        "structuredContent": {
            "offers": [{"network": HOSTILE, "price_usd": HOSTILE, "refused_because": HOSTILE, "balance_usd": {}}, 7],
            "price_usd": HOSTILE, "allowed": HOSTILE, "refused_because": HOSTILE, "warning": HOSTILE, "notes": HOSTILE,
        }
    },
    "a list": {"structuredContent": {"jobs": [{"job_id": HOSTILE, "prompt": HOSTILE, "status": HOSTILE}, None, []]}},
    "an error": {
        "isError": True,
        "content": [{"type": "text", "text": HOSTILE}],
        "_meta": {
            "seedance-mcp/error": {"code": HOSTILE, "payment_state": "constructor", "amount_micro_usdc": HOSTILE},
        },
    },
    "nothing": {},
}  # fmt: skip
WORDLESS = {"a status that is none", "nothing"}


@pytest.mark.slow
async def test_untrusted_text_stays_text_and_only_https_urls_are_links(
    browser: Any,
    app_environ: MakeEnviron,
) -> None:
    errors: list[object] = []

    def note(error: object) -> None:
        errors.append(error)

    async with open_screen(browser, app_environ()) as screen:
        screen.browser_page.on("pageerror", note)
        await screen.tell("tool-input", {"arguments": {"prompt": HOSTILE, "model": HOSTILE, "duration": HOSTILE}})
        for name, result in HOSTILE_RESULTS.items():
            await screen.tell("tool-result", result)
            await anyio.sleep(0.2)
            tags = await screen.page.locator("main").evaluate(
                "(main) => [...main.querySelectorAll('*')].map((each) => each.localName)"
            )
            assert not {"script", "iframe", "object"} & set(tags), name
            assert await screen.page.locator("main a[href], main img, main video").count() == 0, name
            assert await screen.page.locator("html").evaluate("() => window.hit") is None, name
            if name not in WORDLESS:
                assert HOSTILE[:20] in await screen.read(), name
        strange = await screen.browser_page.evaluate("() => heard.filter((each) => each.jsonrpc !== '2.0').length")
    assert errors == []
    assert strange == 0
    assert {params.get("name") for _, params in screen.calls} <= {"get_job"}


@pytest.mark.slow
async def test_closed_page_stops_polling_and_answers_the_host(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ(job_seconds=20)) as screen:
        job = await screen.call("animate_image", **REQUEST, wait_seconds=4)
        assert job["structuredContent"]["job_id"]
        answers = await screen.browser_page.evaluate(
            """async () => {
                 const seen = [];
                 addEventListener("message", ({ data }) => { if (data.method === undefined) seen.push(data); });
                 tellPage("ping", {}, "a"); tellPage("ui/resource-teardown", {}, "b"); tellPage("tools/list", {}, "c");
                 while (seen.length < 3) await new Promise((done) => setTimeout(done, 20));
                 return seen;
               }"""
        )
        await anyio.sleep(4)  # longer than the page's pause
    assert [(answer["id"], answer.get("result"), answer.get("error", {}).get("code")) for answer in answers] == [
        ("a", {}, None), ("b", {}, None), ("c", None, -32601),
    ]  # fmt: skip
    assert [method for method, _ in screen.calls if method == "tools/call"] == []
