"""Publishing: a site that any web host serves, a dataset on a stand-in of the Hub, and adapters
that a stranger can load.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from huggingface_hub import DatasetCard, ModelCard, ModelCardData

from bench.publish.card import without_places
from bench.records.store import Store

from ..conftest import ROOT, Bench, command, environment, run_in
from ..hub import TOKEN, hub

SUITE = """suite: kept
model: {base}
target: tiny/smallest
retain: [tiny/sort]
budget: {{tokens: 4k}}
seeds: [0]
split: validation
artifacts: keep
methods:
  - lora: {{r: 4}}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a suite that was run on a local model, its adapters kept."""
    folder = tmp_path_factory.mktemp("home")
    shutil.copytree(ROOT / "bench/tiny/weights", folder / "my-base")
    (folder / "suite.yaml").write_text(SUITE.format(base=folder / "my-base"))
    done = run_in(folder, "run", "suite.yaml", "--quiet")
    assert done.returncode == 0, done.stderr
    shutil.copytree(ROOT / "results/quickstart", folder / "results/quickstart")
    shutil.copytree(ROOT / "results/solar", folder / "results/other-model/solar")
    return folder


def _publish(home: Path, *arguments: object, **extra: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("publish", *arguments),
        check=False,
        cwd=home,
        env=environment(
            home,
            **{
                "HF_HUB_OFFLINE": "0",
                "HF_HUB_DISABLE_XET": "1",
                "HF_HOME": str(home / "hf"),
                **extra,
            },
        ),
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.fixture(scope="module")
def site(home: Path) -> Path:
    done = _publish(home, "results", "--to", "site", "--adapters")
    assert done.returncode == 0, done.stderr
    return home / "site"


class _Page(HTMLParser):
    """Every address that a page links to or loads."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value for name, value in attrs if name in ("href", "src") and value]


def test_every_link_of_the_index_leads_to_a_file_of_the_site(site: Path) -> None:
    page = _Page()
    page.feed((site / "index.html").read_text())
    links = [link for link in page.links if not link.startswith("#")]
    assert {link.partition("/")[0] for link in links} == {"kept", "other-model", "quickstart"}
    for link in links:
        assert not re.match(r"[a-z]+:|/", link)
        assert (site / unquote(link)).is_file(), link
    assert (site / ".nojekyll").is_file()


def test_reports_and_records_are_those_of_the_results(home: Path, site: Path) -> None:
    for suite in ("kept", "quickstart", "other-model/solar"):
        results = home / "results" / suite
        assert (site / suite / "index.html").read_bytes() == (
            results / "report/report.html"
        ).read_bytes()
        assert (site / suite / "table.csv").read_bytes() == (
            results / "report/table.csv"
        ).read_bytes()
        with zipfile.ZipFile(site / suite / "records.zip") as archive:
            for file in (results / "records").iterdir():
                assert (
                    (site / suite / "records" / file.name).read_bytes()
                    == file.read_bytes()
                    == archive.read(f"records/{file.name}")
                )
    index = (site / "index.html").read_text()
    assert "On tiny/smallest, sft reaches" in index
    assert "prefers-color-scheme" in index or "light-dark(" in index


def test_an_adapter_loads_again_and_its_card_tells_its_scores(
    home: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import AutoPeftModelForCausalLM, PeftConfig

    (folder,) = (site / "kept/adapters").iterdir()
    record = Store(home / "results/kept").get(folder.name)
    card = ModelCard.load(folder / "README.md")
    assert isinstance(card.data, ModelCardData)
    assert card.data.library_name == "peft"
    told = {result.dataset_name: result.metric_value for result in card.data.eval_results or []}
    assert told == {name: score.value for name, score in record.scores.items()}
    assert "4,000 tokens" in card.text
    assert PeftConfig.from_pretrained(str(folder)).base_model_name_or_path == "my-base"
    monkeypatch.chdir(
        home
    )  # where my-base lies: whoever has the start model under its name can load the adapter
    model = AutoPeftModelForCausalLM.from_pretrained(str(folder))
    trained = sum(p.numel() for name, p in model.named_parameters() if "lora_" in name)
    assert record.train is not None
    assert trained == record.train.parameters.trainable


def test_cards_and_adapters_tell_nothing_of_the_machine(home: Path, site: Path) -> None:
    for file in (site / "kept/adapters").rglob("*"):
        if file.is_file():
            assert str(home).encode() not in file.read_bytes(), file


def test_one_suite_alone_is_published_over_an_earlier_site_and_changes_nothing_of_its_own(
    home: Path, site: Path
) -> None:
    shutil.copytree(site, home / "again")
    done = _publish(home, "results/quickstart", "--to", "again", "--adapters")
    assert "write `artifacts: keep` into the suite" in done.stdout
    for file in (file for file in (site / "quickstart").rglob("*") if file.is_file()):
        assert (
            home / "again/quickstart" / file.relative_to(site / "quickstart")
        ).read_bytes() == file.read_bytes()
    assert "1 suite<" in (home / "again/index.html").read_text()


def test_names_cannot_act_as_markup(tmp_path: Path, bench: Bench) -> None:
    name = """a<img src=x onerror=alert(1)>"'&"""
    shutil.copytree(ROOT / "results/quickstart", tmp_path / "results" / name)
    assert bench("publish", "results", "--to", "site").returncode == 0
    text = (tmp_path / "site/index.html").read_text()
    assert "<img" not in text
    page = _Page()
    page.feed(text)
    assert all(
        (tmp_path / "site" / unquote(link)).is_file()
        for link in page.links
        if not link.startswith("#")
    )


def test_what_cannot_be_published_is_told(tmp_path: Path, bench: Bench) -> None:
    (tmp_path / "empty").mkdir()
    for arguments, said in (
        (("nowhere", "--to", "site"), "there is no folder nowhere"),
        (("empty", "--to", "site"), "holds no results"),
        (("empty", "--to", "hf://models/me/x"), "write hf://datasets/"),
    ):
        result = bench("publish", *arguments)
        assert result.returncode == 2
        assert said in result.stderr
    shutil.copytree(ROOT / "results/quickstart", tmp_path / "results")
    result = bench("publish", "results", "--to", "results/site")
    assert result.returncode == 2
    assert "give a folder beside them" in result.stderr


def test_the_hub_gets_records_items_and_reports_with_a_card(home: Path) -> None:
    with hub() as there:
        done = _publish(
            home,
            "results",
            "--to",
            "hf://datasets/me/results",
            "--private",
            HF_ENDPOINT=there.endpoint,
            HF_TOKEN=TOKEN,
        )
    assert done.returncode == 0, done.stderr
    (created,) = there.created
    assert (created["organization"], created["name"], created["type"], created["visibility"]) == (
        "me",
        "results",
        "dataset",
        "private",
    )
    for suite in ("kept", "quickstart"):
        folder = home / "results" / suite
        for kind in ("records", "items", "report"):
            for file in (folder / kind).iterdir():
                assert there.files[f"{suite}/{kind}/{file.name}"] == file.read_bytes()
        assert there.files[f"{suite}/suite.yaml"] == (folder / "suite.yaml").read_bytes()
    card = DatasetCard(there.files["README.md"].decode())
    assert set(there.validated) == {there.files["README.md"].decode()}
    assert [config["data_files"] for config in card.data.to_dict()["configs"]] == [
        "kept/report/table.csv",
        "quickstart/report/table.csv",
        "other-model/solar/report/table.csv",
    ]
    assert "| lora |" in card.text
    assert there.endpoint in done.stdout


@pytest.mark.parametrize(
    ("token", "status", "said"),
    [
        ("hf_unknown", 200, "does not know the token"),
        (TOKEN, 403, "may not write to me/results"),
        (TOKEN, 500, "with status 500"),
        ("", 200, "the Hub asks who you are"),
    ],
)
def test_refusals_of_the_hub_say_what_to_do(home: Path, token: str, status: int, said: str) -> None:
    with hub() as there:
        there.status = status
        done = _publish(
            home,
            "results/quickstart",
            "--to",
            "hf://datasets/me/results",
            HF_ENDPOINT=there.endpoint,
            HF_TOKEN=token,
        )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert there.files == {}


def test_a_hub_that_cannot_be_reached_is_told(home: Path) -> None:
    address = ("results/quickstart", "--to", "hf://datasets/me/results")
    done = _publish(home, *address, HF_ENDPOINT="http://127.0.0.1:9", HF_TOKEN=TOKEN)
    assert (done.returncode, "cannot reach the Hub" in done.stderr) == (2, True), done.stderr
    done = _publish(home, *address, HF_TOKEN=TOKEN, HF_HUB_OFFLINE="1")
    assert (done.returncode, "HF_HUB_OFFLINE is set" in done.stderr) == (2, True), done.stderr


def test_paths_of_a_machine_are_told_from_names() -> None:
    given = {"a": "/home/me/model", "b": ["~/x", "org/name"], "c": {"d": "../up", "e": 3}}
    assert without_places(given) == {"a": "model", "b": ["x", "org/name"], "c": {"d": "up", "e": 3}}
