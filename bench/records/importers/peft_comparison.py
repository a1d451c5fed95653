"""The result files of PEFT's method comparison (`method_comparison/MetaMathQA/results`) as records
of ours, number for number.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.records.importers.incoming import digest, read_json, run_id
from bench.records.schema import Batch, Budget, Fingerprints, Imported, Record, Status, complaint
from bench.records.stages import (
    Drift,
    Environment,
    EvaluationSeconds,
    EvaluationStage,
    Ledger,
    Loss,
    Memory,
    Parameters,
    Score,
    Spent,
    TrainSeconds,
    TrainStage,
)
from bench.system.errors import UserError

SOURCE = "peft-method-comparison"
SUITE = "peft-metamathqa"
TARGET = "gsm8k"
# all of the test split is scored; the files give the accuracy alone, not how many items it is of
GSM8K_TEST_ITEMS = 1319
OWN = ("seed", "optimizer_type", "optimizer_kwargs", "init_kv_cache_prefix")
"""Parts of their training configuration that belong to a method; all others must be equal for rows
to be compared.
"""
NOTES = (
    (
        "training time is train_time as published: all of the experiment but validation, so it"
        " includes scoring the test split and measuring the loss on plain text"
    ),
    "training speed is the tokens of all steps by the seconds of the steps alone",
    "peak memory is what torch reserved, at its highest over training, validation and test",
    "drift is their forgetting: the rise of the mean loss per token on 100 rows of FineWiki",
)


def read_folder(folder: Path) -> list[Record]:
    """A record for every result file in a folder, by name. UserError where a file is of another
    kind, or none is there.
    """
    files = sorted(folder.glob("*.json"))
    if not files:
        raise UserError(
            f"{folder} holds no result files (*.json); give the folder"
            " method_comparison/MetaMathQA/results of PEFT"
        )
    seen: dict[str, tuple[Record, Path]] = {}
    for file in files:
        record = read(file)
        if record.id in seen:
            raise UserError(
                f"{folder}: {seen[record.id][1].name} and {file.name} are of the same experiment"
                f" {record.recipe}; keep one of them"
            )
        seen[record.id] = record, file
    return [record for record, _ in seen.values()]


def read(file: Path) -> Record:
    """One published result; what it does not say is null."""
    content = read_json(file)
    try:
        return _record(content, file.name)
    except ValidationError as error:
        raise UserError(f"{file} holds something unexpected: {complaint(error)}") from None
    except (KeyError, TypeError, IndexError, ValueError) as missing:
        raise UserError(
            f"{file} is no result of PEFT's MetaMathQA comparison: it lacks {missing}"
        ) from None


def _record(content: dict[str, Any], file: str) -> Record:
    run, trained, meta = content["run_info"], content["train_info"], content["meta_info"]
    given = run["train_config"]
    shared = {key: value for key, value in given.items() if key not in OWN}
    compared = {"configuration": shared, "model": meta["model_info"], "data": meta["dataset_info"]}
    method, parameters = _method(run["peft_config"], given)
    fine = trained["status"] == "success"
    environment, created = _environment(meta, given), run["created_at"]
    finished = datetime.fromisoformat(created) + timedelta(seconds=run["total_time"])
    return Record(
        id=run_id(run["experiment_name"], given["seed"], [compared, method, parameters]),
        suite=SUITE,
        comparison_key=digest(compared),
        fingerprints=Fingerprints(
            model=meta["model_info"]["sha"],
            tasks={
                TARGET: meta["dataset_info"]["gsm8k"]["sha"],
                "metamath": meta["dataset_info"]["metamath"]["sha"],
            },
        ),
        recipe=run["experiment_name"],
        method=method,
        origin=f"peft {meta['package_info']['peft-version']}",
        parameters=parameters,
        seed=given["seed"],
        status=Status.OK if fine else Status.FAILED,
        reason=None if fine else run["error_msg"] or f"published with status {trained['status']}",
        target=[TARGET],
        budget=Budget(currency="steps", amount=float(given["max_steps"])),
        batch=Batch(size=given["batch_size"], max_length=given["max_seq_length"]),
        train=_trained(trained, environment) if fine else None,
        evaluation=_evaluated(trained, given, environment) if fine else None,
        finished_at=finished.isoformat(timespec="seconds"),
        imported=Imported(
            source=SOURCE, file=file, created_at=created, compared=compared, notes=list(NOTES)
        ),
    )


def _method(config: dict[str, Any] | None, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Its name and settings; without a PEFT configuration all weights were trained."""
    optimizer = {"optimizer": given["optimizer_type"], **given["optimizer_kwargs"]}
    if prefix := given.get("init_kv_cache_prefix"):
        optimizer["init_kv_cache_prefix"] = prefix
    if config is None:
        return "full-finetuning", optimizer
    left_out = {"peft_type", "peft_version"}
    if config["peft_type"] == "ADALORA":
        left_out.add("rank_pattern")  # the ranks that it came to
    own = {k: value for k, value in config.items() if value is not None and k not in left_out}
    return config["peft_type"].lower().replace("_", "-"), {**optimizer, **own}


def _parameters(trained: dict[str, Any]) -> Parameters:
    return Parameters(
        trainable=trained.get("num_trainable_params"), total=trained.get("num_total_params")
    )


def _trained(trained: dict[str, Any], environment: Environment) -> TrainStage:
    last, peak = trained["metrics"][-1], trained["accelerator_memory_max"]
    steps = [window["train time"] for window in trained["metrics"] if "train time" in window]
    tokens, seconds = last.get("train total tokens"), sum(steps) if steps else None
    return TrainStage(
        seconds=TrainSeconds(train=trained["train_time"]),
        memory=Memory(peak_bytes=peak, reserved_bytes=peak, kind="reserved by torch"),
        tokens_per_second=tokens / seconds if tokens and seconds else None,
        parameters=_parameters(trained),
        artifact_bytes=trained["file_size"],
        ledger=Ledger(
            spent=Spent(
                tokens=tokens, seconds=seconds, samples=last["train samples"], steps=last["step"]
            )
        ),
        loss=Loss(last=last["train loss"]),
        environment=environment,
    )


def _evaluated(
    trained: dict[str, Any], given: dict[str, Any], environment: Environment
) -> EvaluationStage:
    last = trained["metrics"][-1]
    score = Score(
        value=last["test accuracy"],
        metric="exact_match",
        higher_is_better=True,
        items=GSM8K_TEST_ITEMS,
    )
    return EvaluationStage(
        seconds=EvaluationSeconds(),
        scores={TARGET: score},
        drift=Drift(change=last["forgetting"]) if "forgetting" in last else None,
        generation_config=given.get("generation_kwargs"),
        parameters=_parameters(trained),
        environment=environment,
    )


def _environment(meta: dict[str, Any], given: dict[str, Any]) -> Environment:
    packages, device = meta["package_info"], meta["system_info"]["accelerator"]
    versions, commits = (
        {k.removesuffix(end): value for k, value in packages.items() if k.endswith(end)}
        for end in ("-version", "-commit-hash")
    )
    return Environment(
        libraries=versions,
        commits={name: commit for name, commit in commits.items() if commit},
        device=device,
        device_kind="cuda" if device.startswith("NVIDIA") else None,
        dtype=given["dtype"],
    )
