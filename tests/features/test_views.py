from twlcli.features.views import view
from twlcli.images.random_crop import RandomCrop
from twlcli.model.preprocessing import Preprocessing

FORM = Preprocessing(36, 32, interpolation="bicubic")


def test_the_first_view_is_what_the_model_sees():
    assert view(0, b"/a.jpg", FORM) is FORM


def test_others_are_crops_of_which_the_odd_ones_are_mirrored():
    views = [view(number, b"/a.jpg", FORM) for number in range(1, 5)]
    for each in views:
        assert isinstance(each, RandomCrop)
        assert (each.size, each.interpolation) == (32, "bicubic")
        left, top, right, bottom = each.box((400, 300))
        assert 0 <= left < right <= 400 and 0 <= top < bottom <= 300
        assert (right - left) * (bottom - top) >= 0.3 * 400 * 300
    assert [each.is_mirrored for each in views if isinstance(each, RandomCrop)] == [
        True,
        False,
        True,
        False,
    ]
    assert len({str(each) for each in views}) == 4


def test_a_view_is_the_same_whenever_it_is_asked_for():
    assert view(3, b"/a.jpg", FORM) == view(3, b"/a.jpg", FORM)
    assert view(3, b"/a.jpg", FORM) != view(3, b"/b.jpg", FORM)
