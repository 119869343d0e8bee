"""The page in Chromium: forty battles by keys, hostile answers, a phone's width, and what a screen reader is told."""

from __future__ import annotations

import http.server
import re
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
from review_project import NAMES, make_review_project, quality_of

from arena_learning.core import sanitized
from arena_learning.review import open_session, review_summary, serve_review, summary_text
from arena_learning.schema import Review, read_rows

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER is None, reason="no Chromium on PATH"),
]
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
ABORTED = "net::ERR_ABORTED"  # the icon's request, when the next page is opened before it is answered
SETTLED = "html[data-settled=yes]"
LONG = "\n\n".join(f"Paragraph {n}. " + "word " * 60 for n in range(160))  # 50 kB
HOSTILE = {
    0: (
        "<script>document.title = 'bad'</script><img src=x onerror=\"document.title = 'bad'\">",
        "</textarea></div></section></main></body><style>* { display: none }</style><h1>Battle 9</h1>",
        "\x1b[31mred\x1b[0m \u202eevil\u202c \u2066x\u2069 \x00\x07",
        "",
    ),
    1: (
        LONG,
        "מה המספר הזה? זה 1.\nEnglish in between.\nעוד שורה.",
        "x" * 50_000,
        "\n\n\n   \n",
    ),
    2: (
        "| a | b |\n|---|---|\n" + "| " + "wide " * 80 + "|",
        "```python\ndef f():\n\treturn 1\n```",
        "&lt;b&gt; &amp;amp; {{ 7 * 7 }} {% raw %}",
        "https://example.org/" + "path/" * 200,
    ),
}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield chromium
        chromium.close()


@contextmanager
def opened(browser, address, size=DESKTOP, **options):
    """A page in a browser of its own; an error, a dialog or a refused request on it fails the test."""
    context = browser.new_context(viewport=size, **options)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console",
        lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None,
    )
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.on(
        "requestfailed", lambda request: wrong.append(request.url) if request.failure != ABORTED else None
    )
    try:
        page.goto(address)
        yield page
        assert not wrong
    finally:
        context.close()


def answers_on(page):
    return [page.locator(f"#answer-{n} .text").text_content() for n in (1, 2)]


def press(page, key):
    """Press a key when the page takes keys, and wait for the next page."""
    page.wait_for_selector(SETTLED)
    with page.expect_navigation():
        page.keyboard.press(key)


def test_forty_battles_by_keys_give_the_agreement_table(browser, tmp_path):
    params, paths = make_review_project(tmp_path, 40)
    session = open_session("ann", params, paths, count=40)
    orders = []
    with serve_review(session) as address, opened(browser, address) as page:
        for number in range(1, 41):
            assert page.title() == f"Battle {number} of 40 · arena review"
            content = page.content()
            assert not [name for name in (*NAMES, "rubric-all") if name in content]
            one, two = map(quality_of, answers_on(page))
            orders.append(page.url)
            if number == 5:  # a note: letters and digits in it are no keys
                page.wait_for_selector(SETTLED)
                page.keyboard.press("n")
                page.keyboard.type("1234 sun")
                page.keyboard.press("Escape")
            if number == 10:  # a slip, taken back
                press(page, "4")
                press(page, "u")
                assert "Your verdict so far: both are bad." in page.locator("#before").text_content()
            press(page, "3" if abs(one - two) < 0.1 else "1" if one > two else "2")
        assert page.title() == "All 40 battles are judged · arena review"
        page.goto(address)
        assert page.url.endswith("/done")
    rows = read_rows(paths.review("ann"), Review)
    assert (len(rows), len(set(orders)), len(session.done)) == (41, 40, 40)
    assert [row.note for row in rows if row.note] == ["1234 sun"]
    for row in session.done.values():
        better = quality_of(row.response_a) - quality_of(row.response_b)
        assert row.winner == ("tie" if abs(better) < 0.1 else "model_a" if better > 0 else "model_b")
    assert len({row.model_a < row.model_b for row in rows}) == 2  # sides are drawn
    found = review_summary(params, paths)
    assert [line["scored"] for line in found["judges"]] == [40, 40]
    assert "rubric-all v1" in summary_text(found)


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_hostile_answers_are_shown_as_text_and_nothing_scrolls_sideways(browser, tmp_path, size):
    params, paths = make_review_project(tmp_path, 3, texts=HOSTILE)
    session = open_session("ann", params, paths, count=18)
    with serve_review(session) as address, opened(browser, address, size) as page:
        for key, shown in session._shown.items():
            page.goto(f"{address}battle/{key}")
            for place, answer in enumerate(shown.answers, 1):
                box = page.locator(f"#answer-{place}")
                if answer.strip():
                    assert box.locator(".text").text_content() == sanitized(answer)
                    assert box.locator(".text *").count() == 0
                else:
                    assert "(an empty answer)" in box.text_content()
            assert page.evaluate("document.querySelectorAll('script, style, img, h1').length") == 2
            assert re.match(r"Battle \d+ of 18 ", page.title())
            broad = page.evaluate(
                "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            assert broad[0] <= broad[1]
            assert page.locator("button[value=tie]").is_visible()
            hebrew = page.locator(".text", has_text="עוד שורה")
            if hebrew.count():
                assert hebrew.evaluate("one => getComputedStyle(one).direction") == "rtl"


def test_the_page_works_without_a_script(browser, tmp_path):
    session = open_session("ann", *make_review_project(tmp_path, 12), count=2)
    with serve_review(session) as address, opened(browser, address, java_script_enabled=False) as page:
        assert not page.locator("kbd").first.is_visible()
        assert not page.locator("#keys").is_visible()
        page.get_by_label("Note").fill("by hand")
        page.get_by_role("button", name="Both are bad").click()
        page.get_by_role("link", name="Back").click()
        page.get_by_role("button", name="Answer 2 is better").click()
        page.get_by_role("button", name="Skip").click()
        assert page.get_by_role("heading", level=1).text_content() == "All 2 battles are judged"
    rows = read_rows(session.path, Review)
    assert [(row.winner, row.note) for row in rows] == [
        ("both_bad", "by hand"),
        ("model_b", "by hand"),
        (None, ""),
    ]


def test_a_key_that_is_held_or_a_double_click_judges_one_battle(browser, tmp_path):
    session = open_session("ann", *make_review_project(tmp_path, 12), count=6)
    with serve_review(session) as address, opened(browser, address) as page:
        page.wait_for_selector(SETTLED)
        with page.expect_navigation():
            page.keyboard.down("1")
        page.wait_for_selector(SETTLED)
        for _ in range(5):
            page.keyboard.down("1")  # Chromium reports these as repeats
        page.keyboard.up("1")
        assert page.title().startswith("Battle 2 of 6")
        assert len(session.done) == 1
        # A key, or a click, that falls on the next page before anybody can have read it.
        page.reload(wait_until="commit")
        page.wait_for_selector("button[value=tie]")
        page.evaluate(
            "document.documentElement.dataset.settled || document.querySelector('button[value=tie]').click()"
        )
        page.wait_for_selector(SETTLED)
        assert len(session.done) == 1
        with page.expect_navigation():
            page.get_by_role("button", name="Tie").dblclick()
        page.wait_for_selector(SETTLED)
        assert len(session.done) == 2


def test_keys_can_be_switched_off(browser, tmp_path):
    session = open_session("ann", *make_review_project(tmp_path, 12), count=6)
    with serve_review(session) as address, opened(browser, address) as page:
        page.get_by_role("button", name="Keys on").click()
        page.reload()
        page.wait_for_selector(SETTLED)
        for key in "1234su":
            page.keyboard.press(key)
        page.get_by_role("button", name="Keys off", pressed=False).click()
        press(page, "3")
        assert [row.winner for row in session.done.values()] == ["tie"]


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_wrong(browser, tmp_path, size, look):
    from axe_playwright_python.sync_playwright import Axe

    session = open_session("ann", *make_review_project(tmp_path, 2, texts={0: HOSTILE[1]}), count=12)
    with (
        serve_review(session) as address,
        opened(browser, address, size, color_scheme=look, bypass_csp=True) as page,
    ):
        page.wait_for_selector(SETTLED)
        seen = [Axe().run(page)]
        press(page, "1")
        press(page, "u")
        seen.append(Axe().run(page))  # with a verdict so far
        while session.next():
            page.goto(address)
            press(page, "3")
        seen.append(Axe().run(page))
        assert page.title().startswith("All 12 ")
    for found in seen:
        assert found.violations_count == 0, found.generate_report()


def test_what_a_screen_reader_is_told(browser, tmp_path):
    from playwright.sync_api import expect

    session = open_session("ann", *make_review_project(tmp_path, 3), count=18)
    with serve_review(session) as address, opened(browser, address) as page:
        for landmark in ("banner", "main", "navigation"):
            assert page.get_by_role(landmark).count() == 1
        for name in ("Instruction", "Answer 1", "Answer 2", "Verdict"):
            assert page.get_by_role("region", name=name, exact=True).count() == 1
        assert page.evaluate("document.activeElement.textContent") == "Battle 1 of 18"
        press(page, "2")
        # The live region is filled after the page has loaded, else nothing would be announced.
        # Not `wait_for_function`: the page's policy forbids to evaluate its text.
        expect(page.get_by_role("status")).to_have_text("Saved: answer 2 is better.")
        assert page.evaluate("document.activeElement.textContent") == "Battle 2 of 18"
        assert page.get_by_role("button", name="Tie").get_attribute("aria-keyshortcuts") == "3"
        focused = []
        for _ in range(7):
            page.keyboard.press("Tab")
            focused.append(
                page.evaluate(
                    "document.activeElement.value || document.activeElement.id || document.activeElement.dataset.key"
                )
            )
        assert focused == ["1", "2", "tie", "both_bad", "note", "skip", "u"]
        page.keyboard.press("Shift+Tab")
        page.wait_for_selector(SETTLED)
        with page.expect_navigation():
            page.keyboard.press("Enter")
        assert [row.winner for row in session.done.values()] == ["model_b", None]


def test_the_links_that_jump_are_seen_when_they_have_the_focus(browser, tmp_path):
    session = open_session("ann", *make_review_project(tmp_path, 2, texts={0: HOSTILE[1]}), count=12)
    with serve_review(session) as address, opened(browser, address, PHONE) as page:
        page.wait_for_selector(SETTLED)
        link = page.get_by_role("link", name="Answer 2")
        link.focus()
        box = link.bounding_box()
        assert 0 <= box["x"] <= PHONE["width"] - box["width"]
        page.keyboard.press("Enter")
        page.wait_for_url("**/*#answer-2")
        assert page.locator("#answer-2").bounding_box()["y"] < PHONE["height"]


class Foreign(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, *arguments):
        pass


def test_another_web_page_that_even_knows_the_secret_posts_no_verdict(browser, tmp_path):
    """A page of another port of this machine: the same site for a browser, and another origin."""
    session = open_session("ann", *make_review_project(tmp_path, 12), count=6)
    foreign = http.server.HTTPServer(("127.0.0.1", 0), Foreign)
    thread = threading.Thread(target=foreign.serve_forever)
    thread.start()
    try:
        with serve_review(session) as address:
            target = f"{address}battle/{session.next().battle.key}"
            form = (
                f"<form method=post action='{target}'><input name=winner value=1><input name=replaces></form>"
            )
            foreign.content = (
                f"{form}<script>document.forms[0].submit()</script><iframe src='{address}'></iframe>".encode()
            )
            context = browser.new_context()
            page = context.new_page()
            codes = {}
            page.on(
                "response", lambda answer: codes.setdefault(answer.request.method + answer.url, answer.status)
            )
            page.goto(f"http://127.0.0.1:{foreign.server_port}/")
            page.wait_for_url(target)
            assert codes[f"POST{target}"] == 403
            assert "Forbidden" in page.content()
            assert not session.done
            context.close()
    finally:
        foreign.shutdown()
        foreign.server_close()
        thread.join()


def test_the_script_is_small_and_writes_no_markup():
    import arena_learning.review.app as app

    script = Path(app.__file__).with_name("page") / "static" / "script.js"
    text = script.read_text(encoding="utf-8")
    assert len(text) < 5000
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|fetch\(", text)
