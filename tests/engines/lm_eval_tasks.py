"""Tasks of lm-evaluation-harness on local files, for the tests of the model class."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from dsldec.models.tasks import Example
from dsldec.tools.evaluate import held_out

NUMBER = {"filter": [{"function": "regex", "regex_pattern": "#### (-?[0-9]+)"}, {"function": "take_first"}]}


def documents(count: int) -> list[dict[str, str]]:
    return [
        {"question": one.prompt, "answer": one.answer, "response": one.response}
        for one in held_out("word_problems", count)
    ]


def examples(count: int) -> list[Example]:
    return held_out("word_problems", count)


def saved_task(
    folder: Path,
    name: str,
    docs: Sequence[dict[str, Any]],
    generation: dict[str, Any] | None = None,
    **more: Any,
) -> Path:
    """Write a task and its data; returns the task's file. `more` replaces fields of the task."""
    data = folder / f"{name}.jsonl"
    data.write_text("".join(json.dumps(doc) + "\n" for doc in docs))
    task: dict[str, Any] = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "datasets")},
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 48} if generation is None else generation,
        "filter_list": [{"name": "number", **NUMBER}],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "metadata": {"version": 1.0},
    }
    task |= more
    file = folder / f"{name}.yaml"
    file.write_text(yaml.safe_dump({key: value for key, value in task.items() if value is not None}))
    return file


def evaluated(lm: Any, file: Path, **how: Any) -> dict[str, Any]:
    """The results of `lm_eval.simple_evaluate` on one task."""
    from lm_eval import simple_evaluate
    from lm_eval.tasks import TaskManager

    manager = TaskManager(include_path=str(file.parent), include_defaults=False)
    results: Any = simple_evaluate(
        model=lm, tasks=[file.stem], task_manager=manager, bootstrap_iters=0, **how
    )
    return dict(results)


def answers(results: dict[str, Any], task: str) -> list[str]:
    """The answer to each document, in the order of the documents."""
    samples = sorted(results["samples"][task], key=lambda one: one["doc_id"])
    return [one["resps"][0][0] for one in samples]
