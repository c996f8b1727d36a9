import pytest

from twlcli.annotations.encoding import find_encoding, read_text
from twlcli.errors import AnnotationError


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        ("\u72ac|\u308a\u3093\u3054", "cp932", "Shift-JIS"),  # dog, apple
        ("\u72ac|\u308a\u3093\u3054", "euc_jp", "EUC-JP"),
        ("\u5927\u718a\u732b", "gb18030", "GB18030"),  # panda
        ("\u5927\u8c93\u718a", "big5", "Big5"),
        ("\uace0\uc591\uc774", "cp949", "EUC-KR"),  # cat
        ("\u043a\u043e\u0442, \u0441\u043e\u0431\u0430\u043a\u0430", "cp1251", "Windows-1251"),
    ],
)
@pytest.mark.parametrize("before", [0, 2_000_000])
def test_text_of_another_script_is_named(tmp_path, text, encoding, name, before):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a.jpg,x\n" * (before // 8) + f"b.jpg,{text}\n".encode(encoding))
    for read in (find_encoding, read_text):
        with pytest.raises(AnnotationError) as caught:
            read(path)
        message = str(caught.value)
        assert message.startswith(f"{path}: is not UTF-8 and looks like ")
        assert message.endswith("; save it as UTF-8")
        assert name in message


@pytest.mark.parametrize(
    "text",
    [
        "caf\u00e9|dog",
        "\u00dcber",
        "\u00c4\u00d6\u00dc",
        "\u00e9t\u00e9|\u00e0 la cr\u00e8me",
        "\u201cdog\u201d \u2013 cr\u00e9\u00e9e",
        "S\u00e3o Jo\u00e3o",
        "sm\u00f8rrebr\u00f8d|\u00e6\u00f8",
        "\u0153uvre\u2026",
    ],
)
def test_western_text_is_read(tmp_path, text):
    path = tmp_path / "a.csv"
    path.write_bytes(f"image,labels\na.jpg,{text}\n".encode("cp1252"))
    assert find_encoding(path) == "cp1252"
    assert text in read_text(path)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("caf\u00e9|na\u00efve", "\u00e9"),
        ("\u72ac|\u308a\u3093\u3054|\u732b", "\u00e9"),
        ("\u043a\u043e\u0442|dog", "\u00fc"),
        ("\U0001f415", "\u00e9"),
    ],
)
@pytest.mark.parametrize("before", [0, 3 << 20])
def test_one_letter_that_is_not_utf8_does_not_change_all_others(tmp_path, text, letter, before):
    """All names were read as Windows-1252 then, and came out wrong."""
    path = tmp_path / "a.csv"
    lines = [b"image,labels", *[f"a.jpg,{text}".encode()] * (1 + before // 30)]
    path.write_bytes(b"\n".join([*lines, f"b{letter}.jpg,dog".encode("cp1252")]) + b"\n")
    byte = f"0x{letter.encode('cp1252').hex().upper()}"
    for read in (find_encoding, read_text):
        with pytest.raises(AnnotationError) as caught:
            read(path)
        assert str(caught.value) == (
            f"{path}:{len(lines) + 1}: the byte {byte} is not UTF-8, as other letters here are; "
            "save all as UTF-8"
        )


def test_western_text_may_be_utf8_by_chance(tmp_path):
    path = tmp_path / "a.csv"
    lines = ["\u201cCAF\u00c9\u201d", *["d\u00e9j\u00e0 vu|\u00fcber|sm\u00f8rrebr\u00f8d"] * 3]
    path.write_bytes("\n".join(lines).encode("cp1252"))
    assert find_encoding(path) == "cp1252"
    assert read_text(path) == "\n".join(lines)


@pytest.mark.parametrize("start", [b"PK\x03\x04\0\0", b"\xd0\xcf\x11\xe0\0\0"])
def test_spreadsheets_are_named(tmp_path, start):
    path = tmp_path / "a.xlsx"
    path.write_bytes(start)
    with pytest.raises(
        AnnotationError, match="is a spreadsheet, or another archive; save it as CSV"
    ):
        find_encoding(path)
