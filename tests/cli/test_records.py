"""What can be made from the shell is what the dashboard and the API would have made."""

from __future__ import annotations

import numpy as np
import pytest
import zxingcpp

from app.charges import lifecycle
from app.errors import NotAuthenticated
from app.merchants import keys, people, sessions
from app.webhooks import endpoints
from tests.cli.conftest import json_of
from tests.conftest import add_shop


def test_a_new_shop_can_sign_in_once_with_the_printed_link(run, house):
    made = json_of(run("merchant", "add", "晨光咖啡馆", "--email", "a@b.example", "--json"))
    path, _, token = made["sign_in_url"].rpartition("/")
    assert path == f"{house.extensions['mafu.runtime'].settings.origin}/sign-in"
    person = sessions.who_is(people.use_sign_in_link(token))
    assert (person.merchant_id, person.user_id, person.role) == (made["merchant"], made["user"], "owner")
    with pytest.raises(NotAuthenticated):
        people.use_sign_in_link(token)


def test_a_password_is_read_from_standard_input_and_not_from_the_command_line(run):
    words = ["merchant", "add", "Shop", "--email", "a@b.example", "--password-stdin", "--language", "en"]
    result = run(*words, input="correct horse battery\n")
    assert result.exit_code == 0
    assert "correct horse" not in result.output
    assert people.sign_in("a@b.example", "correct horse battery", address="x")


def test_a_refusal_is_one_line_and_exit_code_1(run):
    run("merchant", "add", "Shop", "--email", "a@b.example")
    result = run("merchant", "add", "Shop", "--email", "a@b.example")
    assert (result.exit_code, result.stderr) == (1, "Error: this e-mail address is taken\n")


def test_a_key_works_in_its_mode(run, house):
    shop = add_shop()
    made = json_of(run(f"key create --merchant {shop.id} --live --name till --json"))
    caller = keys.authenticate(made["key"])
    assert (caller.merchant_id, caller.key_id, caller.livemode) == (shop.id, made["id"], True)
    made = json_of(run(f"key create --merchant {shop.email} --name till --json"))
    assert keys.authenticate(made["key"]).livemode is False


def test_an_endpoint_hears_what_it_was_made_for(run, house):
    shop = add_shop()
    made = json_of(
        run("endpoint add https://shop.example/hook --event charge.paid --event refund.failed --json")
    )
    row = endpoints.find_endpoint(shop.id, made["id"], livemode=False)
    assert (row.url, row.event_types) == ("https://shop.example/hook", "charge.paid,refund.failed")
    assert made["secret"].startswith("whsec_")


def test_an_endpoint_inside_the_operators_network_is_refused(run, house):
    add_shop()
    result = run("endpoint add https://10.0.0.1/hook")
    assert result.exit_code == 1
    assert "must be an address on the public internet" in result.output


def test_a_charge_is_made_in_major_units(run, house):
    shop = add_shop()
    made = json_of(
        run("charge create --amount 12.5 --description 拿铁 --order-no A-1 --expires-in 300 --json")
    )
    row = lifecycle.find(shop.id, made["id"], livemode=False)
    assert (row.amount_minor, row.currency, row.description) == (1250, "CNY", "拿铁")
    assert (row.merchant_order_no, (row.expires_at - row.created_at).total_seconds()) == ("A-1", 300)


def test_the_code_in_the_terminal_says_the_link(run, house):
    add_shop()
    result = run("charge create --amount 12.50 --description Latte")
    code, _, facts = result.stdout.partition("charge ")
    link = next(line.split()[-1] for line in facts.splitlines() if line.startswith("link"))
    assert _decoded(code) == link


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--amount 12.505 --description x", "'12.505' is not a whole number of CNY minor units"),
        ("--amount twelve --description x", "'twelve' is not a decimal amount"),
        ("--amount 0 --description x", "an amount is 1 to"),
        ("--amount 1 --currency DOGE --description x", "'DOGE' is not a currency we can charge in"),
        ("--amount 1 --description x --merchant mch_none", "there is no merchant mch_none"),
        (
            "--amount 1 --description x --merchant no@one.example",
            "nobody has the e-mail address no@one.example",
        ),
    ],
)
def test_what_cannot_be_charged_is_said(run, house, words, said):
    add_shop()
    result = run(f"charge create {words}")
    assert result.exit_code == 1
    assert said in result.stderr


def test_the_shop_must_be_named_when_there_are_several(run, house):
    assert "there is none yet: flask merchant add" in run("key create --name x").stderr
    add_shop()
    assert run("key create --name x").exit_code == 0
    add_shop("other@shop.example")
    assert "there are several merchants: say --merchant" in run("key create --name x").stderr


def test_a_command_typed_wrongly_exits_2(run):
    assert run("charge create --amount").exit_code == 2
    assert run("merchant add").exit_code == 2


def _decoded(drawing: str) -> str:
    """What a camera reads off a dark terminal."""
    halves = {"█": (255, 255), "▀": (255, 0), "▄": (0, 255), " ": (0, 0)}
    rows = []
    for line in drawing.splitlines():
        if line.strip():
            rows += [[halves[char][half] for char in line] for half in (0, 1)]
    picture = np.kron(np.array(rows, dtype=np.uint8), np.ones((4, 4), dtype=np.uint8))
    [found] = zxingcpp.read_barcodes(picture)
    return found.text
