"""A whole suite beside the same work by the commands of trl and lm_eval, one after the other, into
results/benchmarks. Both sides train, save, load and score the same on the whole machine.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import rows
import yaml
from setting import LR, RANK, SETTINGS, machine

RESULTS = Path(__file__).resolve().parents[2] / "results" / "benchmarks"
METHODS = ("sft", "lora")
ASKED, SEEDS = {"tiny": 200, "smollm2": 100}, {"tiny": 3, "smollm2": 1}
STEPS = {"tiny": 60, "smollm2": 30}
COMMANDS = Path(sys.executable).parent


def main() -> None:
    """Measure, and write suite_time.json and suite_time.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    asked = parser.parse_args().models
    file = RESULTS / "suite_time.json"
    measured: list[dict[str, Any]] = json.loads(file.read_text()) if file.is_file() else []
    measured = [one for one in measured if one["model"] not in asked]
    for model in asked:
        with tempfile.TemporaryDirectory() as place:
            measured.append(_compared(model, Path(place)))
        file.write_text(json.dumps(measured, indent=1) + "\n")
        (RESULTS / "suite_time.md").write_text(_table(measured))


def _compared(model: str, place: Path) -> dict[str, Any]:
    rows.write(model, place, ASKED[model])
    start = _saved(model, place / "start")
    train = place / "train"
    train.mkdir()
    pairs = (json.loads(line) for line in (place / "rows.jsonl").read_text().splitlines())
    lines = (json.dumps({"prompt": r["prompt"], "completion": r["chosen"]}) for r in pairs)
    (train / "train.jsonl").write_text("\n".join(lines) + "\n")
    harness = _seconds(_suite(model, place), place)
    commands = [_scoring(model, place, f"pretrained={start}")]
    for method in METHODS:
        for seed in range(SEEDS[model]):
            out = place / f"{method}-{seed}"
            commands.append(_training(model, method, seed, start, train, out))
            adapter = f"pretrained={start},peft={out}" if method == "lora" else f"pretrained={out}"
            commands.append(_scoring(model, place, adapter))
    others = sum(_seconds(command, place) for command in commands)
    return {
        "model": model,
        "trainings": len(METHODS) * SEEDS[model],
        "steps": STEPS[model],
        "harness": harness,
        "commands": others,
        "machine": machine(),
    }


def _seconds(command: list[str], folder: Path) -> float:
    began = time.perf_counter()
    done = subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-3000:]}")
    return time.perf_counter() - began


def _saved(model: str, folder: Path) -> Path:
    """The model in a folder, as the other commands take it."""
    import torch

    from bench.models.load import load_model, load_tokenizer
    from bench.models.spec import ModelSpec

    spec = ModelSpec(path=model)
    load_model(spec, torch.float32, torch.device("cpu")).save_pretrained(folder)
    load_tokenizer(spec).save_pretrained(folder)
    return folder


def _suite(model: str, place: Path) -> list[str]:
    setting = SETTINGS[model]
    data = {"path": "json", "data_files": {"train": "rows.jsonl"}, "prompt": "{prompt}"}
    suite = {
        "suite": "time",
        "model": model,
        "target": "rows",
        "budget": {"steps": STEPS[model]},
        "batch": {"size": setting.batch, "max_length": setting.max_length},
        "dtype": "float32",
        "seeds": SEEDS[model],
        "artifacts": "keep",
        "methods": [
            {"sft": {"lr": LR["sft"]}},
            {"lora": {"lr": LR["lora"], "r": RANK, "lora_alpha": 2 * RANK}},
        ],
        "tasks": {
            "rows": {
                "prompt-completion": {**data, "completion": "{chosen}"},
                "evaluate": "rows.yaml",
            }
        },
    }
    (place / "suite.yaml").write_text(yaml.safe_dump(suite))
    return [str(COMMANDS / "bench"), "run", "suite.yaml", "--quiet"]


def _training(model: str, method: str, seed: int, start: Path, train: Path, out: Path) -> list[str]:
    setting = SETTINGS[model]
    adapter = ["--use_peft", "--lora_r", RANK, "--lora_alpha", 2 * RANK]
    settings = [
        *("--model_name_or_path", start),
        *("--dataset_name", train),
        *("--output_dir", out),
        *("--max_steps", STEPS[model]),
        *("--per_device_train_batch_size", setting.batch),
        *("--max_length", setting.max_length),
        *("--learning_rate", LR[method]),
        *("--seed", seed),
        *("--bf16", "false"),
        *("--report_to", "none"),
        "--use_cpu",
        "--no_gradient_checkpointing",
        *([*adapter, "--lora_target_modules", "all-linear"] if method == "lora" else []),
    ]
    return [str(COMMANDS / "trl"), "sft", *map(str, settings)]


def _scoring(model: str, place: Path, given: str) -> list[str]:
    settings = [
        *("--model_args", f"{given},dtype=float32"),
        *("--tasks", "rows"),
        *("--include_path", place),
        *("--device", "cpu"),
        *("--batch_size", SETTINGS[model].batch),
    ]
    return [str(COMMANDS / "lm_eval"), "--model", "hf", *map(str, settings)]


def _table(measured: list[dict[str, Any]]) -> str:
    """As Markdown; every number comes from the measurements."""
    lines = [
        "# A whole suite",
        "",
        "`bench run` of a suite, beside `trl sft` and `lm_eval` for each of its runs, one after the"
        " other: the same steps on the same rows, saved, loaded and scored.",
        "",
        "| model | trainings | steps of each | bench run, s | trl and lm_eval, s | ratio |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for one in measured:
        ratio = one["commands"] / one["harness"]
        lines.append(
            f"| {one['model']} | {one['trainings']} | {one['steps']} | {one['harness']:,.0f} |"
            f" {one['commands']:,.0f} | {ratio:.1f} |"
        )
    machines = ", ".join(sorted({one["machine"] for one in measured}))
    return "\n".join([*lines, "", f"Machine: {machines}.", ""])


if __name__ == "__main__":
    main()
