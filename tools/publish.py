"""Put the publisher's names in the place of OWNER and PUBLISHER, everywhere: `python tools/publish.py --owner NAME`.

Plain Python without the pack: who publishes needs no environment. `--check` only tells whether placeholders are left.
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FILES = (
    "pyproject.toml",
    "README.md",
    "README.zh-CN.md",
    ".github/workflows/publish.yml",
    ".github/ISSUE_TEMPLATE/bug.yml",
)
OWNER = re.compile(
    r"(?<=github\.com/)OWNER(?=/)|(?<=githubusercontent\.com/)OWNER(?=/)|(?<=repository_owner == ')OWNER(?=')"
)
PUBLISHER = re.compile(r'(?<=PublisherId = ")PUBLISHER(?=")')
GITHUB_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9]|-(?=[A-Za-z0-9])){0,38}")


def filled(text: str, owner: str, publisher: str) -> str:
    """The text with both names put in."""
    return PUBLISHER.sub(publisher, OWNER.sub(owner, text))


def left(root: Path = ROOT) -> list[str]:
    """Files in which a placeholder stands."""
    texts = {name: (root / name).read_text(encoding="utf-8") for name in FILES}
    return [name for name, text in texts.items() if OWNER.search(text) or PUBLISHER.search(text)]


def put_in(owner: str, publisher: str, root: Path = ROOT) -> list[str]:
    """Write the names into every file that has a placeholder."""
    for name in (owner, publisher):
        if not GITHUB_NAME.fullmatch(name):
            raise ValueError(f"publish: expected a name of letters, digits and single hyphens, got {name!r}.")
    changed = left(root)
    for name in changed:
        text = (root / name).read_text(encoding="utf-8")
        (root / name).write_text(filled(text, owner, publisher), encoding="utf-8", newline="\n")
    return changed


def main() -> int:
    parser = argparse.ArgumentParser(prog="tools/publish.py", description=__doc__.split("\n")[0])
    parser.add_argument("--owner", help="the GitHub account or organisation that holds the repository")
    parser.add_argument("--publisher", help="the id in the ComfyUI registry (default: the owner)")
    parser.add_argument("--check", action="store_true", help="fail while placeholders are left")
    args = parser.parse_args()
    if args.check:
        names = left()
        if names:
            print(f"Placeholders are left in {', '.join(names)}. Run: python tools/publish.py --owner NAME")
        return 1 if names else 0
    if not args.owner:
        parser.error("--owner NAME is needed")
    try:
        changed = put_in(args.owner, args.publisher or args.owner)
    except ValueError as error:
        parser.error(str(error))
    print(f"Changed: {', '.join(changed) or 'nothing; no placeholder was left'}.")
    print("Then: raise version in pyproject.toml, say in CHANGELOG.md what changed, and push. The workflow publishes.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
