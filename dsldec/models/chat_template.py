"""How is a prompt put into the model's chat template, in bounded time? A template is a program from the
model's folder.

The template runs in a separate process, which is stopped at the time limit. The process is reused for the
next prompt.

Not here: the variables of a template (`template_process`).
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import template_process

TIME_LIMIT = 10.0  # seconds for one prompt; a template takes milliseconds
START_LIMIT = 60.0


class TemplateFailedError(Exception):
    """The template gave no text. The message says why."""


def in_template(tokenizer: Any, messages: Sequence[Mapping[str, Any]]) -> str:
    """The text that the model continues. Raises `TemplateFailedError`, and the errors of a tokenizer with
    remote code.
    """
    from transformers import PreTrainedTokenizerBase

    # A tokenizer of another class is trusted code, and may need no template.
    if (
        type(tokenizer).apply_chat_template is not PreTrainedTokenizerBase.apply_chat_template
        or not sys.executable
    ):
        return str(tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False))
    special = {
        name: token if isinstance(token, list) else str(token)
        for name, token in tokenizer.special_tokens_map.items()
    }
    values = {
        "messages": messages,
        "tools": None,
        "documents": None,
        "add_generation_prompt": True,
        **special,
    }
    return _PROCESS.rendered(tokenizer.get_chat_template(), values)


class _Process:
    """The process that renders. It starts at the first prompt, and again after it was stopped."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[str] | None = None
        self._owner = 0  # after `fork`, the copy of this process must not use the pipes of the original
        self._lock = threading.Lock()

    def rendered(self, template: str, values: Mapping[str, Any]) -> str:
        line = json.dumps({"template": template, "values": values}, default=str)
        with self._lock:
            begun = time.monotonic()
            answer = self._request(line, TIME_LIMIT)
        if answer is None:
            late = time.monotonic() - begun >= TIME_LIMIT
            raise TemplateFailedError(
                f"it takes longer than {TIME_LIMIT:g} seconds"
                if late
                else "it stops the process that renders it"
            )
        if "error" in answer:
            raise TemplateFailedError(answer["error"])
        return str(answer["text"])

    def end(self) -> None:
        """Stop the process. The next rendering starts a new one."""
        running, self._running = self._running, None
        if running is not None and self._owner == os.getpid():
            running.kill()
            with suppress(OSError, ValueError):
                running.communicate()

    def _request(self, line: str, limit: float) -> dict[str, Any] | None:
        """The answer of the process. None where it gave none and was stopped."""
        if self._running is None or self._owner != os.getpid() or self._running.poll() is not None:
            self.end()
            self._start()
        running = self._running
        assert running is not None
        assert running.stdin is not None
        with suppress(OSError):
            running.stdin.write(f"{line}\n")
            running.stdin.flush()
            return self._line(limit)
        self.end()
        return None

    def _line(self, limit: float) -> dict[str, Any] | None:
        running = self._running
        assert running is not None
        assert running.stdout is not None
        late = threading.Timer(limit, running.kill)
        late.start()
        try:
            reply = running.stdout.readline()
        except BaseException:  # Ctrl-C: a late answer would be taken for the answer to the next prompt
            self.end()
            raise
        finally:
            late.cancel()
        try:
            answer: dict[str, Any] = json.loads(reply)
        except ValueError:
            self.end()
            return None
        return answer

    def _start(self) -> None:
        places = [
            str(Path(str(spec.origin)).parent.parent)
            for name in ("jinja2", "markupsafe")
            if (spec := importlib.util.find_spec(name))
        ]
        command = [sys.executable, "-I", "-S", str(Path(template_process.__file__)), *dict.fromkeys(places)]
        self._running = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
        )
        self._owner = os.getpid()
        if self._line(START_LIMIT) is None:
            raise TemplateFailedError("the process that would render it does not start")


_PROCESS = _Process()
atexit.register(_PROCESS.end)
