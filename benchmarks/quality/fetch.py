"""Bring the picture sources into a cache folder: one npm package of pictures, one of names, one Debian font.

Everything goes through the ordinary clients (npm, apt-get) and lands under the cache folder, which git ignores.
"""

import shutil
import subprocess
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CACHE = ROOT / "output" / "base-data"
NPM_PACKAGES = {
    "pictures": "@lobehub/fluent-emoji-3d@1.1.0",  # 256 px RGBA WebP, MIT
    "names": "unicode-emoji-json@0.9.0",  # Unicode short names, MIT
}
FONT_PACKAGE = "fonts-noto-color-emoji"  # SIL OFL 1.1
FONT_PLACES = (
    "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf",  # Debian, Ubuntu
    "/usr/share/fonts/noto/NotoColorEmoji.ttf",  # Arch
    "/usr/share/fonts/google-noto-emoji/NotoColorEmoji.ttf",  # Fedora up to 35
    "/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf",
)


def npm_package(spec: str, folder: Path) -> Path:
    """Return the unpacked folder of an npm package, downloaded with `npm pack` the first time."""
    if (folder / "package" / "package.json").exists():
        return folder / "package"
    npm = shutil.which("npm")
    if npm is None:
        raise FileNotFoundError(f"{spec} is fetched with npm: install Node.js, or unpack it to {folder}.")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run([npm, "pack", "--silent", spec], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    for archive in folder.glob("*.tgz"):
        _unpack(archive, folder)
        archive.unlink()
    return folder / "package"


def emoji_font(cache: Path, font: Path | None = None) -> Path:
    """Return NotoColorEmoji.ttf: the file given, a system font, or the Debian package unpacked in the cache."""
    if font is not None:
        if not font.is_file():
            raise FileNotFoundError(f"--font: no file {font}. Give NotoColorEmoji.ttf (the version with bitmaps).")
        return font
    unpacked = cache / "font" / FONT_PLACES[0].lstrip("/")
    for place in (Path(p) for p in (*FONT_PLACES, unpacked)):
        if place.is_file():
            return place
    return _debian_font(cache / "font", unpacked)


def _debian_font(folder: Path, unpacked: Path) -> Path:
    if not (shutil.which("apt-get") and shutil.which("dpkg-deb")):
        raise FileNotFoundError("No NotoColorEmoji.ttf here: give one with --font (the version with bitmaps).")
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", FONT_PACKAGE], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    archive = max(folder.glob("*.deb"))
    subprocess.run(["dpkg-deb", "-x", str(archive), str(folder)], check=True)
    return unpacked


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
