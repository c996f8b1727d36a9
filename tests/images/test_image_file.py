import pytest

from twlcli.errors import ImageError
from twlcli.images.image_file import MAX_BYTES, ByteRange, read_range


def test_read_part_gives_the_bytes_there(tmp_path):
    path = tmp_path / "s.tar"
    path.write_bytes(b"0123456789")
    assert read_range(path, ByteRange(offset=3, size=4, mtime_ns=0)) == b"3456"


def test_read_part_names_what_is_wrong(tmp_path):
    path = tmp_path / "s.tar"
    with pytest.raises(ImageError, match=r"no such file: s\.tar"):
        read_range(path, ByteRange(offset=3, size=4, mtime_ns=0))
    path.write_bytes(b"01234")
    with pytest.raises(ImageError, match=r"s\.tar became shorter while it was read"):
        read_range(path, ByteRange(offset=3, size=4, mtime_ns=0))
    with pytest.raises(ImageError, match="too large: 1,073,741,825 bytes"):
        read_range(path, ByteRange(offset=3, size=MAX_BYTES + 1, mtime_ns=0))
    with pytest.raises(ImageError, match="cannot be read"):
        read_range(tmp_path, ByteRange(offset=0, size=1, mtime_ns=0))
