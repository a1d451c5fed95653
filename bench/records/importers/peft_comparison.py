"""The result files of PEFT's method comparison (`method_comparison/MetaMathQA/results`) as records
of ours, number for number.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.records.importers.incoming import ROW, digest, read_json, run_id
from bench.records.schema import Record

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
    records = [read(file) for file in files]
    seen: dict[str, str] = {}
    for record in records:
        file = record["imported"]["file"]
        if record["id"] in seen:
            raise UserError(
                f"{folder}: {seen[record['id']]} and {file} tell of the same experiment"
                f" {record['recipe']}; keep one of them"
            )
        seen[record["id"]] = file
    return records


def read(file: Path) -> Record:
    """One published result; what they do not tell is null."""
    content = read_json(file)
    try:
        return _record(content, file.name)
    except (KeyError, TypeError, IndexError, ValueError) as missing:
        raise UserError(
            f"{file} is no result of PEFT's MetaMathQA comparison: it lacks {missing}"
        ) from None


def _record(content: dict[str, Any], file: str) -> Record:
    told, trained, meta = content["run_info"], content["train_info"], content["meta_info"]
    given = told["train_config"]
    shared = {key: value for key, value in given.items() if key not in OWN}
    setting = {"configuration": shared, "model": meta["model_info"], "data": meta["dataset_info"]}
    method, parameters = _method(told["peft_config"], given)
    fine = trained["status"] == "success"
    environment = _environment(meta, given)
    return {
        "id": run_id(told["experiment_name"], given["seed"], [setting, method, parameters]),
        "suite": SUITE,
        "setting": digest(setting),
        "fingerprints": {
            "model": meta["model_info"]["sha"],
            "tasks": {
                TARGET: meta["dataset_info"]["gsm8k"]["sha"],
                "metamath": meta["dataset_info"]["metamath"]["sha"],
            },
            "drift": None,
        },
        "recipe": told["experiment_name"],
        "method": method,
        "origin": f"peft {meta['package_info']['peft-version']}",
        "parameters": parameters,
        "seed": given["seed"],
        **ROW,
        "status": "ok" if fine else "failed",
        "reason": (
            None if fine else told["error_msg"] or f"published with status {trained['status']}"
        ),
        "log": None,
        "target": [TARGET],
        "retain": [],
        "split": "test",
        "budget": {"currency": "steps", "amount": float(given["max_steps"])},
        "batch": {"size": given["batch_size"], "max_length": given["max_seq_length"]},
        "train": (
            {"status": "ok", **_trained(trained), "environment": environment} if fine else None
        ),
        "evaluation": (
            {"status": "ok", **_evaluated(trained, given), "environment": environment}
            if fine
            else None
        ),
        "side_by_side": None,
        "finished_at": (
            (
                datetime.fromisoformat(told["created_at"]) + timedelta(seconds=told["total_time"])
            ).isoformat(timespec="seconds")
        ),
        "git": None,
        "imported": {
            "from": SOURCE,
            "file": file,
            "created_at": told["created_at"],
            "setting": setting,
            "notes": list(NOTES),
        },
    }


def _method(config: dict[str, Any] | None, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Its name, and all that was set for it; without a PEFT configuration all weights were trained."""
    optimizer = {"optimizer": given["optimizer_type"], **given["optimizer_kwargs"]}
    if prefix := given.get("init_kv_cache_prefix"):
        optimizer["init_kv_cache_prefix"] = prefix
    if config is None:
        return "full-finetuning", optimizer
    found = (
        {"rank_pattern"} if config["peft_type"] == "ADALORA" else set()
    )  # AdaLoRA writes the ranks that it came to in there
    own = {
        key: value
        for key, value in config.items()
        if value is not None and key not in {"peft_type", "peft_version", *found}
    }
    return config["peft_type"].lower().replace("_", "-"), {**optimizer, **own}


def _trained(trained: dict[str, Any]) -> dict[str, Any]:
    last = trained["metrics"][-1]
    steps = [window["train time"] for window in trained["metrics"] if "train time" in window]
    tokens, seconds = last.get("train total tokens"), sum(steps) if steps else None
    return {
        "seconds": {"load": None, "train": trained["train_time"], "save": None},
        "memory": {
            "baseline_bytes": None,
            "peak_bytes": trained["accelerator_memory_max"],
            "reserved_bytes": trained["accelerator_memory_max"],
            "kind": "reserved by torch",
        },
        "tokens_per_second": tokens / seconds if tokens and seconds else None,
        "parameters": {
            "trainable": trained.get("num_trainable_params"),
            "total": trained.get("num_total_params"),
        },
        "artifact_bytes": trained["file_size"],
        "ledger": {
            "spent": {
                "tokens": tokens,
                "flops": None,
                "seconds": seconds,
                "samples": last["train samples"],
                "steps": last["step"],
            },
            "by_purpose": {},
        },
        "loss": {"first": None, "last": last["train loss"]},
    }


def _evaluated(trained: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    last = trained["metrics"][-1]
    score = {
        "value": last["test accuracy"],
        "metric": "exact_match",
        "higher_is_better": True,
        "items": GSM8K_TEST_ITEMS,
    }
    return {
        "seconds": {"load": None, "evaluate": None, "drift": None},
        "memory": None,
        "scores": {TARGET: score},
        "earlier_scores": [],
        "drift": {"change": last["forgetting"]} if "forgetting" in last else None,
        "decode": None,
        "generation_config": given.get("generation_kwargs"),
        "parameters": {
            "trainable": trained.get("num_trainable_params"),
            "total": trained.get("num_total_params"),
        },
    }


def _environment(meta: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    packages = meta["package_info"]
    return {
        "libraries": {
            key.removesuffix("-version"): value
            for key, value in packages.items()
            if key.endswith("-version")
        },
        "commits": {
            key.removesuffix("-commit-hash"): v
            for key, v in packages.items()
            if key.endswith("-commit-hash") and v
        },
        "device": meta["system_info"]["accelerator"],
        "device_kind": "cuda" if meta["system_info"]["accelerator"].startswith("NVIDIA") else None,
        "dtype": given["dtype"],
    }
