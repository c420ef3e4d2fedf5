"""RULES.md: every rule is cited, every citation names a rule, and every value of a dialect is explained."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from nbext import exchange
from nbext.exchange import Dialect

HERE = Path(__file__).parent
PACKAGE = Path(exchange.__file__).parent
# As comments and docstrings have it, not as a parameter or a field with this name.
CITATION = re.compile(r"(?: \(|# )rule: ([a-z-]+(?:,\s+[a-z-]+)*)")
FIELDS = fields(Dialect)


def rules(part: str = "") -> dict[str, str]:
    """Return the text of each rule by its name, of one part of RULES.md or of all."""
    text = (PACKAGE / "RULES.md").read_text(encoding="utf-8")
    text = re.split(rf"^# .*{part}$", text, flags=re.MULTILINE)[-1] if part else text
    text = re.split(r"^# ", text, flags=re.MULTILINE)[0] if part else text
    return dict(zip(*[iter(re.split(r"^### (.*)$", text, flags=re.MULTILINE)[1:])] * 2, strict=True))


def cited() -> dict[str, set[str]]:
    """Return where each rule is cited: the files of the exchange and of its tests, and the fields of a dialect."""
    found: dict[str, set[str]] = {}
    for path in [*PACKAGE.parent.rglob("*.py"), *HERE.rglob("*.py")]:
        for names in CITATION.findall(path.read_text(encoding="utf-8")):
            for name in re.split(r",\s+", names):
                found.setdefault(name, set()).add(path.name)
    for field in FIELDS:
        found.setdefault(field.metadata["rule"], set()).add(field.name)
    return found


def test_every_cited_rule_exists() -> None:
    """What a comment, a docstring or a field cites is a heading of RULES.md."""
    assert {name: places for name, places in cited().items() if name not in rules()} == {}


def test_every_rule_is_cited() -> None:
    """Each rule is cited where it is carried out, or by a test of it."""
    assert rules().keys() - cited().keys() == set()


def test_every_rule_names_its_source() -> None:
    """Each rule names a document of the API, or says that the docs are silent."""
    assert [name for name, text in rules().items() if not re.search(r"\.md\b|docs are silent", text)] == []


def test_every_choice_of_a_dialect_is_explained() -> None:
    """The part about dialects has one rule for each field, no other, and names all of its values."""
    known = rules("Dialects")
    assert sorted(known) == sorted(field.metadata["rule"] for field in FIELDS)
    for field in FIELDS:
        missing = [value for value in field.metadata["values"] if f"`{value}`" not in known[field.metadata["rule"]]]
        assert not missing, field.name


def test_nothing_cites_a_text_that_is_not_here() -> None:
    """No comment or docstring of nbext or of the exchange's tests cites a numbered section."""
    numbered = re.compile(r"\b[Ss]ections? [0-9]|[#\"].*\(1?[0-9]\.[0-9][0-9]?\)|\b17 #[0-9]")
    sources = [*PACKAGE.parent.rglob("*.py"), *PACKAGE.rglob("*.md"), *HERE.rglob("*.py")]
    texts = {str(path): path.read_text(encoding="utf-8") for path in sources if path.name != "test_rules.py"}
    assert {name: found for name, text in texts.items() if (found := numbered.findall(text))} == {}


def test_every_field_of_a_dialect_is_tried() -> None:
    """A choice that no test here makes could make no difference, and nobody would notice."""
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    assert [field.name for field in FIELDS if not re.search(rf"\b{field.name}\b", tests)] == []
