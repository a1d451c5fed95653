"""The page in a real browser: it works, it fetches nothing, it can be read by everybody, and no
name in it acts as markup.
"""

from __future__ import annotations

import json
import re
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import vl_convert

from bench.analysis import Analysis, Group
from bench.analysis.rows import Row
from bench.report.html import embedded, facts, page
from tests.browser import opened
from tests.made_up import EVIL, everything, row

CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (colour, below) => {
    canvas.fillStyle = below; canvas.fillRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
  };
  const light = (c) => { const [r, g, b] = c.map((v) => v / 255).map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = (element) => {
    const under = []; for (let e = element; e; e = e.parentElement) under.unshift(getComputedStyle(e).backgroundColor);
    return under.reduce((below, colour) => `rgb(${rgb(colour, below).join(',')})`, 'white');
  };
  const found = [];
  const text = 'h1,h2,h3,p,dt,dd,li,a,label,summary,caption,button,select,th,td,small,.mark,.none,code,figcaption';
  for (const e of document.querySelectorAll(text)) {
    if (!e.textContent.trim() || !e.checkVisibility()) continue;
    const back = ground(e), a = light(rgb(getComputedStyle(e).color, back)), b = light(rgb(back, 'white'));
    found.push([(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.tagName, e.className, e.textContent.trim().slice(0, 40)]);
  }
  return found.sort((x, y) => x[0] - y[0]).slice(0, 5);
}"""
NAMES = """() => [...document.querySelectorAll('#table-0 tbody.rows tr')].filter((r) => !r.hidden)
  .map((r) => r.querySelector('.name').textContent)"""
OVERFLOW = "() => document.documentElement.scrollWidth - window.innerWidth"


@cache
def html() -> str:
    return page(everything())


def test_the_page_is_one_small_file_that_names_no_other() -> None:
    text = html()
    assert len(text.encode()) < 2_000_000
    own = re.sub(
        r"<script>\(\(\)=>\{.*?</script>", "", text, flags=re.S
    )  # without the bundle of Vega, which names its licences
    markup = re.sub(r"<script>.*?</script>", "", text, flags=re.S)
    assert not re.findall(
        r"(?:src|href|action|poster|srcset)\s*=\s*[\"']?(?![#\"'])[^\s>]+", markup
    )
    assert not re.findall(r"url\(|@import|https?://", own)


class Tags(HTMLParser):
    """Counts what a parser takes for scripts, and collects attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.scripts, self.handlers, self.text = 0, [], ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.scripts += tag == "script"
        self.handlers += [
            name for name, _ in attrs if name.startswith("on") or name in ("alert(1)", "'&")
        ]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_names_are_text_and_never_markup() -> None:
    evil, plain = Tags(), Tags()
    evil.feed(html())
    plain.feed(page(everything("harmless")))
    assert evil.scripts == plain.scripts and not evil.handlers
    assert EVIL in evil.text
    assert "<script>alert" not in html()


def test_embedded_json_cannot_end_early() -> None:
    text = embedded({"name": "</script><!--", "nan": float("nan"), "infinite": [float("inf")]})
    assert "<" not in text and json.loads(text) == {
        "name": "</script><!--",
        "nan": None,
        "infinite": [None],
    }


def test_every_chart_is_valid_vega_lite() -> None:
    numbers = re.search(r'id="numbers">(.*?)</script>', html(), re.S)
    charts = json.loads(numbers[1])["charts"] if numbers else {}
    kinds = {name.split("-")[0] for name in charts}
    assert kinds == {"scatter", "time", "memory", "ledger", "changes", "draws", "curve", "path"}
    for chart in charts.values():
        vl_convert.vegalite_to_vega(chart["spec"])


def test_sections_without_data_do_not_appear() -> None:
    bare = page(
        Analysis(
            "bare",
            "",
            [Group([Row("sft", "failed", "no memory", 0, ("unknown", float("nan")))])],
            0.95,
        )
    )
    heads = re.findall(r'<h2 id="([^"]+)"', bare)
    assert heads == ["results", "failures", "measured"]
    assert "no memory" in bare and len(bare) < 100_000, (
        "without a picture there is no need of what draws them"
    )


def test_speed_from_elsewhere_and_the_chance_to_win_are_told() -> None:
    seen = Tags()
    seen.feed(html())
    for told in (
        "Speed and memory on H100",
        "90,000",
        f"not published {EVIL}",
        "chance to win",
        f"Tuning moved {EVIL}",
    ):
        assert told in seen.text


def test_a_tuned_row_has_the_settings_that_were_chosen() -> None:
    told = {
        note["recipe"]: note["settings"]
        for note in facts.notes(everything(), facts.suite(everything()))
    }
    assert told["method-0"] == "{sft: {lr: 0.001}}"
    assert told["method-0 (tuned)"].startswith("as method-0, with {lr: 0.00316")


def test_no_cell_is_blank() -> None:
    assert not re.findall(r"<td[^>]*>\s*(?:<small>\s*</small>)?\s*</td>", html())


def test_a_diverged_row_keeps_the_page_whole(tmp_path: Path) -> None:
    rows = [row("sft", 0.9, 0.3), row("lora", 0.8, 0.2), row("lost", 0.1, 0.9)]
    rows[2].means |= {"drift_nll": float("inf"), "drift_kl": float("nan")}
    with opened(page(Analysis("diverged", "", [Group(rows)], 0.95)), tmp_path) as (
        browser,
        troubles,
    ):
        assert browser.locator("#scatter-0 svg").count() == 1
        assert not troubles


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1440, True)])
def test_it_opens_quietly_and_fits(tmp_path: Path, width: int, dark: bool) -> None:
    with opened(html(), tmp_path, width=width, dark=dark) as (browser, troubles):
        assert browser.evaluate(OVERFLOW) <= 0
        browser.evaluate(
            "() => document.querySelectorAll('details').forEach((d) => { d.open = true; })"
        )
        assert browser.evaluate(OVERFLOW) <= 0
        worst = browser.evaluate(CONTRAST)
        assert worst[0][0] >= 4.5, worst
        browser.locator("#theme").click()
        worst = browser.evaluate(CONTRAST)
        assert worst[0][0] >= 4.5, worst
        unnamed = browser.evaluate(
            "() => [...document.querySelectorAll('svg,canvas')].filter((e) =>"
            " !e.closest('[aria-hidden=true]') && !(e.closest('[role=img]') ||"
            " e).getAttribute('aria-label')).length"
        )
        assert unnamed == 0
        assert browser.locator(".chart svg").count() == browser.locator(".chart").count()
        assert not troubles, troubles


def test_tables_sort_and_filter_by_mouse_and_keyboard(tmp_path: Path) -> None:
    with opened(html(), tmp_path) as (browser, troubles):
        table = browser.locator("#table-0")
        first = browser.evaluate(NAMES)
        forgetting = table.locator("thead th", has_text="forgetting")
        forgetting.locator("button").click()
        assert forgetting.get_attribute("aria-sort") == "ascending", (
            "less forgetting is better, so the least comes first"
        )
        assert table.locator("tbody.base .name").inner_text() == "base"
        together = browser.evaluate(NAMES)
        assert together[:2] == [
            "method-6 (tuned)",
            "method-6",
        ], "what was tuned stays beside its default"
        assert set(together[-2:]) == {"broken", "absent"}, "what is missing comes last"
        browser.locator("[data-together]").uncheck()
        values = _values(browser, 2)
        assert values == sorted(values)
        forgetting.locator("button").focus()
        browser.keyboard.press("Enter")
        assert forgetting.get_attribute("aria-sort") == "descending"
        values = _values(browser, 2)
        assert values == sorted(values, reverse=True)
        assert set(browser.evaluate(NAMES)[-2:]) == {"broken", "absent"}

        box = browser.locator("[data-table='table-0']")
        box.locator("[data-filter=text]").fill("method-3")
        assert sorted(browser.evaluate(NAMES)) == ["method-3", "method-3 (tuned)"]
        assert box.locator(".count").inner_text() == "2 of 17 rows"
        box.locator("[data-filter=text]").fill("")
        box.locator("[data-filter=family]").select_option("preference")
        assert sorted(browser.evaluate(NAMES)) == [EVIL, f"{EVIL} (tuned)"]
        box.locator("[data-filter=family]").select_option("")
        box.locator("[data-filter=status]").select_option("failed")
        assert browser.evaluate(NAMES) == ["broken"]
        box.locator("[data-filter=status]").select_option("")
        assert sorted(browser.evaluate(NAMES)) == sorted(first)

        hidden = table.locator("thead th", has_text="joules")
        assert not hidden.is_visible()
        box.locator(".columns summary").click()
        box.locator(".columns label", has_text="joules").click()
        assert hidden.is_visible()
        assert browser.evaluate(OVERFLOW) <= 0
        assert not troubles, troubles


def _values(browser: Any, place: int) -> list[float]:
    cells = (
        "() => [...document.querySelectorAll('#table-0 tbody.rows tr')].map((r) =>"
        f" r.cells[{place + 1}].dataset.v).filter((v) => v)"
    )
    return [float(value) for value in browser.evaluate(cells)]


def test_axes_and_currency_are_the_readers_choice(tmp_path: Path) -> None:
    with opened(html(), tmp_path) as (browser, troubles):
        chart = browser.locator("#scatter-0")
        name = browser.locator("[role=img]", has=chart)
        form = browser.locator("[data-chooser='scatter-0']")
        assert (name.get_attribute("aria-label") or "").endswith(
            f"No row beats base, method-0 (tuned), method-1 (tuned), {EVIL} (tuned), method-6 (tuned),"
            " borrowed in both."
        )
        form.locator("[data-axis=x]").select_option("trainable_parameters")
        browser.locator("#scatter-0[data-drawn='2']").wait_for(state="attached")
        assert "trainable parameters" in (name.get_attribute("aria-label") or "")
        assert "trainable parameters" in chart.inner_text()
        assert "in both" not in (name.get_attribute("aria-label") or ""), "neither way is better"
        form.locator("[data-swap]").click()
        browser.locator("#scatter-0[data-drawn='3']").wait_for(state="attached")
        assert (name.get_attribute("aria-label") or "").startswith(
            "trainable parameters against target accuracy"
        )
        before = browser.locator("#ledger-0 svg").inner_html()
        browser.locator("[data-chart='ledger-0'][data-signal=currency]").select_option("flops")
        browser.wait_for_timeout(300)
        assert browser.locator("#ledger-0 svg").inner_html() != before
        assert not troubles, troubles


def test_pairs_are_written_out_when_opened_and_sort(tmp_path: Path) -> None:
    with opened(html(), tmp_path) as (browser, troubles):
        table = browser.locator("[aria-labelledby=pairs] table").first
        assert table.locator("tbody tr").count() == 0
        browser.locator("[aria-labelledby=pairs] summary").first.click()
        table.locator("tbody tr").first.wait_for()  # the browser tells of it a moment later
        assert table.locator("tbody tr").count() == len(everything().groups[0].pairs)
        first = "method-0|method-0 (tuned)|−2.0|−5.0 to 1.0|< 0.001|< 0.001|not known"
        assert table.locator("tbody tr").first.inner_text().split("\t") == first.split("|")
        table.locator("thead button", has_text="difference").click()
        values = table.locator("tbody td:nth-child(3)").all_inner_texts()
        assert values == sorted(values, key=lambda text: -float(text.replace("−", "-")))
        assert any(
            EVIL in text for text in table.locator("tbody td:nth-child(1)").all_inner_texts()
        )
        assert not troubles, troubles


def test_pointing_at_a_row_tells_its_name(tmp_path: Path) -> None:
    with opened(html(), tmp_path) as (browser, troubles):
        browser.locator("#scatter-0 .points_marks path, #scatter-0 g.mark-symbol path").last.hover(
            force=True
        )
        told = browser.locator("#vg-tooltip-element.visible")
        told.wait_for()
        assert "target accuracy" in told.inner_text() and not troubles
