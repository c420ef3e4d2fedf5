"""Which Pythons and which dependencies nbext works with: ``nox`` runs all of it, ``nox -l`` says what there is."""

import nox

nox.options.default_venv_backend = "venv"
nox.options.error_on_missing_interpreters = False  # what a machine does not have is said, and left out
nox.options.sessions = ["tests", "lowest", "newest", "lint"]

PINS = ("-c", "binder/requirements.txt")
TESTS = ("pytest", "-q", "-n", "2", "--ignore=tests/browser")


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def tests(session: nox.Session) -> None:
    """Run the tests with the pinned dependencies."""
    session.install(*PINS, ".[test]")
    session.run(*TESTS, *session.posargs)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """Run the tests with the oldest dependencies that pyproject.toml allows."""
    session.install("uv")
    session.run("uv", "pip", "install", "-q", "--resolution=lowest-direct", "--python", session.bin, ".[test]")
    session.run(*TESTS, *session.posargs)


@nox.session(python="3.13")
def newest(session: nox.Session) -> None:
    """Run the tests with the newest dependencies that there are."""
    session.install("--upgrade", ".[test]")
    session.run(*TESTS, *session.posargs)


@nox.session(python="3.11")
def lint(session: nox.Session) -> None:
    """Check style, types and who imports whom."""
    session.install(*PINS, ".[test,lint]")
    for command in ("ruff check .", "ruff format --check .", "mypy", "lint-imports --no-cache"):
        session.run(*command.split())


@nox.session(python="3.11")
def browser(session: nox.Session) -> None:
    """Drive JupyterLab and Notebook in Chromium, and keep pictures of what they showed."""
    session.install(*PINS, "-c", "tests/browser/requirements.txt", ".[test,browser]")
    session.run("pytest", "-q", "tests/browser", *session.posargs)
