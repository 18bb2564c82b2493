"""How is a chat template rendered in bounded memory? In this process: a template is a program from the
model's folder.

The file is run by its path, with the folders of jinja2 and markupsafe as arguments. It imports nothing else
outside Python's standard library. It reads one line of JSON per rendering and writes one line: `{"text":
...}` or `{"error": ...}`. Templates get the variables that transformers documents. They are rendered in
jinja2's sandbox, where values cannot be changed.

Not here: the time limit (`chat_template`).
"""

from __future__ import annotations

import json
import signal
import sys
from contextlib import suppress
from datetime import datetime
from typing import Any

MEMORY = 512 * 1024 * 1024  # bytes of address space
LONGEST = 10_000_000  # characters


def main() -> None:
    bound()
    environment, compiled = made(), dict[str, Any]()  # the template of the last rendering
    print("{}", flush=True)
    for line in sys.stdin:
        given = json.loads(line)
        try:
            if given["template"] not in compiled:
                compiled = {given["template"]: environment.from_string(given["template"])}
            answer = {"text": rendered(compiled[given["template"]], given["values"])}
        # A template may raise any error, RecursionError and MemoryError included.
        except MemoryError:
            answer = {"error": f"it needs more than {MEMORY // 1024**2} MB"}
        except Exception as error:
            why = (str(error).strip().splitlines() or [""])[0]
            answer = {"error": f"{type(error).__name__}: {why}"[:500]}
        print(json.dumps(answer), flush=True)


def rendered(template: Any, values: dict[str, Any]) -> str:
    parts, length = [], 0
    for part in template.generate(**values):
        length += len(part)
        if length > LONGEST:
            raise OverflowError(f"it writes more than {LONGEST:,} characters")
        parts.append(part)
    return "".join(parts)


def bound() -> None:
    """Set limits that hold for any template, where the system has them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    with suppress(ImportError):
        import resource

        for name, most in (("RLIMIT_AS", MEMORY), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)):
            with suppress(AttributeError, ValueError, OSError):
                resource.setrlimit(getattr(resource, name), (most, most))


def made() -> Any:
    """The jinja2 environment of chat templates (transformers' documentation, "Writing a chat template")."""
    import jinja2
    from jinja2 import nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """`{% generation %}` marks the model's text for training. Here only its body is rendered."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> list[nodes.Node]:
            next(parser.stream)
            body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return body

    def raise_exception(message: str) -> None:
        raise jinja2.TemplateError(message)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: Any = None,
        separators: Any = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals |= {
        "raise_exception": raise_exception,
        "strftime_now": lambda form: datetime.now().strftime(form),
    }
    return environment


if __name__ == "__main__":
    sys.path += sys.argv[1:]
    main()
