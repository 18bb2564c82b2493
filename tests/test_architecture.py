"""Does dsldec obey the laws: imports in one direction and without circles, no torch before the backends, one
place for each library and for reading files, no `match` that ignores a new class of the tree, no class or
function over its limit of lines?

Not here: what the files do. The laws are the constants below; the messages say what to do about a broken one.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

import dsldec

PACKAGE = Path(dsldec.__file__).parent

# From the command line down: a layer imports itself and what is below it. Neighbours on a line may import
# each other.
LAYERS = (
    ("__init__", "__main__"),  # the edge: everything is in reach, nothing inside asks for it
    ("cli",),
    ("tools",),
    ("engines",),
    ("runtime", "models"),
    ("trajectory",),
    ("explained",),
    ("policy", "packages"),
    ("backends",),
    ("parameter_values", "plan"),
    ("ir",),
    ("editors",),
    ("checks",),
    ("networks",),
    ("language",),
    ("calls",),
    ("synonyms",),
    ("trajectory_lines",),
    ("trace_step",),
    ("patterns",),
    ("instead", "library", "options"),
    ("fixes",),
    ("diagnostics", "codes"),
    ("spelling",),
    ("source", "files", "terminal"),
    ("resources", "lru", "renamed", "collector"),
)
LEVEL = {part: -depth for depth, parts in enumerate(LAYERS) for part in parts}

# The files of the command line, from the command down. Neighbours on a line may not import each other.
CLI_LAYERS = (
    ("__init__",),
    ("dispatch",),
    (
        "bench",
        "comparing",
        "decoding",
        "distributing",
        "editing",
        "evolving",
        "explaining",
        "exporting",
        "frontiers",
        "listing",
        "playing",
        "policies",
        "precompiling",
        "tuning",
        "viewing",
    ),  # the verbs
    ("evaluating",),
    ("flags",),
    ("arguments", "values"),
    ("hidden", "unknown"),
)
CLI_LEVEL = {file: -depth for depth, files in enumerate(CLI_LAYERS) for file in files}

MOST_LINES_OF_A_CLASS, MOST_LINES_OF_A_FUNCTION = 200, 50

HEAVY = {"torch", "transformers", "numpy", "safetensors", "tokenizers"}
LIGHT = set(
    "parameter_values plan ir editors checks networks language calls synonyms instead library options diagnostics codes fixes spelling source files "
    "terminal resources lru collector".split()
)  # no heavy import at all
LIGHT_TO_IMPORT = {"__init__", "__main__", "cli", "policy"}  # a heavy import only inside a function

MET_IN_ONE_PLACE = {
    "lark": {"language/grammar.py", "language/tables.py"},
    "argparse": {"cli/arguments.py", "models/train/__main__.py"},
    "outlines_core": {"patterns/dfa_process.py"},
    "lsprotocol": {"editors/language_server.py", "editors/protocol_types.py"},
    "pygls": {"editors/language_server.py"},
    "optuna": {"tools/tune/proposals.py"},
    "pygments": {"editors/pygments_lexer.py"},
}

# Who reads without `files`: files of our own (grammar, held-out prompts, what was built a moment ago), what
# stands inside an archive or behind the header of weights, lines of a process or of a results file that is
# owned already.
READS = frozenset(("read_text", "read_bytes", "loads"))
READ_THEIR_OWN = {
    "files.py", "language/grammar.py", "tools/evaluate.py", "tools/build.py", "tools/bench_compile.py", "tools/inside.py", "tools/batch_pool.py", "tools/batch_worker.py", "tools/results.py", "tools/model.py", "tools/viewing/page.py",
    "patterns/dfa_process.py", "backends/user_folder.py", "models/train/loop.py", "models/weights.py", "models/vocab_txt.py", "models/chat_template.py", "models/template_process.py",
    "backends/aot.py", "backends/engine_cache.py", "backends/manifest_reader.py", "backends/sealed.py",
    "backends/step_cache.py", "backends/step_form.py", "tools/playing/play_assets.py",
}  # fmt: skip


@dataclass(frozen=True)
class Import:
    """`file` (below the package) asks for `module`; `at_import` when that happens as soon as the file is
    imported.
    """

    file: str
    line: int
    module: str
    at_import: bool

    @property
    def importer(self) -> str:
        return self.file.split("/")[0].removesuffix(".py")

    @property
    def library(self) -> str:
        return self.module.split(".")[0]

    @property
    def imported(self) -> str | None:
        """The part of dsldec that is asked for, `__init__` for the package itself; None for a library."""
        return f"{self.module}.__init__".split(".")[1] if self.library == "dsldec" else None

    def __str__(self) -> str:
        return f"dsldec/{self.file}:{self.line} imports {self.module}"


def is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def import_statements(
    node: ast.AST, at_import: bool = True
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import below `node`, and whether importing the file runs it."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_import
        elif isinstance(child, ast.If) and is_type_checking(child.test):
            yield from import_statements(ast.Module(child.body, []), False)
            yield from import_statements(ast.Module(child.orelse, []), at_import)
        else:
            yield from import_statements(
                child, at_import and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            )


def modules_named(statement: ast.Import | ast.ImportFrom, package: Path, file: Path) -> list[str]:
    """The absolute names of the modules an import asks for; names taken from a package of dsldec count as its
    parts.
    """
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    here = ["dsldec", *file.relative_to(package).parent.parts]
    base = here[: len(here) - statement.level + 1] if statement.level else []
    module = ".".join([*base, *(statement.module or "").split(".")]).strip(".")
    library, *parts = module.split(".")
    folder = package.joinpath(*parts)
    if library != "dsldec" or not folder.is_dir():
        return [module]
    is_part = {path.stem for path in folder.iterdir()}.__contains__
    return list(
        dict.fromkeys(
            f"{module}.{alias.name}" if is_part(alias.name) else module for alias in statement.names
        )
    )


def imports_of(package: Path) -> list[Import]:
    return [
        Import(file.relative_to(package).as_posix(), statement.lineno, module, at_import)
        for file in sorted(package.rglob("*.py"))
        for statement, at_import in import_statements(ast.parse(file.read_text(encoding="utf-8")))
        for module in modules_named(statement, package, file)
    ]


def parts_without_layer(package: Path) -> list[str]:
    parts = sorted({file.relative_to(package).parts[0].removesuffix(".py") for file in package.rglob("*.py")})
    files = sorted(file.stem for file in package.glob("cli/*.py"))
    return [
        *(f"dsldec/{part} has no layer: give it one in LAYERS" for part in parts if part not in LEVEL),
        *(
            f"dsldec/cli/{file}.py has no layer: give it one in CLI_LAYERS"
            for file in files
            if file not in CLI_LEVEL
        ),
    ]


def upward_imports(package: Path) -> list[str]:
    return [
        f"{found}, which is above `{found.importer}`: move what both need below both, or hand it in as an argument"
        for found in imports_of(package)
        if found.imported is not None and LEVEL.get(found.imported, 0) > LEVEL.get(found.importer, 0)
    ]


def tangled_verbs(package: Path) -> list[str]:
    """Inside `cli` the files of verbs do not know each other, and what they share does not know them."""
    inside = [each for each in imports_of(package) if each.file.startswith("cli/") and each.imported == "cli"]
    return [
        f"{each}, which is not below it: move what both need below both"
        for each in inside
        if CLI_LEVEL.get(f"{each.module}.__init__".split(".")[2], 0) >= CLI_LEVEL.get(Path(each.file).stem, 0)
    ]


def heavy_imports(package: Path) -> list[str]:
    found = [each for each in imports_of(package) if each.library in HEAVY]
    never = [
        f"{each}: nothing before the backends may; move what needs it to `backends`"
        for each in found
        if each.importer in LIGHT
    ]
    later = [
        f"{each} as soon as it is imported: move the import into the function that needs it"
        for each in found
        if each.importer in LIGHT_TO_IMPORT and each.at_import
    ]
    return never + later


def early_backends(package: Path) -> list[str]:
    """A policy is loaded and checked without torch, so it may reach for the backends only when asked to
    compile.
    """
    return [
        f"{each} as soon as it is imported: move the import into the method that needs it"
        for each in imports_of(package)
        if each.importer == "policy" and each.imported == "backends" and each.at_import
    ]


def strayed_libraries(package: Path) -> list[str]:
    return [
        f"{each}: only {' and '.join(f'dsldec/{file}' for file in sorted(MET_IN_ONE_PLACE[each.library]))} may; ask there for what you need"
        for each in imports_of(package)
        if each.file not in MET_IN_ONE_PLACE.get(each.library, {each.file})
    ]


def stray_reads(package: Path) -> list[str]:
    """Calls of `json.loads`, `path.read_text` and `path.read_bytes`, which read whatever there is, and wait
    for it.
    """
    return [
        f"dsldec/{name}:{node.lineno} calls `{ast.unparse(node.func)}`: a file that a user names is read by `dsldec.files`, within bounds"
        for file in sorted(package.rglob("*.py"))
        if (name := file.relative_to(package).as_posix()) not in READ_THEIR_OWN
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in READS
    ]


def module_of(file: str) -> str:
    """The name of the module in a file: `dsldec.checks` for `checks/__init__.py`."""
    return ".".join(["dsldec", *file.removesuffix(".py").split("/")]).removesuffix(".__init__")


def circular_imports(package: Path) -> list[str]:
    """Circles of modules that import each other, in a function or for types alone included."""
    modules = {module_of(file.relative_to(package).as_posix()) for file in package.rglob("*.py")}
    imports: dict[str, dict[str, Import]] = {module: {} for module in modules}
    for each in imports_of(package):
        importer = module_of(each.file)
        known = [name for name in (each.module, each.module.rpartition(".")[0]) if name in modules]
        if known and known[0] != importer:
            imports[importer].setdefault(known[0], each)
    broken = []
    while (circle := first_circle(imports)) is not None:
        first, *others = [imports[one].pop(another) for one, another in pairwise(circle)]
        way = ", ".join(map(str, others))
        broken.append(f"{first} in a circle ({way}): move what both need to a module below both")
    return broken


def first_circle(imports: Mapping[str, Mapping[str, Import]]) -> list[str] | None:
    """The modules of one circle, the first one again at the end."""
    done: set[str] = set()

    def circle_from(module: str, way: list[str]) -> list[str] | None:
        if module in way:
            return [*way[way.index(module) :], module]
        if module not in done:
            for target in sorted(imports[module]):
                if (circle := circle_from(target, [*way, module])) is not None:
                    return circle
            done.add(module)
        return None

    return next((circle for module in sorted(imports) if (circle := circle_from(module, []))), None)


def open_matches(package: Path) -> list[str]:
    """A `match` over classes of the tree that ends without `assert_never`. It would ignore a new class, and
    mypy would not report it.
    """
    return [
        f"dsldec/{file.relative_to(package).as_posix()}:{node.lineno} matches classes of `syntax` and does not end in "
        "`case _: assert_never(...)`"
        for file in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Match)
        and any(
            isinstance(part, ast.MatchClass) and ast.unparse(part.cls).startswith("syntax.")
            for case in node.cases
            for part in ast.walk(case.pattern)
        )
        and not ast.unparse(node.cases[-1]).split(":", 1)[1].strip().startswith("assert_never(")
    ]


def long_parts(package: Path) -> list[str]:
    """Classes and functions above their limits of lines. The docstring of a function does not count."""
    return [
        f"dsldec/{file.relative_to(package).as_posix()}:{node.lineno} `{node.name}` has {lines} lines, above {most}: split it"
        for file in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        for most in [MOST_LINES_OF_A_CLASS if isinstance(node, ast.ClassDef) else MOST_LINES_OF_A_FUNCTION]
        if (lines := lines_of(node)) > most
    ]


def lines_of(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    lines, first = node.end_lineno - node.lineno + 1, node.body[0]
    if isinstance(node, ast.ClassDef) or ast.get_docstring(node) is None:
        return lines
    assert first.end_lineno is not None
    return lines - (first.end_lineno - first.lineno + 1)


LAWS = (
    parts_without_layer,
    upward_imports,
    tangled_verbs,
    heavy_imports,
    early_backends,
    strayed_libraries,
    stray_reads,
    circular_imports,
    open_matches,
    long_parts,
)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_dsldec_obeys(law):
    broken = law(PACKAGE)
    assert not broken, "\n" + "\n".join(broken)


@pytest.mark.parametrize(
    "statement", ["import dsldec, dsldec.cli", "import dsldec; dsldec.load('threshold')"]
)
def test_torch_is_not_loaded_by(statement):
    program = f"import sys; {statement}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    ran = subprocess.run([sys.executable, "-c", program], cwd=PACKAGE.parent, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert not ran.stdout.split(), (
        f"`{statement}` loads {ran.stdout}: `python -X importtime -c '{statement}'` shows on which way"
    )


# Each law can be broken: a file of dsldec with a bad import, and the start of what must be said about it.
BROKEN = [
    (
        upward_imports,
        "source.py",
        "from .diagnostics import Diagnostic",
        "dsldec/source.py:1 imports dsldec.diagnostics, which is above",
    ),
    (
        upward_imports,
        "checks/names.py",
        "from ..ir import nodes",
        "dsldec/checks/names.py:1 imports dsldec.ir",
    ),
    (upward_imports, "checks/names.py", "from .. import ir", "dsldec/checks/names.py:1 imports dsldec.ir"),
    (
        upward_imports,
        "ir/lower.py",
        "import dsldec.runtime.decode",
        "dsldec/ir/lower.py:1 imports dsldec.runtime.decode",
    ),
    (
        upward_imports,
        "ir/lower.py",
        "def lower():\n    from dsldec import tools",
        "dsldec/ir/lower.py:2 imports dsldec.tools",
    ),
    (
        upward_imports,
        "backends/a.py",
        "if TYPE_CHECKING:\n    from ..runtime import b",
        "dsldec/backends/a.py:2 imports dsldec.runtime",
    ),
    (
        upward_imports,
        "tools/run.py",
        "from dsldec import load",
        "dsldec/tools/run.py:1 imports dsldec, which is above `tools`",
    ),
    (upward_imports, "resources.py", "from . import source", "dsldec/resources.py:1 imports dsldec.source"),
    (
        tangled_verbs,
        "cli/decoding.py",
        "from . import bench",
        "dsldec/cli/decoding.py:1 imports dsldec.cli.bench, which is not below",
    ),
    (
        tangled_verbs,
        "cli/bench.py",
        "def f():\n    from .policies import check",
        "dsldec/cli/bench.py:2 imports dsldec.cli.policies",
    ),
    (
        tangled_verbs,
        "cli/values.py",
        "from .arguments import Parser",
        "dsldec/cli/values.py:1 imports dsldec.cli.arguments",
    ),
    (
        tangled_verbs,
        "cli/flags.py",
        "from . import main",
        "dsldec/cli/flags.py:1 imports dsldec.cli, which",
    ),
    (
        heavy_imports,
        "language/words.py",
        "def f():\n    import torch.nn",
        "dsldec/language/words.py:2 imports torch.nn: nothing before",
    ),
    (
        heavy_imports,
        "ir/nodes.py",
        "if TYPE_CHECKING:\n    from torch import Tensor",
        "dsldec/ir/nodes.py:2 imports torch: nothing before",
    ),
    (heavy_imports, "cli/values.py", "import numpy as np", "dsldec/cli/values.py:1 imports numpy as soon as"),
    (
        heavy_imports,
        "policy.py",
        "class Policy:\n    import transformers",
        "dsldec/policy.py:2 imports transformers as soon as",
    ),
    (
        early_backends,
        "policy.py",
        "try:\n    from .backends import module\nfinally:\n    pass",
        "dsldec/policy.py:2 imports dsldec.backends",
    ),
    (
        strayed_libraries,
        "language/fmt.py",
        "from lark import Tree",
        "dsldec/language/fmt.py:1 imports lark: only dsldec/language/grammar.py and",
    ),
    (
        strayed_libraries,
        "tools/run.py",
        "import argparse",
        "dsldec/tools/run.py:1 imports argparse: only dsldec/cli/arguments.py and",
    ),
    (
        strayed_libraries,
        "cli/bench.py",
        "import argparse",
        "dsldec/cli/bench.py:1 imports argparse: only dsldec/cli/arguments.py and",
    ),
    (
        stray_reads,
        "tools/run.py",
        "def f(path):\n    return path.read_text()",
        "dsldec/tools/run.py:2 calls `path.read_text`",
    ),
    (stray_reads, "policy.py", "import json\nx = json.loads('1')", "dsldec/policy.py:2 calls `json.loads`"),
    (
        open_matches,
        "ir/lower.py",
        "match statement:\n    case syntax.Let():\n        pass",
        "dsldec/ir/lower.py:1 matches classes of `syntax` and does not end in",
    ),
    (
        open_matches,
        "language/fmt.py",
        "match node:\n    case syntax.Let() | syntax.Set():\n        pass\n    case _:\n        pass",
        "dsldec/language/fmt.py:1 matches classes",
    ),
    (
        long_parts,
        "tools/run.py",
        'def f():\n    """Long."""\n' + "    x = 1\n" * 50,
        "dsldec/tools/run.py:1 `f` has 51 lines, above 50",
    ),
    (
        long_parts,
        "ir/lower.py",
        "class A:\n" + "    x = 1\n" * 200,
        "dsldec/ir/lower.py:1 `A` has 201 lines, above 200",
    ),
    (parts_without_layer, "helpers.py", "", "dsldec/helpers has no layer"),
    (parts_without_layer, "cli/helpers.py", "", "dsldec/cli/helpers.py has no layer"),
]
KEPT = [
    ("source.py", "import dataclasses"),
    ("files.py", "import json\nx = json.loads('1')"),
    ("cli/arguments.py", "import argparse\ndef main():\n    import torch\n    from ..tools import run"),
    ("cli/dispatch.py", "from ..tools import quoted\nfrom . import arguments, bench"),
    (
        "policy.py",
        "if TYPE_CHECKING:\n    from .backends import step\ndef compile():\n    from .backends import module",
    ),
    ("language/grammar.py", "import lark\nfrom .. import resources, diagnostics\nfrom . import syntax"),
    ("runtime/decode.py", "import torch\nfrom ..models.protocol import Denoiser"),
    ("checks/a.py", "match x:\n    case syntax.Let():\n        pass\n    case _:\n        assert_never(x)"),
    ("tools/run.py", "match word:\n    case 'a':\n        pass"),
    ("tools/run.py", 'def f():\n    """Fits,\n    with its docstring."""\n' + "    x = 1\n" * 49),
    ("tools/run.py", "class A:\n" + "    x = 1\n" * 199),
    (
        "__init__.py",
        "from . import cli\nfrom .policy import load\ndef __getattr__(name):\n    from .runtime.decode import decode",
    ),
]


def write(package: Path, file: str, text: str) -> Path:
    for part in ("cli", "ir", "tools", "runtime", "backends", "language"):
        (package / part).mkdir(parents=True, exist_ok=True)
    for part in ("diagnostics", "resources", "source"):
        (package / f"{part}.py").touch()
    for part in ("bench", "policies", "arguments"):
        (package / f"cli/{part}.py").touch()
    (package / file).parent.mkdir(exist_ok=True)
    (package / file).write_text(text)
    return package


@pytest.mark.parametrize(("law", "file", "text", "message"), BROKEN)
def test_a_broken_law_is_found(law, file, text, message, tmp_path):
    broken = law(write(tmp_path / "dsldec", file, text))
    assert len(broken) == 1
    assert broken[0].startswith(message)


CIRCLES = {
    "of two": {"checks/a.py": "from . import b", "checks/b.py": "from .a import A"},
    "for types alone": {
        "checks/a.py": "from .b import B",
        "checks/b.py": "if TYPE_CHECKING:\n    from .a import A",
    },
    "in a function": {"checks/a.py": "from .b import B", "checks/b.py": "def f():\n    from .a import A"},
    "of three": {
        "checks/a.py": "from .b import B",
        "checks/b.py": "from .c import C",
        "checks/c.py": "from .a import A",
    },
    "through the package": {"checks/__init__.py": "from .a import A", "checks/a.py": "from . import B"},
}


@pytest.mark.parametrize("circle", CIRCLES)
def test_a_circle_of_imports_is_found(circle, tmp_path):
    for file, text in CIRCLES[circle].items():
        write(tmp_path / "dsldec", file, text)
    broken = circular_imports(tmp_path / "dsldec")
    assert len(broken) == 1
    assert "imports dsldec.checks" in broken[0]


@pytest.mark.parametrize(("file", "text"), KEPT)
def test_a_kept_law_is_not_reported(file, text, tmp_path):
    package = write(tmp_path / "dsldec", file, text)
    assert [broken for law in LAWS for broken in law(package)] == []
