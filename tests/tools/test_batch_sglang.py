"""Which settings, policy and requests does `dsldec batch --engine sglang` give to the engines of SGLang?

The slow test runs Ray's own processor with an engine that answers with the prompt. Not here: the policy inside
an engine (`tests/engines/sglang`).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import dsldec
from dsldec.backends import noise
from dsldec.cli import main
from dsldec.options import DecodeOptions, LoadOptions
from dsldec.resources import embedded_model_folder, policy_file
from dsldec.tools import batch_sglang
from dsldec.tools.batch_pool import Reserved
from dsldec.tools.batch_worker import WorkerTask
from dsldec.tools.prompts import Prompt

ROOT = Path(__file__).parent.parent.parent


def task(
    load: LoadOptions | None = None, decode: DecodeOptions | None = None, **parameters: Any
) -> WorkerTask:
    values = dsldec.load("threshold", **parameters).parameters
    text = policy_file("threshold").read_text()
    return WorkerTask(
        text, "mine.policy", values, "SDAR", load or LoadOptions(), decode or DecodeOptions(), 8
    )


def test_the_text_of_the_policy_travels_with_the_parameters_that_are_set(tmp_path):
    file = batch_sglang.write_policy(
        task(LoadOptions(block_length=4), DecodeOptions(seed=3), confidence=0.8), tmp_path
    )
    config = json.loads(file.read_text())
    assert config == {
        "policy": policy_file("threshold").read_text(), "parameters": {"confidence": 0.8}, "seed": 3, "block_size": 4,
    }  # fmt: skip
    assert dsldec.load(config["policy"], **config["parameters"]).parameters["confidence"] == 0.8


def test_the_settings_of_an_engine():
    settings = batch_sglang.engine_settings(
        task(LoadOptions(dtype="bfloat16"), DecodeOptions(batch=16)), Reserved(1, 2), "policy.yaml"
    )
    assert settings == {
        "dllm_algorithm": "DslDec", "dllm_algorithm_config": "policy.yaml", "tp_size": 2, "max_running_requests": 16,
        "trust_remote_code": False, "dtype": "bfloat16",
    }  # fmt: skip


def test_a_request_has_the_options_of_its_prompt():
    prompt = Prompt(7, "q7", "What?", given={"gen_length": 16, "stop": "####"}, sample=1)
    row = batch_sglang.read_row(
        batch_sglang.request(3, prompt, DecodeOptions(seed=5, system="Be short."), raw=False)
    )
    assert row["place"] == 3
    assert row["messages"] == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "What?"},
    ]
    assert row["sampling_params"] == {
        "max_new_tokens": 16, "stop": ["####"], "sampling_seed": noise.key(5, 7, 1) & batch_sglang.LARGEST_SEED,
    }  # fmt: skip
    raw = batch_sglang.read_row(batch_sglang.request(3, prompt, DecodeOptions(), raw=True))
    assert raw["prompt"] == "What?"
    assert "messages" not in raw


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "`--engine sglang` needs `--model`"),
        (("--model", "SDAR", "--lookahead", "2"), "`--lookahead` has no meaning with `--engine sglang`"),
        (("--model", "SDAR", "--infill"), "`--infill` has no meaning"),
        (("--model", "SDAR", "--mask-id", "2"), "`--mask-id` has no meaning"),
        (("--model", "SDAR", "--trace", "t.jsonl"), "`--trace` has no meaning"),
        (("--model", "SDAR", "--gpus-per-worker", "0.5"), "takes whole GPUs"),
    ],
)
def test_what_an_engine_does_not_take_is_refused(arguments, says, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("What?\n")
    assert main(["batch", "--engine", "sglang", "--prompts", "p.txt", "--out", "o.jsonl", *arguments]) == 2
    err = capsys.readouterr().err
    assert "error[E0423]" in err
    assert says in err


@pytest.mark.parametrize(
    ("policy", "code"),
    [
        ("policy all():\n  window all\n  commit masked at least 1 by conf\n", "E0450"),
        ("policy three():\n  window blocks(3)\n  commit masked at least 1 by conf\n", "E0450"),
    ],
)
def test_a_policy_that_an_engine_cannot_run_is_refused_before_ray_starts(
    policy, code, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("What?\n")
    Path("mine.policy").write_text(policy)
    arguments = ["--engine", "sglang", "--model", "SDAR", "--block-length", "4", "--policy", "mine.policy"]
    assert main(["batch", "--prompts", "p.txt", "--out", "o.jsonl", *arguments]) == 2
    assert f"error[{code}]" in capsys.readouterr().err
    assert not Path("o.jsonl").exists()


def test_an_answer_without_a_token_is_an_error():
    found = {"place": 0, "text": "", "ids": [], "tokens": 0, "seconds": 0.1}
    error = batch_sglang._result(Prompt(0, "q", "What?"), found).error
    assert error is not None
    assert error.code == "E0410"


def test_a_least_length_is_a_parameter_of_the_engine():
    prompt = Prompt(0, "q", "What?", given={"min_length": 3})
    row = batch_sglang.read_row(batch_sglang.request(0, prompt, DecodeOptions(), raw=True))
    assert row["sampling_params"]["min_new_tokens"] == 3


ENGINE = """
import json, os

class Engine:
    def __init__(self, **settings):
        config = json.load(open(settings["dllm_algorithm_config"]))
        with open(os.environ["DSLDEC_TEST_ENGINES"], "a") as log:
            log.write(json.dumps({"settings": settings, "config": config}) + chr(10))

    async def async_generate(self, prompt, input_ids, sampling_params, stream):
        async def answers():
            ids = [int(one) for one in input_ids[: sampling_params["max_new_tokens"]]]
            about = {"finish_reason": {"type": "length"}, "prompt_tokens": len(input_ids), "completion_tokens": len(ids)}
            yield {"output_ids": ids, "text": "", "meta_info": about}
        return answers()

    def shutdown(self):
        pass
"""
PROGRAM = """
import sys
import ray
from dsldec.cli import main
ray.init(address="local", num_cpus=2, num_gpus=2, include_dashboard=False, object_store_memory=80 << 20, log_to_driver=False)
status = main(sys.argv[1:])
ray.shutdown()
sys.exit(status)
"""


@pytest.mark.slow
def test_rays_processor_gives_each_prompt_its_answer(tmp_path):
    pytest.importorskip("ray")
    (tmp_path / "sglang").mkdir()
    (tmp_path / "sglang" / "__init__.py").write_text(ENGINE)
    texts = [f"What is {14 + number}+18?" for number in range(6)]
    (tmp_path / "p.jsonl").write_text(
        "".join(json.dumps({"prompt": text, "id": text[8:10]}) + "\n" for text in texts)
    )
    command = ["batch", "--engine", "sglang", "--prompts", "p.jsonl", "--out", "o.jsonl", "--workers", "1"]
    command += ["--model", str(embedded_model_folder()), "--gen-length", "8", "--set", "confidence=0.8"]
    settings = {
        "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)]),
        "DSLDEC_TEST_ENGINES": str(tmp_path / "log"),
    }
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, *command],
        cwd=tmp_path,
        env=os.environ | settings,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    denoiser = dsldec.from_pretrained()
    lines = {line["id"]: line for line in map(json.loads, (tmp_path / "o.jsonl").read_text().splitlines())}
    assert {one["prompt"]: one["ids"] for one in lines.values()} == {
        text: denoiser.encode(text)[:8] for text in texts
    }
    assert {one["run"]["options"]["engine"] for one in lines.values()} == {"sglang"}
    (engine,) = map(json.loads, (tmp_path / "log").read_text().splitlines())
    assert engine["settings"]["dllm_algorithm"] == "DslDec"
    assert engine["config"]["parameters"] == {"confidence": 0.8}
