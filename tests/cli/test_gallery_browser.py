"""The gallery in a browser, as its owner sees it: on a phone and a desktop, light and dark, served and from disk."""

import io
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import anyio
import pytest
from PIL import Image, ImageStat

from seedance_mcp.adapters.ledger.sqlite import SQLiteLedger
from seedance_mcp.adapters.media.received import ReceivedPictures
from seedance_mcp.app.local_sandbox import prepare_wallet
from seedance_mcp.cli.gallery.export import export_gallery
from seedance_mcp.config.settings import read_settings
from seedance_mcp.core.wire.responses import Refused
from seedance_mcp.generation.request import VideoRequest
from seedance_mcp.sandbox import Sandbox, SandboxSettings
from tests.adapters.ledger.rows import reserve, sign
from tests.axe import find_violations, read_axe
from tests.cli.history import PlannedVideo, date_back, make_history
from tests.cli.test_gallery import open_film, write_history
from tests.forks import build_command
from tests.integration.host import draw, run_in_thread

SEE_SECONDS = 40
PHONE, DESKTOP = (390, 844), (1280, 900)
LOOKS = [(size, scheme) for size in (PHONE, DESKTOP) for scheme in ("light", "dark")]
HOSTILE = '</script><script>alert(1)</script><img src="https://evil.test/x" onerror=alert(2)> & then the sea glows'
LONG = "The tide comes in. " * 30 + "At last it is night."
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.browser, pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")]

CONTRAST_MIN = 4.5
"""Source: WCAG 2.2, success criterion 1.4.3, for text of any size."""
FAINT_TEXT = """(least) => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const paint = (colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (rgb) => rgb.map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const faint = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const node = walk.currentNode.parentElement, text = walk.currentNode.data.trim();
    const unseen = ["SCRIPT", "STYLE", "OPTION", "title"].includes(node.tagName) || !node.checkVisibility();
    if (!text || unseen) continue;
    const grounds = [];
    for (let at = node; at; at = at.parentElement) grounds.unshift(getComputedStyle(at).backgroundColor);
    const style = getComputedStyle(node), colour = node instanceof SVGElement ? style.fill : style.color;
    const [one, other] = [light(paint(grounds)), light(paint([...grounds, colour]))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < least) faint.push(`${text.slice(0, 30)}: ${ratio.toFixed(2)}`);
  }
  return faint;
}"""
"""Texts whose contrast to what is behind them is too small."""
CUT_OFF = """(nodes) => nodes.filter((node) =>
  node.getBoundingClientRect().right > node.closest(".text, .money, .open").getBoundingClientRect().right
).map((node) => node.outerHTML.slice(0, 80))"""
"""What sticks out of the box it stands in."""
COVERED_WORDS = """(chart) => {
  const box = (node) => node.getBoundingClientRect(), shown = [...chart.querySelectorAll("text, rect.day")];
  const meet = (one, other) => one.left < other.right && other.left < one.right
    && one.top < other.bottom && other.top < one.bottom;
  const outside = (one) => one.left < box(chart).left - 1 || one.right > box(chart).right + 1;
  return shown.filter((node) => node.tagName === "text").flatMap((text) => [
    ...(outside(box(text)) ? [`${text.textContent} sticks out`] : []),
    ...shown.filter((other) => other !== text && meet(box(text), box(other)))
      .map((other) => `${text.textContent} meets ${other.textContent || other.className.baseVal}`),
  ]);
}"""
"""Words of the chart that a bar or another word lies on, or that do not fit beside it."""
NAMELESS = """(nodes) => nodes.filter((node) => !(
  node.ariaLabel || node.textContent.trim() || node.labels?.[0]?.textContent.trim()
    || [...node.querySelectorAll("img")].some((image) => image.alt)
)).map((node) => node.outerHTML.slice(0, 80))"""


@dataclass(frozen=True)
class House:
    """A history, and the page that shows it."""

    environ: dict[str, str]
    url: str
    folder: Path


@dataclass
class Visit:
    """One page in the browser, and what it did meanwhile that no one sees."""

    page: Any
    asked: list[str] = field(default_factory=list[str])
    complaints: list[str] = field(default_factory=list[str])

    def card(self, words: str) -> Any:
        """The video whose card has these words."""
        return self.page.locator("article.clip", has_text=words)

    async def open(self, words: str) -> Any:
        """Open the large view of the video whose prompt has these words, and return it."""
        await self.page.get_by_role("button", name=re.compile(f"Open: .*{words}")).click()
        return self.page.get_by_role("dialog")

    async def scroll_through(self) -> None:
        """Down and up again: what is below loads when it comes into view."""
        for image in await self.page.locator("article.clip img").all():
            await image.scroll_into_view_if_needed()

    async def see_pictures(self) -> list[tuple[str, str]]:
        """Every picture of the cards and the large view, once all are loaded: text for the blind, and address."""
        await self.scroll_through()
        images = self.page.locator("article.clip img, dialog img")
        await until(
            lambda: images.evaluate_all("(all) => all.every((image) => image.complete && image.naturalWidth > 1)")
        )
        return [tuple(one) for one in await images.evaluate_all("(all) => all.map((one) => [one.alt, one.src])")]


async def until(counts_against_budget: Callable[[], Awaitable[object]]) -> None:
    """Wait for something to become true."""
    with anyio.fail_after(SEE_SECONDS):
        while not await counts_against_budget():
            await anyio.sleep(0.05)


@contextmanager
def open_gallery(environ: dict[str, str], *, afresh: bool = False) -> Generator[str]:
    """The real command, and where its page is."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("SEEDANCE_")}
    command = build_command("seedance_mcp", "gallery", "--no-open", afresh=afresh)
    with subprocess.Popen(command, env={**plain, **environ}, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def open_account(folder: Path, stack: ExitStack, *, job_seconds: float) -> dict[str, str]:
    """A sandbox and a wallet that holds money in it."""
    wallet_file = folder / "wallet.json"
    address = prepare_wallet(None, wallet_file)
    settings = SandboxSettings(funded={address: 50_000_000}, job_seconds=job_seconds, small_videos=False)
    studio = stack.enter_context(Sandbox(settings))
    return {
        "SEEDANCE_PROFILE": "sandbox",
        "SEEDANCE_STUDIO_URL": studio.url,
        "SEEDANCE_WALLET_FILE": str(wallet_file),
        "SEEDANCE_DATA_DIR": str(folder / "data"),
    }


def build_house(folder: Path, stack: ExitStack) -> House:
    environ = open_account(folder, stack, job_seconds=0.2)
    harbour, garden = str(draw(folder / "harbour.png")), str(draw(folder / "garden.png", colour=(30, 120, 60)))
    plan = [
        PlannedVideo(request=VideoRequest(image=harbour, prompt=HOSTILE), days_ago=3),
        PlannedVideo(
            request=VideoRequest(image=garden, prompt=LONG, last_image=harbour, model="seedance", resolution="720p"),
            days_ago=2,
        ),
        PlannedVideo(request=VideoRequest(image=garden, prompt="Petals fall"), faults=("failed_job:1",)),
        PlannedVideo(request=VideoRequest(image=harbour, prompt="The boat drifts out")),
        PlannedVideo(request=VideoRequest(image=garden, prompt="Bees come"), faults=("stuck_job:1",), wait_seconds=4),
    ]
    make_history(environ, plan)
    held = PlannedVideo(request=VideoRequest(image=harbour, prompt="Fog rolls in"), faults=("page_for_payment",))
    make_history(environ, [held])
    date_back(read_settings(environ).ledger_file, plan)
    return House(environ, stack.enter_context(open_gallery(environ)), folder)


@pytest.fixture(scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[House]:
    """Three videos in both models, one failed, one running, a payment without an answer, uploads."""
    with ExitStack() as stack:
        yield await run_in_thread(lambda: build_house(tmp_path_factory.mktemp("gallery"), stack))


@pytest.fixture(scope="module")
async def exported(house: House) -> str:
    """The same history, from disk."""
    page = await export_gallery(read_settings(house.environ), house.folder / "out")
    return page.as_uri()


@pytest.fixture(scope="module")
async def browser() -> AsyncGenerator[Any]:
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        await browser.close()


@asynccontextmanager
async def visit(
    browser: Any, url: str, size: tuple[int, int] = DESKTOP, scheme: str = "light"
) -> AsyncGenerator[Visit]:
    """Open the page; in the end nothing has complained, and nothing was asked for from elsewhere."""
    viewport = {"width": size[0], "height": size[1]}
    page = await browser.new_page(viewport=viewport, color_scheme=scheme, offline=url.startswith("file:"))
    seen = Visit(page)

    def hear(said: Any) -> None:
        if said.type in ("error", "warning"):
            seen.complaints.append(said.text)

    def ask(request: Any) -> None:
        seen.asked.append(request.url)

    def stop(dialog: Any) -> None:
        seen.complaints.append(f"a dialog: {dialog.message}")

    def fail(error: Any) -> None:
        seen.complaints.append(str(error))

    for event, listener in (("request", ask), ("console", hear), ("pageerror", fail), ("dialog", stop)):
        page.on(event, listener)
    await page.goto(url)
    yield seen
    home = url.rsplit("/", 1)[0] + "/"
    assert [asked for asked in seen.asked if not asked.startswith((home, "data:", "blob:"))] == []
    assert seen.complaints == []
    await page.close()


@pytest.fixture(params=["served", "from disk"])
def url(request: pytest.FixtureRequest, house: House, exported: str) -> str:
    return house.url if request.param == "served" else exported


@pytest.mark.parametrize(("size", "scheme"), LOOKS)
async def test_every_video_is_seen_whole_and_every_text_can_be_read(
    browser: Any, url: str, size: tuple[int, int], scheme: str
) -> None:
    async with visit(browser, url, size, scheme) as seen:
        assert await seen.page.locator("article.clip").count() == 5
        pictures = [alt for alt, _ in await seen.see_pictures()]
        assert pictures == [""] * (3 + 2)  # posters, and what stands behind the word "failed" or the progress
        assert await seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await seen.page.locator(".text *, .money *, .open *").evaluate_all(CUT_OFF) == []
        assert await seen.page.evaluate(FAINT_TEXT, CONTRAST_MIN) == []


async def test_the_frames_are_the_pictures_that_the_video_was_made_of(browser: Any, url: str) -> None:
    async with visit(browser, url) as seen:
        large = await seen.open("The tide comes in")
        await seen.see_pictures()

        async def look(name: str) -> int:
            """Which of red, green and blue is strongest: the garden is green, the harbour blue."""
            shot = await large.get_by_role("img", name=name).screenshot()
            with Image.open(io.BytesIO(shot)) as picture:
                parts = ImageStat.Stat(picture.convert("RGB")).mean
            return parts.index(max(parts))

        assert (await look("First frame"), await look("Last frame")) == (1, 2)


async def test_a_video_plays_large(browser: Any, url: str) -> None:
    async with visit(browser, url, PHONE) as seen:
        large = await seen.open("The boat drifts out")
        video = large.locator("video")
        await until(lambda: video.evaluate("(video) => video.currentTime > 0.2"))
        assert await video.evaluate("(video) => [video.videoWidth, video.videoHeight]") == [854, 480]
        assert abs(await video.evaluate("(video) => video.duration") - 4) < 0.1
        assert await seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_large_view_is_led_by_the_keyboard(browser: Any, url: str) -> None:
    async with visit(browser, url) as seen:
        keys, title = seen.page.keyboard, seen.page.locator("#viewer-title")
        await seen.page.get_by_role("button", name="Open: The boat drifts out").focus()
        await keys.press("Enter")
        assert await seen.page.get_by_text("2 of 5").is_visible()
        for key, prompt in (("ArrowRight", "Petals fall"), ("ArrowRight", LONG.strip()), ("ArrowLeft", "Petals fall")):
            await keys.press(key)
            assert (await title.inner_text()).strip() == prompt
        await keys.press("Escape")
        assert not await seen.page.get_by_role("dialog").is_visible()
        await until(lambda: seen.page.evaluate("document.activeElement.ariaLabel?.startsWith('Open: Petals fall')"))


async def test_large_view_gives_what_a_person_needs(browser: Any, house: House) -> None:
    async with visit(browser, house.url) as seen:
        await seen.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        large = await seen.open("The tide comes in")

        async def copy(name: str) -> str:
            await large.get_by_role("button", name=name, exact=True).click()
            return await seen.page.evaluate("navigator.clipboard.readText()")

        link = large.get_by_role("link", name="Download")
        assert re.fullmatch(r"the-tide-comes-in.*\.mp4", await link.get_attribute("download"))
        assert await copy("Copy prompt") == LONG
        assert Path(await copy("Copy file")).is_file()
        assert await copy("Copy job")
        command = shlex.split(await copy("Copy command"))
        assert command[:3] == ["seedance-mcp", "animate", "--sandbox"]
        assert command[3].startswith("http://127.0.0.1:")
        assert command[4:6] == ["--prompt", LONG]
        assert {("--model", "seedance"), ("--resolution", "720p")} <= set(pairwise(command))
        await large.get_by_text("Again with a change").click()
        await large.get_by_label("Prompt").fill("Then it's night")
        await large.get_by_label("Another take of the same request").check()
        changed = shlex.split(await large.locator("details code").inner_text())
        assert changed[changed.index("--prompt") + 1] == "Then it's night"
        assert changed[-2:] == ["--take", "2"]
        await seen.page.evaluate("Object.defineProperty(navigator, 'userAgent', { value: 'Windows NT 10.0' })")
        await large.get_by_label("Prompt").fill("Now it's day")
        assert " --prompt 'Now it''s day' " in await large.locator("details code").inner_text()  # PowerShell


async def test_search_and_filters_leave_what_fits(browser: Any, url: str) -> None:
    async with visit(browser, url) as seen:

        async def shown() -> list[str]:
            said = await seen.page.locator("article.clip .prompt").all_inner_texts()
            assert await seen.page.locator("#count").inner_text() == (
                "1 video" if len(said) == 1 else f"{len(said)} videos"
            )
            return [text[:10] for text in said]

        search = seen.page.get_by_role("searchbox", name="Search prompts")
        assert await shown() == ["Bees come", "The boat d", "Petals fal", "The tide c", HOSTILE[:10]]
        await search.fill("OUT boat")
        assert await shown() == ["The boat d"]
        await search.fill("a submarine")
        assert await shown() == []
        assert await seen.page.get_by_text("No video matches.").is_visible()
        await search.fill("")
        status = seen.page.get_by_role("combobox", name="Status")
        await status.select_option(label="Failed")
        assert await shown() == ["Petals fal"]
        await status.select_option(label="Running")
        assert await shown() == ["Bees come"]
        await status.select_option(label="Finished")
        await seen.page.get_by_role("combobox", name="Model").select_option(label="seedance")
        assert await shown() == ["The tide c"]


async def test_the_chart_shows_today_against_the_limit_and_what_is_held_is_listed(browser: Any, exported: str) -> None:
    async with visit(browser, exported) as seen:
        chart = seen.page.locator("#chart")
        assert await chart.locator("line.limit").count() == 0, "the limit is far above the bars"
        assert await seen.page.get_by_text("of $5.00 in any 24 hours").is_visible()
        today = await chart.locator("rect.today").bounding_box()
        top = await chart.get_by_text("$1", exact=True).bounding_box()
        foot = await chart.get_by_text("$0", exact=True).bounding_box()
        assert today["height"] / (foot["y"] - top["y"]) == pytest.approx(0.98, abs=0.02)
        assert await chart.locator("rect.day").count() == 3
        held = seen.page.get_by_role("region", name="Not settled yet: $0.32 held")
        assert await held.get_by_text("Fog rolls in").is_visible()
        assert await held.get_by_text("no answer yet; its credential expires at").is_visible()
        assert await seen.page.locator("#windows strong").first.inner_text() == "$1.30"
        assert await seen.page.locator("#total").inner_text() == "$2.58"


async def test_limits_of_the_week_and_the_month_are_shown(browser: Any, house: House) -> None:
    environ = {**house.environ, "SEEDANCE_MAX_PER_WEEK": "3", "SEEDANCE_MAX_PER_MONTH": "40"}
    page = await export_gallery(read_settings(environ), house.folder / "limited")
    async with visit(browser, page.as_uri(), PHONE) as seen:
        assert await seen.page.locator("#windows .figure").all_inner_texts() == [
            "Last 24 hours\n$1.30\nof $5.00 in any 24 hours",
            "Last 7 days\n$2.58\nof $3.00 in any 7 days",
            "Last 30 days\n$2.58\nof $40.00 in any 30 days",
        ]
        assert await seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_chart_is_read_by_keyboard_and_finger(browser: Any, exported: str) -> None:
    async with visit(browser, exported, PHONE) as seen:
        slider, read = seen.page.get_by_role("slider", name="Day of the chart"), seen.page.locator("#chart-read")
        assert await read.inner_text() == "30 days: $2.26, 5 videos"
        await slider.focus()
        await seen.page.keyboard.press("End")
        assert (await slider.get_attribute("aria-valuetext")).endswith(": $0.98, 3 videos")
        await seen.page.keyboard.press("ArrowLeft")
        assert (await read.inner_text()).endswith(": $0.00, 0 videos")
        box = await slider.bounding_box()
        await seen.page.get_by_role("button", name="12 months").click()
        await seen.page.mouse.click(box["x"] + box["width"] - 12, box["y"] + 60)
        assert await seen.page.get_by_role("slider", name="Month of the chart").is_visible()
        assert "video" in await read.inner_text()
        sums = await seen.page.locator("#models tr").all_inner_texts()
        assert [one.split()[0] for one in sums] == ["seedance-fast", "seedance", "pictures"]


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
@pytest.mark.parametrize("limit", ["0.40", "1.05", "98765.43"])
async def test_no_bar_of_the_chart_covers_a_word_however_tall_today_is(
    browser: Any, house: House, limit: str, size: tuple[int, int]
) -> None:
    settings = read_settings({**house.environ, "SEEDANCE_MAX_PER_DAY": limit})
    page = await export_gallery(settings, house.folder / f"limit-{limit}-{size[0]}")
    async with visit(browser, page.as_uri(), size) as seen:
        chart = seen.page.locator("#chart")
        assert await chart.get_by_text("limit", exact=True).count() == (float(limit) <= 2.5)
        assert await seen.page.get_by_text(f"of ${limit} in any 24 hours").is_visible()
        assert await chart.evaluate(COVERED_WORDS) == []


async def test_what_a_video_cost_and_why_one_failed_is_said(browser: Any, url: str) -> None:
    async with visit(browser, url) as seen:
        boat = seen.card("The boat drifts out")
        for words in ("$0.32", "seedance-fast", "4 s · 480p"):
            assert await boat.get_by_text(words, exact=True).is_visible()
        assert await seen.card("Petals fall").get_by_text("content moderation").is_visible()
        assert await seen.card("Bees come").get_by_text("%").is_visible()
        large = await seen.open("The boat drifts out")
        receipt = await large.get_by_role("link", name="receipt").get_attribute("href")
        assert "/_sandbox/tx/0x" in receipt
        await seen.page.keyboard.press("ArrowRight")
        assert await large.get_by_role("heading", name="Failed at the studio").is_visible()
        advice = large.get_by_text("Change the picture or the prompt before another try")
        assert await advice.is_visible() is (url.startswith("http:"))


async def test_film_leads_to_its_shots_and_back(browser: Any, tmp_path: Path) -> None:
    settings = read_settings({"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": str(tmp_path / "data")})
    settings.videos_dir.mkdir(parents=True)
    ledger = await SQLiteLedger.open(settings.ledger_file)
    await write_history(settings.videos_dir, ledger)
    await open_film(ledger)
    await ledger.close()
    page = await export_gallery(settings, tmp_path / "out")
    async with visit(browser, page.as_uri(), PHONE) as seen:
        assert await seen.page.locator("#count").inner_text() == "1 video"
        assert await seen.page.locator(".strip .shot").count() == 3
        large = await seen.open("Waves")
        assert await large.locator("ol li").count() == 3
        assert await large.get_by_text("Not bought").count() == 1
        await large.get_by_role("button", name="Waves").click()
        assert await seen.page.locator("#viewer-title").inner_text() == "Waves"
        await large.get_by_role("button", name="Show the film").click()
        assert await large.get_by_text("3 shots").is_visible()
        assert await seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_untrusted_words_stay_words(browser: Any, url: str) -> None:
    async with visit(browser, url) as seen:
        hostile = seen.card("then the sea glows").locator(".prompt")
        assert await hostile.text_content() == HOSTILE
        assert await hostile.locator("*").count() == 0


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESKTOP, "light")])
async def test_picture_that_is_given_gets_a_name_to_copy(
    browser: Any, house: House, size: tuple[int, int], scheme: str
) -> None:
    async with visit(browser, house.url, size, scheme) as seen:
        zone = seen.page.get_by_role("region", name="Give a picture")
        await zone.get_by_label("Choose a picture").set_input_files(house.folder / "garden.png")
        await zone.get_by_text("640 \u00d7 360 pixels. Tell your assistant:").wait_for(timeout=SEE_SECONDS * 1000)
        words = await zone.locator("code").inner_text()
        assert re.fullmatch("Use the picture upload:[0-9a-f]{32}", words)
        assert await zone.get_by_role("button", name="Copy").is_visible()
        assert await zone.locator("label").is_visible(), "another picture may be given"
        assert await seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert await seen.page.evaluate(FAINT_TEXT, CONTRAST_MIN) == []
    settings = read_settings(house.environ)
    received = ReceivedPictures(settings.pictures_dir, settings.videos_dir)
    given = await received.read(words.rpartition(" ")[2], now=time.time())
    assert (given.width, given.height) == (640, 360)


async def test_exported_gallery_takes_no_picture(browser: Any, exported: str) -> None:
    async with visit(browser, exported) as seen:
        assert not await seen.page.locator("#drop").is_visible()


async def test_every_control_has_a_name(browser: Any, url: str) -> None:
    async with visit(browser, url) as seen:
        large = await seen.open("The tide comes in")
        controls = seen.page.locator("a, button, input, select, textarea, [role=slider]")
        assert await controls.count() > 10
        assert await controls.evaluate_all(NAMELESS) == []
        assert await large.get_by_role("link", name="Last frame").count() == 1


@pytest.mark.compat
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
async def test_axe_finds_no_fault(
    browser: Any, house: House, tmp_path: Path, size: tuple[int, int], scheme: str
) -> None:
    axe = read_axe()
    empty = await export_gallery(read_settings({"SEEDANCE_DATA_DIR": str(tmp_path / "none")}), tmp_path / "empty")
    async with visit(browser, house.url, size, scheme) as seen:
        await seen.page.evaluate(axe)
        assert await find_violations(seen.page) == []
        await seen.page.get_by_role("searchbox").fill("a submarine")
        assert await find_violations(seen.page) == []
        await seen.page.get_by_role("button", name="Show all").click()
        large = await seen.open("Petals fall")
        await large.get_by_text("Again with a change").click()
        assert await find_violations(seen.page) == []
        await seen.page.keyboard.press("ArrowLeft")
        await large.locator("video").wait_for(timeout=SEE_SECONDS * 1000)
        assert await find_violations(seen.page) == []
    async with visit(browser, empty.as_uri(), size, scheme) as seen:
        await seen.page.evaluate(axe)
        assert await find_violations(seen.page) == []


async def test_a_job_that_ends_while_the_page_is_open_is_shown_and_a_video_that_plays_plays_on(
    browser: Any, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        environ = await run_in_thread(
            lambda: open_account(tmp_path, stack, job_seconds=15)
        )  # an idle page looks every 5 s
        picture = str(draw(tmp_path / "picture.png"))
        await run_in_thread(
            lambda: make_history(environ, [PlannedVideo(request=VideoRequest(image=picture, prompt="First"))])
        )
        url = await run_in_thread(lambda: stack.enter_context(open_gallery(environ)))
        async with visit(browser, url) as seen:
            large = await seen.open("First")
            video = large.locator("video")
            await until(lambda: video.evaluate("(video) => video.currentTime > 0.1"))
            await video.evaluate("(video) => { video.dataset.same = 'yes'; }")
            command = build_command("seedance_mcp", "animate", picture, "--prompt", "Second")
            process = await anyio.open_process(command, env={**os.environ, **environ})
            async with process:
                await seen.page.get_by_text("1 running").wait_for(timeout=SEE_SECONDS * 1000)
                assert await seen.card("Second").locator(".state").is_visible()
                await seen.card("Second").locator(".play").wait_for(timeout=SEE_SECONDS * 1000)
                await seen.page.get_by_text("up to date").wait_for(timeout=SEE_SECONDS * 1000)
            assert await seen.page.locator("#windows strong").first.inner_text() == "$0.65"
            assert await video.get_attribute("data-same") == "yes"
            assert not await video.evaluate("(video) => video.paused")
            assert len([asked for asked in seen.asked if asked == url]) == 1


async def test_a_gallery_that_was_closed_is_said_and_the_page_keeps_what_it_knew(browser: Any, tmp_path: Path) -> None:
    environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": str(tmp_path / "data")}
    with ExitStack() as stack:
        url = await run_in_thread(lambda: stack.enter_context(open_gallery(environ, afresh=True)))
        async with visit(browser, url) as seen:
            await run_in_thread(stack.close)
            await seen.page.get_by_text("The gallery was closed").wait_for(timeout=SEE_SECONDS * 1000)
            assert await seen.page.get_by_text("No videos yet.").is_visible()
            assert all("net::ERR_" in complaint for complaint in seen.complaints)  # the browser's own word
            seen.complaints.clear()


async def test_a_refusal_whose_time_passes_before_ones_eyes_is_not_said_to_be_held_until_then(
    browser: Any, tmp_path: Path
) -> None:
    environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": str(tmp_path / "data")}
    now = time.time()
    ledger = await SQLiteLedger.open(read_settings(environ).ledger_file)
    payment = await sign(ledger, await reserve(ledger, now=now), now=now)
    await ledger.conclude(payment, Refused(reason="no"), now=now)
    await ledger.close()
    with ExitStack() as stack:
        url = await run_in_thread(lambda: stack.enter_context(open_gallery(environ)))
        async with visit(browser, url) as seen:
            held = seen.page.get_by_role("region", name="Not settled yet: $0.04 held")
            assert await held.get_by_text("refused, held until").is_visible()
            await seen.page.clock.set_fixed_time((payment.hold_until + 1) * 1000)
            past = held.get_by_text("refused; its credential has expired, the chain will show the outcome")
            await past.wait_for(timeout=SEE_SECONDS * 1000)


@pytest.mark.parametrize("size", [PHONE, DESKTOP])
async def test_without_a_history_the_page_says_so_and_makes_nothing(
    browser: Any, tmp_path: Path, size: tuple[int, int]
) -> None:
    environ = {"SEEDANCE_PROFILE": "sandbox", "SEEDANCE_DATA_DIR": str(tmp_path / "data")}
    with ExitStack() as stack:
        url = await run_in_thread(lambda: stack.enter_context(open_gallery(environ)))
        async with visit(browser, url, size) as seen:
            assert await seen.page.get_by_text("No videos yet. They appear here as they are made.").is_visible()
            assert await seen.page.locator("#windows strong").first.inner_text() == "$0.00"
            assert await seen.page.locator("#open").is_hidden()
            assert await seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert not (tmp_path / "data").exists()
