"""Archives that claim what they do not hold."""

import io as bytes_io
import tarfile

import pytest

pytest.importorskip("comfy", reason="the embedded host is not installed here")
from fewstep.host.data import shards  # noqa: E402


def test_tars_whose_names_claim_gigabytes(tmp_path):
    info = tarfile.TarInfo("a")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 50 << 30
    nested = bytes_io.BytesIO()
    with tarfile.open(fileobj=nested, mode="w", format=tarfile.PAX_FORMAT) as tar:
        inner = tarfile.TarInfo("é.png")
        inner.pax_headers = {"comment": "x" * (2 << 20)}
        tar.addfile(inner, bytes_io.BytesIO(b""))
    for data in (info.tobuf() + bytes(1024), nested.getvalue(), info.tobuf()[:512] * 2000):
        (tmp_path / "s.tar").write_bytes(data)
        with pytest.raises(ValueError, match="s.tar is no whole, uncompressed tar"):
            list(shards.members_of(tmp_path / "s.tar"))
