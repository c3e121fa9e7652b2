"""Image files and webdataset shards made on the spot."""

import io
import tarfile

from PIL import Image, ImageDraw


def picture(size, colour="red", kind="PNG") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, kind)
    return buffer.getvalue()


def shard(path, members: dict[str, bytes]):
    """A tar with these files; a name that ends in / is a folder, a `None` a link out of the archive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            if data is None:
                info.type, info.linkname = tarfile.SYMTYPE, "../../../etc/passwd"
            info.size = len(data or b"")
            tar.addfile(info, io.BytesIO(data or b""))
    return path


def drawn(shape: str, colour: tuple[int, int, int]) -> Image.Image:
    """Draw a disc or a square of one colour with an outline."""
    picture = Image.new("RGBA", (80, 80), (0, 0, 0, 0))
    getattr(ImageDraw.Draw(picture), shape)((4, 4, 76, 76), fill=(*colour, 255), outline=(0, 0, 0, 255), width=6)
    return picture
