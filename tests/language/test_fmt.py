"""A policy's text has one layout: a second formatting changes nothing, and the tree and the comments stay."""

from __future__ import annotations

import time
from collections import Counter

import pytest

import dsldec
from dsldec.language.fmt import formatted, skeleton
from dsldec.language.limits import LARGEST_POLICY
from dsldec.language.parse import parse
from dsldec.language.scan import PieceKind, pieces
from dsldec.resources import policy_file, shipped_policies
from dsldec.source import Source

from .policies import policy_text


def fmt(text: str) -> str:
    result, diagnostics = formatted(Source(text))
    assert result is not None, "\n".join(map(str, diagnostics))
    assert diagnostics == []
    return result


def comments(text: str) -> Counter[str]:
    return Counter(piece.text.rstrip() for piece in pieces(text) if piece.kind is PieceKind.COMMENT)


def tree(text: str) -> object:
    return skeleton(parse(Source(text))[0])


@pytest.mark.parametrize("name", shipped_policies())
def test_shipped_policies_are_in_that_form(name: str) -> None:
    text = policy_file(name).read_text(encoding="utf-8")
    assert fmt(text) == text


@pytest.mark.parametrize("block", range(8))
def test_random_policies(block: int) -> None:
    for seed in range(block * 20, block * 20 + 20):
        text = policy_text(seed)
        once = fmt(text)
        assert fmt(once) == once, seed
        assert tree(once) == tree(text), seed
        assert comments(once) == comments(text), seed
        assert once.endswith("\n"), seed
        assert not once.endswith("\n\n"), seed
        assert "\n\n\n" not in once, seed
        assert all(line == line.rstrip() for line in once.split("\n") if "  c" not in line), seed


def test_random_policies_use_every_statement_and_operator() -> None:
    text = " ".join(policy_text(seed) for seed in range(160))
    found = Counter(piece.text for piece in pieces(text))
    words = "window draw logits state def set commit revoke edit fill next finish phase if not orelse each by as when visits true else"
    for piece in [*words.split(), *"+ - * / // % ** < <= == != > >= .. ,".split()]:
        assert found[piece] >= 20, piece


def test_skeletons_tell_trees_apart() -> None:
    values = [
        "a",
        "1",
        "1.0",
        "true",
        "a + b",
        "a - b",
        "f(a)",
        "f(a, b)",
        "f(b, a)",
        "f(a=b)",
        "a < b",
        "a < b < c",
        "(a < b) < c",
    ]
    assert len({tree(f"policy p():\n  x = {value}\n") for value in values}) == len(values)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("a+b*c", "a + b * c"),
        ("((a))", "a"),
        ("(a*b)+c", "a * b + c"),
        ("a-(b-c)", "a - (b - c)"),
        ("(a-b)-c", "a - b - c"),
        ("-(-x)", "--x"),
        ("(-x)**2", "(-x) ** 2"),
        ("2**(-x)", "2 ** -x"),
        ("2**(3**x)", "2 ** 3 ** x"),
        ("(2**3)**x", "(2 ** 3) ** x"),
        ("not(a)", "not a"),
        ("not(a and b)", "not (a and b)"),
        ("(a<b)<c", "(a < b) < c"),
        ("a<b<c", "a < b < c"),
        ("(a if b else c) if d else (e)", "(a if b else c) if d else e"),
        ("f( a,by = -b , c=1 , )", "f(a, by=-b, c=1)"),
        ("f (  )", "f()"),
        ("0.50+1e-3+007", "0.50 + 1e-3 + 007"),
        # brackets that say how `and` and `or` bind stay, though the tree does not need them
        ("(a and b) or c", "(a and b) or c"),
        ("a and b or c", "a and b or c"),
        ("(a or b) or c", "a or b or c"),
        ("(a < b) and (c + d > e)", "a < b and c + d > e"),
        # line breaks go where the line has room
        ("f(a,\n      b\n)", "f(a, b)"),
        ("(a and\n  b)", "a and b"),
    ],
)
def test_expressions(written: str, wanted: str) -> None:
    assert fmt(f"policy p():\n  x = {written}\n") == f"policy p():\n  x = {wanted}\n"


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("state  s:int  each=0 per  block", "state s: int each = 0 per block"),
        ("def near(m ,n,)=dilate(m,n)", "def near(m, n) = dilate(m, n)"),
        ("commit  a as b at  least 1 by(c)at most 2 by -d", "commit a as b at least 1 by c at most 2 by -d"),
        ("next a when(idle)", "next a when idle"),
        ("fill  #  why", "fill  #  why"),
    ],
)
def test_statements(written: str, wanted: str) -> None:
    assert fmt(f"policy p():\n {written}") == f"policy p():\n  {wanted}\n"


# Before and after, as a user sees it.
LAID_OUT = {
    "blank lines, comments and blocks": (
        """


# of the file

policy  p ( ) :   # of the header

      # of the description
      '''one
        two'''


      window all #no blank is put in


      # far
      #   and near

      x = 1

      # of the phase
      phase a at most (3 if x else 4) visits when (a if b else c) else b:

            fill
            # still in a
      # of b
      phase b:
            fill
            # at the end of b
      # at the end of p
# at the end
   # of the file""",
        """\
# of the file

policy p():  # of the header
  # of the description
  '''one
        two'''

  window all  #no blank is put in

  # far
  #   and near

  x = 1

  # of the phase
  phase a at most (3 if x else 4) visits when (a if b else c) else b:
    fill
    # still in a

  # of b
  phase b:
    fill
    # at the end of b
  # at the end of p
# at the end
# of the file
""",
    ),
    "comments in a branch": (
        """policy p():
    phase a:
        branch 3 as i: # of the branch
            # of x
            x = 1
              # in the branch
            # at its end
        # of pick
        pick by x
        # still in a
    # of b
    phase b:
        branch 3 as i:
            x = 1
            # in the branch
    # of c
    phase c:
        fill
""",
        """\
policy p():
  phase a:
    branch 3 as i:  # of the branch
      # of x
      x = 1
      # in the branch
      # at its end
    # of pick
    pick by x
    # still in a

  # of b
  phase b:
    branch 3 as i:
      x = 1
      # in the branch

  # of c
  phase c:
    fill
""",
    ),
    "parameters with comments": (
        """policy p(a: int=3 in 1 .. 5 ,  # one
 # two
     b : prob=0.50,c:real = - 2, # three
  ):
  fill
""",
        """\
policy p(
    a: int = 3 in 1..5,  # one
    # two
    b: prob = 0.50,
    c: real = -2):  # three
  fill
""",
    ),
    "a comment at both ends of a header": (
        """policy p(a: int = 1 # one
): # two
  fill
""",
        """\
policy p(
    a: int = 1,  # one
):  # two
  fill
""",
    ),
    "too many parameters for a line": (
        f"policy p({', '.join(f'parameter_{i}: int = 1' for i in range(6))}):\n  fill\n",
        "policy p(\n"
        + "".join(f"    parameter_{i}: int = 1,\n" for i in range(5))
        + "    parameter_5: int = 1):\n  fill\n",
    ),
    "few parameters on many lines": (
        "policy p(\n  a: int = 1,\n  b: int = 2,\n  ):\n  fill\n",
        "policy p(a: int = 1, b: int = 2):\n  fill\n",
    ),
    "comments in expressions": (
        """policy p():
  x = (a   # one
     and b and   # two
     # three
     (c or d)
     # four
     )
  y = f( a , # five
     by=( - conf ) , while = rank+1<2)
  def g(m, # six
        n) = m
""",
        """\
policy p():
  x = (
      a  # one
      and b  # two
      # three
      and (c or d)
      # four
  )
  y = f(
      a,  # five
      by=-conf,
      while=rank + 1 < 2,
  )
  # six
  def g(m, n) = m
""",
    ),
    "lines that are too long": (
        f"""policy p():
  x = ({"a" * 40} and {"b" * 40} and {"c" * 40})
  x = {"a" * 40} and {"b" * 40} and {"c" * 40}
  x = f({"a" * 40}, {"b" * 40}, by={"c" * 40})
""",
        f"""\
policy p():
  x = (
      {"a" * 40}
      and {"b" * 40}
      and {"c" * 40}
  )
  x = {"a" * 40} and {"b" * 40} and {"c" * 40}
  x = f(
      {"a" * 40},
      {"b" * 40},
      by={"c" * 40},
  )
""",
    ),
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_laid_out(name: str) -> None:
    written, wanted = (text.replace("'''", '"""') for text in LAID_OUT[name])
    assert fmt(written) == wanted
    assert fmt(wanted) == wanted


def test_windows_line_ends_and_marks() -> None:
    assert (
        fmt("policy  p():\r\n  fill # c\r\n\r\n\r\n  fill") == "policy p():\r\n  fill  # c\r\n\r\n  fill\r\n"
    )
    assert fmt("\ufeffpolicy p():\n  fill\n") == "policy p():\n  fill\n"


def test_a_text_with_mistakes_has_no_form() -> None:
    result, diagnostics = formatted(Source("policy p():\n  fil\n"))
    assert result is None
    assert [diagnostic.message for diagnostic in diagnostics] == ["`fil` is not a statement"]


@pytest.mark.parametrize(
    "text",
    [
        "policy p():\n  fill\n" + "  # c\n" * 40_000,
        "policy p(a: int = 1,\n" + "# c\n" * 25_000 + "b: int = 2):\n  fill\n",
        "policy p():\n  x = f(a,\n" + "#\n" * 25_000 + ")\n",
        "policy p():\n  x = " + "f(a,b\n#c\n," * 95 + "1" + ")" * 95 + "\n",
        "policy p():\n  x = " + "f(" * 90 + "a" * 200 + ")" * 90 + "\n",
        "policy p():\n  x = f(" + "a, " * 4_900 + ")\n",
        "policy p():\n" + "  x = 1  # c\n" * 3_000,
    ],
    ids=range(7),
)
def test_large_texts_are_laid_out_soon(text: str) -> None:
    began = time.process_time()
    once = fmt(text)
    assert time.process_time() - began < 10  # a second or two
    assert fmt(once) == once


def test_a_text_that_outgrows_the_limits_says_so() -> None:
    """Arguments on lines of their own end with one more comma. A text that would not be parsed again is not
    written.
    """
    commas = (LARGEST_POLICY - len("policy p ( ) : x = f ( - a )".split())) // 2
    source = Source("policy p():\n  x = f(-a " + ",a" * commas + "# c\n)\n")
    assert parse(source)[1] == []
    result, diagnostics = formatted(source)
    assert result is None
    assert [diagnostic.code for diagnostic in diagnostics] == ["E0108"]


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("draw gumbel(temperature=0.7)", "draw gumbel(0.7)"),
        ("draw nucleus(top_k=5, temperature=1, top_p=0.9)", "draw nucleus(1, 0.9, 5)"),
        ("draw nucleus(1, top_p=0.9)", "draw nucleus(1, 0.9)"),
        ("logits cfg(scale=1.5)", "logits cfg(1.5)"),
    ],
)
def test_what_could_stand_without_its_name_is_written_so(written: str, plain: str) -> None:
    text = "policy p():\n  window blocks({})\n  {}\n  commit masked and conf > 0.9 at least 1 by conf\n"
    (named, wrong), (short, also) = (
        dsldec.check(text.format(*one)) for one in (("n=32", written), ("32", plain))
    )
    assert wrong == also == []
    assert str(named.program) == str(short.program)
