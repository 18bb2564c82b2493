"""A chat template is a program from the model's authors. It gives the same text as in transformers, or an
error message.
"""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import transformers

from dsldec.cli import main
from dsldec.diagnostics import UsageError
from dsldec.models import chat_template
from dsldec.models.chat_template import TemplateFailedError, in_template
from dsldec.models.huggingface import from_pretrained

from . import tiny

CHATML = """{%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
LLAMA = """{{- bos_token }}
{%- set ns = namespace(first=true) %}
{%- for message in messages %}
    {%- if not (message['role'] == 'user') %}{% continue %}{% endif %}
    {%- set content = message['content'] | trim %}
    {%- if ns.first %}{{ '[INST] ' }}{% set ns.first = false %}{% endif %}
    {{- content + ' [/INST]' + eos_token }}
{%- endfor %}
"""
OTHERS = """{% macro say(m) %}{{ m.role|upper }}: {{ m.content }}{% endmacro %}
{% for m in messages %}
  {% generation %}{{ say(m) }}{% endgeneration %}
  {% if loop.index > 5 %}{% break %}{% endif %}
{% endfor %}
{{ messages | tojson(indent=2) }}
{{ tools is none }} {{ documents is none }} {{ strftime_now('%Y') | length }} {{ messages[0].nothing is defined }}
"""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> transformers.PreTrainedTokenizerFast:
    folder = tmp_path_factory.mktemp("tokenizer")
    tiny.tokenizer(folder)
    found: transformers.PreTrainedTokenizerFast = transformers.AutoTokenizer.from_pretrained(folder)
    found.bos_token = "<eos>"
    return found


@pytest.mark.parametrize(
    "template",
    [
        CHATML,
        LLAMA,
        OTHERS,
        {"default": CHATML, "tool_use": LLAMA},
        "w1 é 中 \U0001f600{{ messages[0]['content'] }}",
    ],
)
@pytest.mark.parametrize("text", ["How many?", " two\nlines \u2028 \U0001f600 'quoted' \"twice\" <b>&amp; "])
def test_the_text_is_that_of_transformers(
    text: str, template: str, tokenizer: transformers.PreTrainedTokenizerFast
) -> None:
    tokenizer.chat_template = template
    messages = [{"role": "user", "content": text}]
    assert in_template(tokenizer, messages) == tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=False
    )


def test_the_embedded_template_is_that_of_transformers() -> None:
    tokenizer = from_pretrained().tokenizer
    messages = [{"role": "user", "content": "Tom has 3 apples."}]
    assert in_template(tokenizer, messages) == tokenizer.apply_chat_template(
        messages, add_generation_prompt=True, tokenize=False
    )


@pytest.mark.parametrize(
    ("template", "says"),
    [
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "it takes longer than 0.5 seconds",
        ),
        ("{% for i in range(10**9) %}{% endfor %}", "OverflowError: Range too big"),
        ("{{ 'a' * 10**10 }}", "it needs more than 512 MB"),
        ("{{ '%999999999d' | format(1) }}", "it needs more than 512 MB"),
        (
            "{% set n = namespace(a='aa') %}{% for i in range(99) %}{% set n.a = n.a + n.a %}{% endfor %}",
            "it needs more than 512 MB",
        ),
        (
            "{% for i in range(99999) %}{{ 'a' * 1000 }}{% endfor %}",
            "it writes more than 10,000,000 characters",
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "RecursionError"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ messages.append(1) }}", "SecurityError"),
        ("{{ raise_exception('only a system may speak') }}", "TemplateError: only a system may speak"),
        ("{{ nobody.knows }}", "UndefinedError"),
        ("{% if %}", "TemplateSyntaxError"),
        ("{% include 'x' %}", "TypeError"),
    ],
)
def test_one_that_gives_no_text_is_ended_and_told(
    template: str, says: str, tokenizer: transformers.PreTrainedTokenizerFast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "TIME_LIMIT", 0.5 if "longer" in says else 30.0)
    begun = time.monotonic()
    tokenizer.chat_template = template
    with pytest.raises(TemplateFailedError, match=says):
        in_template(tokenizer, [{"role": "user", "content": "w1"}])
    assert time.monotonic() - begun < 60
    # And the next one is rendered.
    tokenizer.chat_template = "w3"
    monkeypatch.setattr(chat_template, "TIME_LIMIT", 30.0)
    assert in_template(tokenizer, []) == "w3"


def test_a_process_that_was_killed_is_started_again(tokenizer: transformers.PreTrainedTokenizerFast) -> None:
    tokenizer.chat_template = "w3"
    assert in_template(tokenizer, []) == "w3"
    running = chat_template._PROCESS._running
    assert running is not None
    running.kill()
    running.wait()
    assert in_template(tokenizer, []) == "w3"


def test_the_command_line_says_it_with_what_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tiny.saved(tmp_path, "llama", chat=True)
    (folder / "chat_template.jinja").write_text(
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    )
    monkeypatch.setattr(chat_template, "TIME_LIMIT", 0.5)
    given = ["run", "--model", str(folder), "--device", "cpu", "--no-live", "--gen-length", "2"]
    assert main([*given, "w1"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert (
        "error[E0409]: the chat template of the model's tokenizer fails: it takes longer than 0.5 seconds"
        in err
    )
    assert "`--raw`" in err
    assert main([*given, "--raw", "w1"]) == 0


@pytest.mark.filterwarnings("ignore")
def test_a_pattern_of_the_tokenizer_that_backtracks_for_ever_is_told(tmp_path: Path) -> None:
    from tokenizers import Regex, pre_tokenizers

    folder = tiny.saved(tmp_path, "llama")
    denoiser = from_pretrained(folder, device="cpu")
    denoiser.tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("(w+)+$"), "isolated")
    for encode, text in ((denoiser.encode, ""), (denoiser.encode_gaps, "[MASK] ")):
        with pytest.raises(UsageError, match="the model's tokenizer cannot read a prompt"):
            encode(f"{text}{'w' * 60}!")
