"""A shopper without eyes finds the same buttons as one who sees."""

from __future__ import annotations

import pytest

from app.cli.pages import read_page

HTML = """<!doctype html><body><aside class="test bar">Test</aside>
<form method="post" action="x?scene=mobile"><input type="hidden" name="a" value="1&amp;2">
<input type="radio" name="provider" value="alipay">
<input type="radio" name="provider" value="wechatpay" checked>
<button>Pay</button></form>
<form method="post"><button name="action" value="approve">Yes</button>
<button name="action" value="decline" disabled>No</button></form>
<input name="stray" value="outside"><form action="/search"><input name="q"></form>
<i data-wallet-code="weixin://a?b=1&amp;c">code</i><i data-wallet-code="2">code</i></body>"""


def test_what_is_sent_and_what_can_be_chosen():
    first, second, third = read_page("http://h/C/t", HTML).forms
    assert (first.method, first.address) == ("POST", "http://h/C/x?scene=mobile")
    assert first.fields == {"a": "1&2", "provider": "wechatpay"}
    assert first.offers("provider", "alipay")
    assert first.offers("a", "1&2"), "a hidden field is sent as well"
    assert (second.address, second.offers("action", "approve")) == ("http://h/C/t", True)
    assert not second.offers("action", "decline"), "a disabled button cannot be pressed"
    assert (third.method, third.address, third.fields) == ("GET", "http://h/search", {"q": ""})


def test_the_form_that_offers_a_choice_is_found():
    page = read_page("http://h/C/t", HTML)
    assert page.form_offering("action", "approve") is page.forms[1]
    assert page.form_offering("action", "cancel") is None


def test_marks_and_classes():
    page = read_page("http://h/C/t", HTML)
    assert page.marks == {"data-wallet-code": "weixin://a?b=1&c"}
    assert {"test", "bar"} <= page.classes


@pytest.mark.parametrize(
    ("button", "adds"),
    [
        ("<button data-onward>Go</button>", {}),
        ('<button data-onward name="provider" value="alipay">Go</button>', {"provider": "alipay"}),
        ("<button>Go</button>", None),
        ("<button data-onward disabled>Go</button>", None),
    ],
)
def test_the_button_that_a_script_would_press(button, adds):
    page = read_page("http://h/C/t", f"<form></form><form>{button}</form>")
    assert page.forms[1].onward == adds
    assert (page.onward is page.forms[1]) is (adds is not None)


def test_what_the_main_part_says_is_read_line_by_line():
    page = read_page(
        "http://h/",
        "<p>bar</p><main><h1>Open in\n <b>WeChat</b></h1><svg><title>code</title></svg><p></p>"
        "<ol><li>Copy<li>Paste</li></ol><p>1 &lt; 2<script>x</script></p>loose</main><p>foot</p>",
    )
    assert page.words == ["Open in WeChat", "Copy", "Paste", "1 < 2"]


def test_a_broken_page_is_read_as_far_as_it_goes():
    page = read_page("http://h/", "<form><input name=a value=1><button name=b value=2")
    assert page.forms[0].fields == {"a": "1"}
