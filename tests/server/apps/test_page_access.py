"""The page with a keyboard and a screen reader: what axe-core finds, where TAB leads, and where the focus stays."""

from typing import Any

import anyio
import pytest

from tests.axe import find_violations, read_axe
from tests.server.apps.conftest import DESKTOP, PHONE, SHOW_SECONDS, MakeEnviron, Screen, open_screen
from tests.server.apps.test_page import FILM, FILM_SECONDS, PROMPT, REQUEST, make_video

pytestmark = pytest.mark.browser

LOOKS = [(size, theme) for size in (PHONE, DESKTOP) for theme in ("light", "dark")]
FOCUSED = "() => document.activeElement.getAttribute('aria-label') || document.activeElement.textContent"
TAB_MAX = 10


@pytest.mark.compat
@pytest.mark.slow
@pytest.mark.parametrize(("size", "theme"), LOOKS)
async def test_axe_finds_no_fault_in_any_state(
    browser: Any, app_environ: MakeEnviron, size: tuple[int, int], theme: str
) -> None:
    axe = read_axe()
    environ = app_environ(rails=("x402", "mpp"), job_seconds=12, settings={"SEEDANCE_MAX_PRICE_PER_VIDEO": "0.40"})
    async with open_screen(browser, environ, size=size, context={"theme": theme}) as screen:
        frame = screen.browser_page.frames[-1]
        await frame.evaluate(axe)
        faults = {"waiting": await find_violations(frame)}
        for state, show in STATES.items():
            await show(screen)
            faults[state] = await find_violations(frame)
            assert not await screen.is_too_wide(), state
    assert {state: found for state, found in faults.items() if found} == {}


async def start_video(screen: Screen) -> None:
    """Call until the video is bought: on a busy machine a call may end before."""
    with anyio.fail_after(SHOW_SECONDS):
        while not (await screen.call("animate_image", **REQUEST, wait_seconds=3))["structuredContent"]["job_id"]:
            pass


async def show_quote(screen: Screen) -> None:
    await screen.call("quote_price", **REQUEST)
    await screen.see("Within your limits")


async def show_refused_quote(screen: Screen) -> None:
    await screen.call("quote_price", **{**REQUEST, "duration": 15})
    await screen.see("Not within your limits")


async def show_running(screen: Screen) -> None:
    await start_video(screen)
    await screen.page.get_by_role("img", name="The picture that the video is made of").wait_for()


async def show_finished(screen: Screen) -> None:
    await screen.see("Saved as")


async def show_playing(screen: Screen) -> None:
    await screen.page.get_by_label("Play the video").click()
    await screen.page.locator("video").wait_for()


async def show_failed(screen: Screen) -> None:
    listed: dict[str, Any] = (await screen.client.call_tool("list_jobs", {})).structured_content or {}
    job = listed["jobs"][0]
    error = "«The picture was refused by moderation: a face of a real person»"
    await screen.tell("tool-result", {"structuredContent": {**job, "status": "failed", "error": error}})
    await screen.see("Failed at the studio")


async def show_refusal(screen: Screen) -> None:
    await screen.call("animate_image", **{**REQUEST, "duration": 15})
    await screen.see("Nothing was paid")


async def show_list(screen: Screen) -> None:
    await screen.call("list_jobs")
    await screen.see("1 video")


async def show_film(screen: Screen) -> None:
    await screen.call("animate_storyboard", **FILM, wait_seconds=3)
    await screen.page.get_by_role("listitem", name="Shot 2").wait_for()


async def show_film_with_a_failed_shot(screen: Screen) -> None:
    shots = [{"job_id": None, "error": "«moderation»"}, {"job_id": None, "error": None}]
    await screen.tell("tool-result", {"structuredContent": {"status": "loading", "job_id": "film_1", "shots": shots}})
    await screen.page.get_by_role("listitem", name="Shot 1: failed, moderation").wait_for()
    await screen.see("Shot 1 failed: moderation")


STATES = {
    "quote": show_quote,
    "refused quote": show_refused_quote,
    "running": show_running,
    "finished": show_finished,
    "playing": show_playing,
    "failed": show_failed,
    "refusal": show_refusal,
    "list": show_list,
    "film": show_film,
    "film with a failed shot": show_film_with_a_failed_shot,
}


async def list_tab_stops(screen: Screen) -> list[str]:
    """Press TAB until the focus leaves the page, and return the names of the controls that had it."""
    frame = screen.browser_page.frames[-1]
    names: list[str] = []
    for _ in range(TAB_MAX):
        await screen.browser_page.keyboard.press("Tab")
        if not await frame.evaluate("() => document.hasFocus() && document.activeElement !== document.body"):
            break
        names.append(await frame.evaluate(FOCUSED))
    return names


@pytest.mark.slow
async def test_keyboard_reaches_every_control_and_plays_the_video(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ()) as screen:
        await make_video(screen)
        controls = await screen.page.locator("button, a[href]").evaluate_all(
            "(nodes) => nodes.map((node) => node.getAttribute('aria-label') || node.textContent)"
        )
        reached = await list_tab_stops(screen)
        await screen.page.get_by_label("Play the video").press("Enter")
        with anyio.fail_after(SHOW_SECONDS):
            await screen.page.locator("video:focus").wait_for()
    assert reached == controls
    assert controls[0] == "Play the video"
    assert controls[-1] == "Open the video"


@pytest.mark.slow
async def test_pressed_button_keeps_the_focus_and_sends_once(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ()) as screen:
        await screen.call("quote_price", **REQUEST)
        await screen.page.get_by_role("button", name="Make it for").press("Enter")
        await screen.see("Asked")
        focused = await screen.browser_page.frames[-1].evaluate(FOCUSED)
        await screen.page.get_by_role("button", name="Asked").press("Enter")
        await screen.call("list_jobs")
        await screen.see("0 videos")
        messages = await screen.heard("ui/message")
    assert focused == "Asked"
    assert len(messages) == 1


@pytest.mark.slow
async def test_film_that_stopped_names_the_cause(browser: Any, app_environ: MakeEnviron) -> None:
    stopped: dict[str, Any] = {"status": "failed", "job_id": "film_1", "shots": [], "error": "«Shot 1 was refused»"}
    async with open_screen(browser, app_environ()) as screen:
        await show_film_with_a_failed_shot(screen)
        await screen.tell("tool-result", {"structuredContent": stopped})
        await screen.see("The film has stopped")
        await screen.see("Shot 1 was refused")


@pytest.mark.slow
async def test_list_is_used_with_the_keyboard_alone(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ()) as screen:
        frame = screen.browser_page.frames[-1]
        await make_video(screen)
        await screen.call("list_jobs")
        await screen.see("1 video")
        await screen.browser_page.keyboard.press("Tab")
        row = await frame.evaluate(FOCUSED)
        await screen.browser_page.keyboard.press("Enter")
        await screen.see("Finished")
        back = await frame.evaluate(FOCUSED)
        await screen.browser_page.keyboard.press("Enter")
        await screen.see("1 video")
        again = await frame.evaluate(FOCUSED)
    assert row.startswith(PROMPT)
    assert back == "All videos"
    assert again == row


@pytest.mark.slow
async def test_news_of_a_job_keep_the_focus_and_the_state_is_announced(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ(job_seconds=12)) as screen:
        await start_video(screen)
        status = screen.page.get_by_role("status")
        before = await status.inner_text()
        await screen.page.get_by_role("link", name="receipt").focus()
        await screen.see("Finished")
        focused = await screen.browser_page.frames[-1].evaluate(FOCUSED)
        after = await status.inner_text()
    assert before in ("Waiting at the studio", "In the making")
    assert focused.startswith("receipt ")
    assert after == "Finished"


@pytest.mark.slow
async def test_video_plays_on_while_news_of_its_job_come(browser: Any, app_environ: MakeEnviron) -> None:
    async with open_screen(browser, app_environ()) as screen:
        job = await make_video(screen)
        await screen.page.get_by_label("Play the video").click()
        video = screen.page.locator("video")
        await video.evaluate("(video) => { video.dataset.same = 'yes'; }")
        with anyio.fail_after(FILM_SECONDS):
            while not await video.evaluate("(video) => video.currentTime > 0"):
                await anyio.sleep(0.1)
        await screen.tell("tool-result", {"structuredContent": {**job, "notes": ["Another note"]}})
        await screen.see("Another note")
        paused, same = await video.evaluate("(video) => [video.paused, video.dataset.same]")
    assert (paused, same) == (False, "yes")
