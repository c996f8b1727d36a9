import base64
import hashlib
import json
import os
import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest
from PIL import Image

from tests.browser import acting, browse, needs_chromium
from twlcli.annotations.corrections import read_corrections
from twlcli.errors import TwlError
from twlcli.images.image_file import ByteRange, ImageFile
from twlcli.labels import Vocabulary
from twlcli.tagging.outputs.gallery.page import Gallery
from twlcli.tagging.outputs.output import RunFacts
from twlcli.tagging.tags import Tags

FACTS = RunFacts(Vocabulary(()), lambda: "digest")
HOSTILE = ('a"b', "<img src=x onerror=alert(1)>", "</script><b>", "&amp;", "line\nbreak", "日本")
NAMES = (
    os.fsdecode(b"caf\xe9.jpg"),
    "a\"b<i>&amp;'.jpg",
    "100%25 #1?.jpg",
    "line\nbreak.jpg",
    "back\\slash:日本.jpg",
)


def write(
    path: Path, rows: Iterable[Tags], *, title: str = "photos", part: ByteRange | None = None
):
    with Gallery(path, title).open(FACTS) as gallery:
        for row in rows:
            gallery.write(ImageFile(path.parent / row.image, row.image, byte_range=part), row)


def rows_of(path: Path) -> list[tuple[str, dict[str, float], str | None]]:
    """What the page holds, as (name, labels, address)."""
    blocks = re.findall(
        r'<script id="(rows|words)" type="application/json">(.*?)</script>',
        path.read_text("ascii", "replace"),
        re.DOTALL,
    )
    assert [name for name, _ in blocks] == ["rows", "words"]
    *rows, end = json.loads(blocks[0][1])
    words = json.loads(blocks[1][1])
    assert end is None
    return [
        (
            os.fsdecode(unquote_to_bytes(name)),
            {words["labels"][a]: b / 10_000 for a, b in zip(given[::2], given[1::2], strict=True)},
            words["folders"][place] + name if isinstance(place, int) else place,
        )
        for name, given, place, *_ in rows
    ]


def test_every_name_and_label_comes_back_with_its_address(tmp_path):
    path = tmp_path / "pages" / "out.html"
    path.parent.mkdir()
    with Gallery(path, "x").open(FACTS) as gallery:
        for name in NAMES:
            file = ImageFile(tmp_path / "in" / name, name)
            gallery.write(file, Tags(name, HOSTILE, (0.5,) * len(HOSTILE)))
    rows = rows_of(path)
    assert [name for name, _, _ in rows] == list(NAMES)
    for name, labels, address in rows:
        assert labels == dict.fromkeys(HOSTILE, 0.5)
        assert address is not None
        assert re.fullmatch(r"[A-Za-z0-9_.~/%-]+", address)
        target = path.parent / os.fsdecode(unquote_to_bytes(address))
        assert os.path.normpath(target) == str(tmp_path / "in" / name)


def test_names_that_are_not_the_end_of_the_path_have_whole_addresses(tmp_path):
    path = tmp_path / "out.html"
    with Gallery(path, "x").open(FACTS) as gallery:
        gallery.write(ImageFile(tmp_path / "a b.jpg", "other"), Tags("other", (), ()))
        gallery.write(ImageFile(tmp_path / "in" / "1.jpg", "in/1.jpg"), Tags("in/1.jpg", (), ()))
        gallery.write(
            ImageFile(tmp_path / "s.tar", "s.tar/1", byte_range=ByteRange(0, 1, 0)),
            Tags("s", (), ()),
        )
    assert [address for _, _, address in rows_of(path)] == ["a%20b.jpg", "in/1.jpg", None]


def test_the_page_loads_nothing_from_elsewhere(tmp_path):
    path = tmp_path / "out.html"
    write(path, [Tags("1.jpg", HOSTILE, (0.5,) * 6)], title="</title><script>alert(1)</script>")
    text = path.read_text("utf-8")
    assert not re.search(r"https?:|//\w+\.\w+", text)
    assert "default-src 'none'; " in text and "; img-src 'self' file:;" in text
    assert text.count("</script>") == 3
    for kind in ("style", "script"):
        content = re.search(rf"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1].encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in text


def test_a_stopped_run_leaves_a_partial_page(tmp_path):
    path = tmp_path / "out.html"
    with pytest.raises(KeyboardInterrupt), Gallery(path, "x").open(FACTS) as gallery:
        gallery.write(ImageFile(tmp_path / "1.jpg", "1.jpg"), Tags("1.jpg", (), ()))
        raise KeyboardInterrupt
    assert [each.name for each in tmp_path.iterdir()] == ["out.html.partial"]
    with pytest.raises(TwlError, match="cannot be written"):
        write(tmp_path / "gone" / "out.html", [])


# --- in a browser --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """A gallery of 200 images, of which the first five exist and have odd names."""
    folder = tmp_path_factory.mktemp("gallery")
    rows = [Tags(name, HOSTILE, (0.9, 0.8, 0.7, 0.6, 0.5, 0.4)) for name in NAMES]
    for name in NAMES:
        Image.new("RGB", (8, 8), "red").save(folder / name)
    for number in range(5, 200):
        probability = number / 200
        given = ("dog",) if number % 2 else ("cat", "dog") if number % 4 else ()
        chances = (0.99, probability) if len(given) == 2 else (probability,) * len(given)
        rows.append(Tags(f"{number:03}.jpg", given, chances))
    write(folder / "out.html", rows)
    return folder / "out.html"


@needs_chromium
def test_the_browser_shows_the_first_page(shelf):
    page = browse(shelf)
    assert page.texts["count"] == ["200 of 200 images"]
    assert page.texts["page"] == ["page 1 of 2"]
    assert len(page.files) == 120
    assert page.files[:2] == ["caf\ufffd.jpg", NAMES[1]]
    loaded = [unquote_to_bytes(image["src"] or "") for image in page.images[:5]]
    assert loaded == [os.fsencode(name) for name in NAMES]
    assert page.images[0]["alt"] == ", ".join(HOSTILE)
    shown = page.texts["tags"][0]
    assert [label in shown for label in HOSTILE] == [True] * 6
    assert "not shown by this browser" in page.texts["picture"][5]  # there is no such file


VIEWS: dict[str, list[str] | int] = {
    "": 200,
    "tag=dog&min=0.975": ["195.jpg", "197.jpg", "198.jpg", "199.jpg"],
    "tag=dog&tag=cat&min=0.95&sort=most": ["198.jpg", "194.jpg", "190.jpg"],
    "tag=dog&min=0.03&max=0.04&sort=least": ["006.jpg", "007.jpg"],
    "min=0.03&max=0.035": ["006.jpg", "007.jpg"],
    "untagged=1&name=19": ["192.jpg", "196.jpg"],
    f"tag={quote(HOSTILE[2])}&name={quote('#1?')}": [NAMES[2]],
    "page=99&tag=cat&sort=least&max=0.999&name=19": ["190.jpg", "194.jpg", "198.jpg"],
    "tag=unicorn": [],
    "min=x&max=&page=-3&sort=upwards": 200,
}


@needs_chromium
def test_the_browser_filters_and_sorts(shelf):
    script = f"""
    for (const fragment of {json.dumps(list(VIEWS))}) {{
      location.hash = fragment;
      dispatchEvent(new HashChangeEvent("hashchange"));
      const files = [...document.querySelectorAll(".file")].map((file) => file.textContent);
      const count = document.querySelector("#count").textContent;
      const view = JSON.stringify([count, files]);
      document.body.append(Object.assign(
        document.createElement("p"), {{ className: "view", textContent: view }}));
    }}
    """
    page = browse(acting(shelf, script))
    views = map(json.loads, page.texts["view"])
    for (fragment, expected), (count, files) in zip(VIEWS.items(), views, strict=True):
        number = expected if isinstance(expected, int) else len(expected)
        note = "; no image has the tag unicorn" if "unicorn" in fragment else ""
        assert count == f"{number} of 200 images{note}", fragment
        assert files == expected if isinstance(expected, list) else len(files) == 120, fragment


@needs_chromium
def test_an_address_keeps_a_view(shelf):
    page = browse(shelf, "tag=dog&min=0.975&sort=most")
    assert page.files == ["199.jpg", "198.jpg", "197.jpg", "195.jpg"]
    assert page.texts["count"] == ["4 of 200 images"]


@needs_chromium
def test_the_browser_follows_its_user(shelf):
    script = """
    const click = (selector) => document.querySelector(selector).click();
    const say = (text) => document.body.append(Object.assign(
      document.createElement("p"), { className: "said", textContent: text }));
    click("#next");
    say(location.hash + " " + document.querySelectorAll("#images > li").length);
    click("#reset");
    click("#images .tags button");
    say(location.hash + " " + document.querySelector("#count").textContent);
    click("#labels input:checked");
    const min = document.querySelector("#min");
    min.value = "0.95";
    min.dispatchEvent(new Event("input"));
    say(location.hash + " " + document.querySelector("#count").textContent);
    """
    page = browse(acting(shelf, script))
    assert page.texts["said"] == [
        "#page=2 80",
        "#tag=a%22b 5 of 200 images",
        "#min=0.95 54 of 200 images",
    ]


@pytest.mark.slow
@needs_chromium
def test_the_browser_opens_100_000_images(tmp_path):
    path = tmp_path / "out.html"
    write(path, (Tags(f"{n // 1000}/{n}.jpg", ("dog",), (n // 10 / 1e4,)) for n in range(100_000)))
    page = browse(path, "tag=dog&min=0.5&sort=most&page=2")
    assert page.texts["count"] == ["50,000 of 100,000 images"]
    assert page.files[0] == "99/99870.jpg"
    assert len(page.files) == 120


# --- corrections ---------------------------------------------------------------------------------

ACTING = """
const all = (selector, of = document) => [...of.querySelectorAll(selector)];
const one = (selector, of = document) => of.querySelector(selector);
const say = (value) => document.body.append(Object.assign(
  document.createElement("p"), { className: "said", textContent: JSON.stringify(value) }));
const press = (element, key, more) => element.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }));
const cards = () => all("#images > li");
const marked = (card) => all(".tags > li", card).map((li) => [li.dataset.label, li.dataset.mark]);
const add = (card, text) => {
  one(".add input", card).value = text;
  one(".add input", card).dispatchEvent(new Event("input"));
  one(".add", card).requestSubmit();
  return one(".add input", card).validationMessage;
};
"""


def said(path: Path, script: str, fragment: str = "") -> list[Any]:
    """What a script says that acts as the user of a page; nothing is wrong in the console."""
    page = browse(acting(path, ACTING + script), fragment)
    assert page.console == []
    return [json.loads(each) for each in page.texts.get("said", [])]


def saved(path: Path, table: str) -> list[tuple[str, str, int]]:
    """What `--corrections` reads of a table."""
    path.write_text(table, newline="")
    return [(each.image, each.label, each.value) for each in read_corrections(path)]


@pytest.fixture
def album(tmp_path: Path) -> Path:
    """Three images; the model knows labels that it gave to none."""
    rows = [
        Tags("a.jpg", ("dog", "cat"), (0.9, 0.6)),
        Tags("b/=1+1.jpg", ("cat",), (0.7,)),
        Tags("=c.jpg", (), ()),
    ]
    for row in rows:
        (tmp_path / row.image).parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(tmp_path / row.image)
    vocabulary = Vocabulary(("cat", "cow", "dog", "=Hen"))
    with Gallery(tmp_path / "out.html", "x").open(replace(FACTS, vocabulary=vocabulary)) as gallery:
        for row in rows:
            gallery.write(ImageFile(tmp_path / row.image, row.image), row)
    return tmp_path / "out.html"


@needs_chromium
def test_a_mouse_marks_tags_and_the_page_keeps_them(album, tmp_path):
    script = """
    const [first, second, third] = cards();
    say([one("#corrections").hidden, all(".marks").length, all(".add").length]);
    one(".correct", first).click();
    say([all(".marks").length, all(".add").length, one(".correct", first).textContent]);
    one("[data-label=dog] [data-verdict=present]", first).click();
    one("[data-label=cat] [data-verdict=absent]", first).click();
    one(".correct", third).click();
    say([add(third, "pony"), add(third, " COW "), add(third, "=Hen"), add(third, "cow")]);
    say([location.hash, ...cards().map(marked), one("#corrections b").textContent]);
    one("[data-label=cat] [data-verdict=absent]", first).click();
    one(".correct", first).click();
    say([all(".marks", first).length, marked(first), one(".sign", first).ariaLabel]);
    say(correctionsTable());
    """
    found = said(album, script)
    assert found[0] == [True, 0, 0]
    assert found[1] == [2, 1, "Done"]
    assert found[2] == ["The model has no such label", "", "", ""]
    third = [["cow", "present"], ["=Hen", "present"]]
    assert found[3] == [
        *("", [["dog", "present"], ["cat", "absent"]], [["cat", ""]]),
        *(third, "4 corrections"),
    ]
    assert found[4] == [0, [["dog", "present"], ["cat", ""]], "marked present"]
    assert saved(tmp_path / "corrections.csv", found[5]) == [
        ("a.jpg", "dog", 1),
        ("=c.jpg", "cow", 1),
        ("=c.jpg", "=Hen", 1),
    ]
    again = """
    say([cards().map(marked), one("#corrections b").textContent]);
    one("#images .added").click();
    say([all(".correcting").length, all(".correcting .marks").length]);
    window.confirm = () => true;
    one("#forget-corrections").click();
    say([one("#corrections").hidden, marked(cards()[0]), correctionsTable()]);
    """
    kept, opened, forgotten = said(album, again)
    assert kept == [[[["dog", "present"], ["cat", ""]], [["cat", ""]], third], "3 corrections"]
    assert opened == [1, 2]
    assert forgotten == [True, [["dog", ""], ["cat", ""]], "image,label,verdict\n"]


@needs_chromium
def test_keys_mark_the_tag_that_has_the_keyboard(album, tmp_path):
    script = """
    const tags = all("#images .tags button");
    tags.forEach((tag) => { tag.focus(); if (document.activeElement !== tag) say("no focus"); });
    press(tags[0], "y"); press(tags[1], "N"); press(tags[2], "u");
    press(tags[0], "n", { ctrlKey: true });
    say([location.hash, ...cards().map(marked), document.activeElement === tags[2]]);
    press(tags[2], "u");
    one("#correct").click();
    say([location.hash, all(".marks").length, all(".add").length, all(".correct:not([hidden])")]);
    const field = one(".add input", cards()[1]);
    field.focus();
    press(field, "y"); press(field, "n");
    say([cards().map(marked), all("#vocabulary option").map((each) => each.value)]);
    say(correctionsTable());
    one("#forget-corrections").focus();
    """
    found = said(album, script)
    assert found[0] == ["", [["dog", "present"], ["cat", "absent"]], [["cat", "unknown"]], [], True]
    assert found[1] == ["#correct=1", 3, 3, []]
    assert found[2] == [
        [[["dog", "present"], ["cat", "absent"]], [["cat", ""]], []],
        ["=Hen", "cat", "cow", "dog"],
    ]
    assert saved(tmp_path / "corrections.csv", found[3]) == [
        ("a.jpg", "dog", 1),
        ("a.jpg", "cat", 0),
    ]
    assert said(album, "say([all('.add').length, one('#correct').checked])", "correct=1") == [
        [3, True]
    ]


@needs_chromium
@pytest.mark.parametrize("kept", ["{", '[["no JSON", "present"]]', "7"])
def test_what_something_else_has_kept_does_no_harm(album, kept):
    said(album, f"localStorage.setItem(MARKS_KEY, {json.dumps(kept)});")
    script = """
    press(one("#images .tags button"), "y");
    say([cards().map(marked), one("#corrections b").textContent]);
    """
    assert said(album, script) == [
        [[[["dog", "present"], ["cat", ""]], [["cat", ""]], []], "1 correction"]
    ]


@needs_chromium
def test_corrections_name_images_and_labels_as_tables_do(shelf, tmp_path):
    """But for a name that is not UTF-8, of which the page says that it cannot."""
    script = """
    const odd = cards().slice(0, 5);
    for (const card of odd) {
      one(".correct", card).click();
      for (const each of all(".marks [data-verdict=absent]", card)) each.click();
      const tag = one(".tags button", card);
      press(tag, "n"); press(tag, "n");
    }
    say([all(".marks", odd[0]).length, one(".add", odd[0]).textContent, all("script").length]);
    say(correctionsTable());
    one("#forget-corrections").hidden = true;
    """
    (buttons, why, scripts), table = said(shelf, script)
    assert buttons == 0 and why.startswith("The name of this file is not UTF-8")
    assert scripts == 4  # the page's three and this one
    assert set(saved(tmp_path / "corrections.csv", table)) == {
        (name, label, 0) for name in NAMES[1:] for label in HOSTILE
    }


@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_window(shelf, width):
    frame = shelf.with_name("frame.html")
    script = """
    addEventListener("load", () => {
      const inside = document.querySelector("iframe").contentDocument;
      inside.querySelectorAll("#images .correct").forEach((each) => each.click());
      const { scrollWidth, clientWidth } = inside.documentElement;
      const parts = [...inside.querySelectorAll(".correcting, .correcting .marks, .add")];
      const isInside = parts.every((each) => each.getBoundingClientRect().right <= clientWidth);
      const text = `${clientWidth > 300} ${scrollWidth - clientWidth} ${isInside} ${parts.length}`;
      document.body.append(Object.assign(
        document.createElement("p"), { className: "said", textContent: text }));
    });
    """
    source = shelf.read_text("utf-8").replace("&", "&amp;").replace('"', "&quot;")
    frame.write_text(
        f'<meta charset="utf-8"><iframe width="{width}" height="900" srcdoc="{source}"></iframe>'
        f"<script>{script}</script>"
    )
    words = browse(frame).texts["said"][0].split()
    assert words[:3] == ["true", "0", "true"]
    assert int(words[3]) > 240
