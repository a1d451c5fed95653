"""Results as a dataset repository on the Hugging Face Hub: records, per-item outcomes, reports, and
a card that leads through them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from bench.publish import every_eval_ever
from bench.publish.gather import Published, copy_folder
from bench.records.store import AGAIN
from bench.report.table import escaped
from bench.report.template import filled
from bench.system.errors import UserError
from bench.system.files import write_atomically

ADDRESS = re.compile(r"hf://datasets/([\w.-]+/[\w.-]+)/?")
TOKEN = (
    "make a token that may write at the Hub's settings page, then set HF_TOKEN to it or run `hf"
    " auth login`"
)


def repository(address: str) -> str | None:
    """The repository that an address such as hf://datasets/me/results names; None for a folder.
    UserError for other hf:// ones.
    """
    if not address.startswith("hf:"):
        return None
    found = ADDRESS.fullmatch(address)
    if found is None:
        raise UserError(
            f"--to {address} names no dataset; write hf://datasets/<you or your"
            " organisation>/<name>"
        )
    return found[1]


def stage(suites: list[Published], folder: Path) -> None:
    """Lay out in a folder what the repository shall hold."""
    for suite in suites:
        items = [f"items/{record.id}.parquet" for record in suite.records]
        suite.copy_to(folder / suite.name, "suite.yaml", "plan.json", *items)
        for inner in ("report", AGAIN):
            copy_folder(suite.folder / inner, folder / suite.name / inner)
        every_eval_ever.write(suite, folder / suite.name)
    write_atomically(folder / "README.md", dataset_card(suites))


def open_repository(repo: str, private: bool) -> str:
    """Create the dataset where it is not there; gives its address.

    UserError where there is no token, the token may not write there, or the Hub cannot be reached.
    """
    from huggingface_hub import HfApi, get_token

    if get_token() is None:
        raise UserError(f"the Hub asks who you are: {TOKEN}")
    with _told_to_people(repo):
        return str(
            HfApi().create_repo(repo, repo_type="dataset", exist_ok=True, private=private or None)
        )


def push(folder: Path, repo: str) -> None:
    """Commit a folder's files to a dataset that is there. UserError as in `open_repository`."""
    from huggingface_hub import HfApi

    with _told_to_people(repo):
        HfApi().upload_folder(
            repo_id=repo, repo_type="dataset", folder_path=folder, commit_message="Results of bench"
        )


@contextmanager
def _told_to_people(repo: str) -> Iterator[None]:
    """Make a UserError of what goes wrong on the way to the Hub: what it was, and what to do."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.OfflineModeIsEnabled:
        raise UserError(
            "HF_HUB_OFFLINE is set, so nothing can be sent to the Hub; unset it and publish again"
        ) from None
    except errors.HfHubHTTPError as error:
        raise UserError(_refusal(error, repo)) from None
    # HTTPError is that of the HTTP library, whichever it is.
    except (errors.HTTPError, OSError) as error:  # pyright: ignore[reportPrivateImportUsage]
        raise UserError(
            f"cannot reach the Hub at {constants.ENDPOINT} ({error}); publish again when it can be"
            " reached"
        ) from None
    except (RuntimeError, ValueError) as error:
        raise UserError(
            f"the upload to {repo} broke off ({error}); publish again, what has arrived already is"
            " not sent twice"
        ) from None


def _refusal(error: Any, repo: str) -> str:
    status = error.response.status_code
    told = error.server_message or str(error).partition("\n")[0]
    known = {
        401: f"the Hub does not know the token: {TOKEN}",
        403: f"the token may not write to {repo}: give a name of yours after hf://datasets/, or"
        f" {TOKEN}",
    }
    return known.get(status, f"the Hub refused {repo} with status {status}: {told}")


def dataset_card(suites: list[Published]) -> str:
    """The repository's README.md; its front matter lets the Hub show every suite's table."""
    from huggingface_hub import DatasetCardData

    configs = [
        {"config_name": s.name.replace("/", "-"), "data_files": f"{s.name}/report/table.csv"}
        for s in suites
    ]
    data = DatasetCardData(
        pretty_name="Fine-tuning methods compared",
        tags=["bench", "fine-tuning", "benchmark"],
        configs=configs,
    )
    text = filled(
        "bench.publish",
        "dataset.md",
        data=data,
        suites=suites,
        escaped=partial(escaped, signs="["),
    )
    return text + "\n"
