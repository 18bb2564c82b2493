"""Does each mistake in a pattern get its diagnostic, with the place and a correction?"""

from __future__ import annotations

from importlib.metadata import version

import pytest

from dsldec.diagnostics import UsageError
from dsldec.patterns import Pattern
from dsldec.patterns.byte_automaton import byte_automaton
from dsldec.patterns.regular import DEEPEST, LONGEST, located


@pytest.mark.parametrize(
    ("text", "code", "marked", "says"),
    [
        ("a(b", "E0490", "(", "write `)`, or `\\(`"),
        ("a)b", "E0490", ")", "write `\\)`"),
        ("x[ab", "E0490", "[", "write `]`, or `\\[`"),
        ("\ud800", "E0490", "\ud800", "no Unicode text"),
        ("a(?=b)", "E0491", "(?=", "write what the text may be"),
        ("a(?!b)", "E0491", "(?!", "look ahead or behind"),
        ("(?<=a)b", "E0491", "(?<=", "look ahead or behind"),
        ("(?<!a)b", "E0491", "(?<!", "look ahead or behind"),
        ("([ab])\\1", "E0491", "\\1", "backreferences"),
        ("(?P<n>a)(?P=n)", "E0491", "(?P=", "no such group"),
        ("(?>ab)", "E0491", "(?>", "write a group as `(?:...)`"),
        ("a^b", "E0491", "^", "only at the start"),
        ("(a$|b)", "E0491", "$", "only at the end"),
        ("\\bcat\\b", "E0491", "\\b", "the whole text must match"),
        ("a\\Bb", "E0491", "\\B", "word boundary"),
        ("(?x)a b", "E0491", "(?x)", "without the flag `x`"),
        ("a{20000}", "E0494", "{20000}", "at most 10,000 times"),
        ("a{1,99999999999999}", "E0494", "{1,99999999999999}", "at most 10,000 times"),
        ("(" * (DEEPEST + 1), "E0490", "(", "more than 100 deep"),
    ],
)
def test_a_mistake_is_marked(text: str, code: str, marked: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        Pattern.of(text)
    found = refused.value.diagnostic
    assert found.code == code
    assert found.span is not None
    assert found.span.text == marked
    assert says in str(found)


# Older ones give an automaton without a match; then preparing the pattern says so.
OF_TODAY = pytest.mark.skipif(
    tuple(map(int, version("outlines-core").split(".")[:3])) < (0, 2, 14), reason="by outlines-core 0.2.14"
)


@pytest.mark.parametrize(
    ("text", "marked", "says"),
    [
        ("*a", "*", "nothing to repeat"),
        ("[z-a]", "z", "bad character range"),
        ("a{3,1}", "3", "min repeat greater than max repeat"),
        ("a{,3}", None, "the library reads"),
        ("\\p{Foo}", "\\", "bad escape"),
        ("(?-u:\\xff)", ":", "the library reads"),
        pytest.param("x[a&&b]", None, "matches no character", marks=OF_TODAY),
    ],
)
def test_a_refusal_of_the_library_gets_a_place_where_python_knows_one(
    text: str, marked: str | None, says: str
) -> None:
    pattern = Pattern.of(text)
    with pytest.raises(UsageError) as refused:
        byte_automaton(pattern.regex)
    found = located(text, refused.value.diagnostic)
    assert found.code == "E0490"
    assert (found.span and found.span.text) == marked
    assert says in str(found)
    assert found.help


def test_a_text_that_is_too_long_is_refused() -> None:
    with pytest.raises(UsageError, match=r"E0494.*65,537 characters"):
        Pattern.of("a" * (LONGEST + 1))


@pytest.mark.parametrize(
    ("text", "regex"),
    [
        ("^a$", "a"),
        ("\\Aa\\z", "a"),
        ("^", ""),
        ("$", ""),
        ("a\\$", "a\\$"),
        ("[$^]", "[$^]"),
        ("[]^]", "[]^]"),
        ("[^]a]$", "[^]a]"),
        ("\\\\$", "\\\\"),
        ("[a[b$]]$", "[a[b$]]"),
        ("^a|b$", "a|b"),
        ("\\(\\)", "\\(\\)"),
        ("(?P<year>[0-9]{4})(?i:x)", "(?P<year>[0-9]{4})(?i:x)"),
    ],
)
def test_anchors_at_the_ends_are_taken_off(text: str, regex: str) -> None:
    assert Pattern.of(text).regex == regex


@pytest.mark.parametrize(
    "regex", ["(?:a|b)*a(?:a|b){40}", "((a{1000}){1000}){1000}", "[a-z]{1,900}x[a-z]{1,900}"]
)
def test_a_pattern_that_explodes_is_stopped(regex: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsldec.patterns.byte_automaton.TIME_LIMIT", 2.0)
    with pytest.raises(UsageError, match=r"E0494") as refused:
        byte_automaton(regex)
    assert "write a shorter pattern" in str(refused.value)


def test_without_the_library_a_message_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsldec.patterns.byte_automaton.importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"E0498.*outlines-core") as refused:
        byte_automaton("a")
    assert "`pip install 'outlines-core>=0.2.10,<0.3'`" in str(refused.value)


def test_a_value_of_another_kind_is_no_pattern() -> None:
    with pytest.raises(UsageError, match=r"E0499"):
        Pattern.of(3)
