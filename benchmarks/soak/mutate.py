"""How good input goes bad: bytes flipped, cut and swollen; JSON with other kinds and sizes in it; odd names and texts.

`rng` is a random.Random, or hypothesis' stand-in for one.
"""

import copy
import json

NUMBERS = (0, -1, 1, 7, 2**31, 2**63, 10**40, 1e308, -0.0, 0.5, float("nan"), float("inf"), -float("inf"))
LETTERS = ("a", "Z", "0", " ", "\0", "\n", "\r\n", "\t", "\u202e", "\u200b", "\ud800", "é", "字", "\U0001f3a8", "/")
LETTERS += ("\\", "..", "%", "{", '"', "'", ",", ";", "$", "^", "(a+)+", "*", "?", ":", "<", "|", "~", "con", "nul.txt")
LETTERS += (".safetensors",)


def text(rng, longest: int = 12) -> str:
    """A name or a line that no one should have typed."""
    found = "".join(rng.choice(LETTERS) for _ in range(rng.randint(0, longest)))
    return found * rng.choice((1, 1, 1, 1, 40, 400))


def bad_bytes(rng, data: bytes) -> bytes:
    """One to four injuries."""
    for _ in range(rng.randint(1, 4)):
        data = injured(rng, data)
    return data


def injured(rng, data: bytes) -> bytes:
    place, other = (rng.randint(0, max(len(data) - 1, 0)) for _ in range(2))
    first, last = min(place, other), max(place, other)
    kind = rng.randint(0, 7)
    if kind == 0:
        return data[:place]
    if kind == 1:
        return data[:place] + bytes([rng.randint(0, 255)]) + data[place + 1 :]
    if kind == 2:
        return data[:first] + bytes(last - first) + data[last:]
    if kind == 3:
        return data[:first] + data[last:]
    if kind == 4:
        return data[:place] + data[first:last][:10_000] * rng.randint(1, 20) + data[place:]
    if kind == 5:
        return data[:place] + text(rng).encode("utf-8", "surrogatepass") + data[place:]
    if kind == 6:
        return bytes(rng.randint(0, 255) for _ in range(rng.randint(0, 64)))
    return data[:place] + rng.choice((b"\xff", b"\xff\xfe", b"\0", b"\r\n", b"{", b"[", b'"')) * rng.randint(1, 9000)


def value(rng, depth: int = 0) -> object:
    """Any JSON value."""
    kind = rng.randint(0, 5 if depth < 3 else 3)
    if kind == 0:
        return rng.choice((None, True, False))
    if kind <= 2:
        return rng.choice(NUMBERS) if kind == 1 else text(rng)
    if kind == 3:
        return []
    if kind == 4:
        return [value(rng, depth + 1) for _ in range(rng.randint(0, 5))]
    return {text(rng, 3): value(rng, depth + 1) for _ in range(rng.randint(0, 5))}


def bad_json(rng, good: object) -> str:
    """The JSON of `good` with some of its values, keys and lengths changed; sometimes nested without end."""
    changed = copy.deepcopy(good)
    for _ in range(rng.randint(1, 3)):
        changed = altered(rng, changed)
    if rng.randint(0, 19) == 0:
        return rng.choice(("[", '{"a":')) * rng.choice((10, 100, 5000))
    return json.dumps(changed)


def altered(rng, found: object) -> object:
    """One place of a JSON value changed."""
    if isinstance(found, dict) and found and rng.randint(0, 4):
        key = rng.choice(sorted(found))
        kind = rng.randint(0, 4)
        if kind == 0:
            return {name: one for name, one in found.items() if name != key}
        if kind == 1:
            return {(text(rng) if name == key else name): one for name, one in found.items()}
        return {**found, key: altered(rng, found[key])}
    if isinstance(found, list) and found and rng.randint(0, 4):
        place = rng.randint(0, len(found) - 1)
        return [altered(rng, one) if i == place else one for i, one in enumerate(found)] * rng.choice((1, 1, 1, 50))
    return value(rng)
