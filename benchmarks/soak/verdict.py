"""Whether an input worked, ended in a sentence of ours, or failed."""

import traceback
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 1200  # letters of a sentence
TESTS = ("benchmarks", "tests")


def of(call: Callable[[], None], private: str = "") -> str:
    """ "worked", "sentence", or what is wrong with the error. private: a path that no sentence may show."""
    try:
        call()
    except (ValueError, OSError) as error:
        return fault(error, private) or "sentence"
    except Exception as error:
        return described(error)
    return "worked"


def fault(error: Exception, private: str) -> str:
    """A sentence is raised by a line of the pack itself, not too long, and shows no folder of the machine."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    place, said = Path(last.filename), str(error)
    ours = place.is_relative_to(ROOT) and place.relative_to(ROOT).parts[0] not in TESTS
    if not ours or "raise" not in (last.line or ""):  # int("x") in a line of ours is no sentence
        return described(error)
    if len(said) > LONGEST:
        return f"a sentence of {len(said)} letters: {said[:80]}"
    return f"shows a folder: {said[:200]}" if private and private in said else ""


def described(error: Exception) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: {str(error)[:120]}"
