"""Payment links: only what we signed, for exactly what we signed it for, opens."""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import ids
from app.errors import BadLink
from app.qr.links import (
    PREFIXES,
    SIGNATURE_CHARS,
    TOKEN_CHARS,
    LinkFacts,
    LinkSigner,
    Purpose,
    link_for,
    parse_token,
)

CAPITALS = ids.ALPHABET.upper()
OLD, NEW = "old key, thirty-two letters long.", "new key, thirty-two letters long."
SIGNER = LinkSigner([OLD, NEW], purpose="charge")
FACTS = LinkFacts("ch_01jd3w6j7hk8qz4v9x2b5n7m0t", "me_01jd3w0000k8qz4v9x2b5n7m0t", 1250, "CNY")

bodies = st.tuples(st.sampled_from("01234567"), st.text(alphabet=ids.ALPHABET, min_size=25, max_size=25)).map(
    "".join
)
facts_of_any_charge = st.builds(
    LinkFacts,
    charge_id=bodies.map("ch_{}".format),
    merchant_id=st.text(max_size=40),
    amount_minor=st.integers(-(10**12), 10**12),
    currency=st.text(max_size=5),
)


@given(facts=facts_of_any_charge)
def test_our_own_token_opens_in_any_letter_case(facts):
    token = SIGNER.token_for(facts)
    assert re.fullmatch(f"[{CAPITALS}]{{{TOKEN_CHARS}}}", token)
    for spelling in (token, token.lower(), token.swapcase(), token.title()):
        assert SIGNER.is_genuine(parse_token(spelling), facts)


@given(
    facts=facts_of_any_charge,
    position=st.integers(0, TOKEN_CHARS - 1),
    letter=st.sampled_from(CAPITALS + "ILOU-_ é"),
)
def test_any_flipped_character_of_a_token_is_refused(facts, position, letter):
    token = SIGNER.token_for(facts)
    flipped = token[:position] + letter + token[position + 1 :]
    if flipped == token:
        return
    try:
        parsed = parse_token(flipped)
    except BadLink:
        return
    assert not SIGNER.is_genuine(parsed, facts)
    assert not SIGNER.is_genuine(parsed, replace(facts, charge_id=parsed.charge_id))


@pytest.mark.parametrize("position", range(TOKEN_CHARS))
def test_every_single_bit_of_a_token_counts(position):
    token = SIGNER.token_for(FACTS)
    for bit in range(5):
        letter = CAPITALS[CAPITALS.index(token[position]) ^ 1 << bit]
        flipped = token[:position] + letter + token[position + 1 :]
        if flipped[0] > "7":  # longer than the 128 bits of an id
            with pytest.raises(BadLink):
                parse_token(flipped)
        else:
            assert not SIGNER.is_genuine(parse_token(flipped), FACTS)


@given(first=facts_of_any_charge, second=facts_of_any_charge)
def test_a_token_opens_nothing_but_its_own_facts(first, second):
    token = parse_token(SIGNER.token_for(first))
    assert SIGNER.is_genuine(token, second) == (first == second)
    assert SIGNER.is_genuine(token, replace(second, charge_id=first.charge_id)) == (
        first == replace(second, charge_id=first.charge_id)
    )


@pytest.mark.parametrize(
    "altered",
    [
        replace(FACTS, charge_id="ch_01jd3w6j7hk8qz4v9x2b5n7m0v"),
        replace(FACTS, merchant_id="me_01jd3w0000k8qz4v9x2b5n7m0v"),
        replace(FACTS, amount_minor=1),
        replace(FACTS, amount_minor=125_000),
        replace(FACTS, currency="JPY"),
    ],
)
def test_a_row_altered_after_the_link_was_issued_refuses_to_open(altered):
    token = parse_token(SIGNER.token_for(FACTS))
    assert SIGNER.is_genuine(token, FACTS)
    assert not SIGNER.is_genuine(token, altered)


@pytest.mark.parametrize(
    "shifted",
    [
        replace(FACTS, amount_minor=125, currency="0CNY"),
        replace(FACTS, merchant_id=FACTS.merchant_id + "1", amount_minor=250),
        replace(FACTS, merchant_id=FACTS.merchant_id + "4:1", amount_minor=250),
        replace(FACTS, merchant_id=FACTS.merchant_id + "4:12503:CNY", currency=""),
    ],
)
def test_moving_characters_between_fields_does_not_keep_the_signature(shifted):
    assert not SIGNER.is_genuine(parse_token(SIGNER.token_for(FACTS)), shifted)


def test_a_token_for_one_purpose_is_refused_by_the_other():
    body = FACTS.charge_id[3:]
    members = LinkSigner([OLD, NEW], purpose="member")
    facts_of_member = replace(FACTS, charge_id=f"mb_{body}")
    token = SIGNER.token_for(FACTS)
    assert token[: ids.BODY_CHARS] == members.token_for(facts_of_member)[: ids.BODY_CHARS]
    assert not members.is_genuine(parse_token(token, purpose="member"), facts_of_member)
    assert not members.is_genuine(parse_token(token), FACTS)


def test_the_newest_key_signs_and_all_listed_keys_verify():
    by_old, by_new = LinkSigner([OLD], purpose="charge"), LinkSigner([NEW], purpose="charge")
    assert SIGNER.token_for(FACTS) == by_new.token_for(FACTS) != by_old.token_for(FACTS)
    assert SIGNER.is_genuine(parse_token(by_old.token_for(FACTS)), FACTS)
    assert SIGNER.is_genuine(parse_token(by_new.token_for(FACTS)), FACTS)


def test_the_links_of_a_removed_key_are_refused():
    issued = parse_token(LinkSigner([OLD], purpose="charge").token_for(FACTS))
    assert not LinkSigner([NEW], purpose="charge").is_genuine(issued, FACTS)


@given(
    text=st.text(max_size=80)
    | st.text(alphabet=ids.ALPHABET + CAPITALS, min_size=50, max_size=54)
    | st.text(alphabet=CAPITALS + "ıſK０٣\n", min_size=52, max_size=52)
)
def test_parsing_raises_nothing_but_bad_link(text):
    try:
        token = parse_token(text)
    except BadLink:
        return
    assert ids.is_id(token.charge_id, "ch")
    assert len(text) == TOKEN_CHARS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * (TOKEN_CHARS - 1),
        "0" * (TOKEN_CHARS + 1),
        "0" * 1_000_000,
        "0" * (TOKEN_CHARS - 1) + "\n",
        "8" + "0" * (TOKEN_CHARS - 1),
        "0" * (TOKEN_CHARS - 1) + "O",
        "0" * (TOKEN_CHARS - 1) + "I",
        "0" * (TOKEN_CHARS - 1) + "L",
        "0" * (TOKEN_CHARS - 1) + "U",
        "0" * (TOKEN_CHARS - 1) + "ſ",
        "0" * (TOKEN_CHARS - 1) + "\N{KELVIN SIGN}",
        "0" * (TOKEN_CHARS - 1) + "\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_text_that_is_no_token_is_refused(text):
    with pytest.raises(BadLink):
        parse_token(text)


def test_the_signature_is_the_documented_hmac():
    """Known answer by the standard library alone: key derived by HMAC of the salt, first 130 bits."""
    derived = hmac.digest(NEW.encode(), b"mafu.link.charge", "sha256")
    fields = (FACTS.charge_id, FACTS.merchant_id, str(FACTS.amount_minor), FACTS.currency)
    message = "".join(f"{len(field)}:{field}" for field in fields)
    bits = "".join(f"{byte:08b}" for byte in hmac.new(derived, message.encode(), hashlib.sha256).digest())
    letters = [CAPITALS[int(bits[5 * i : 5 * i + 5], 2)] for i in range(SIGNATURE_CHARS)]
    assert SIGNER.token_for(FACTS) == FACTS.charge_id[3:].upper() + "".join(letters)


def test_a_signature_has_at_least_120_bits():
    assert 5 * SIGNATURE_CHARS >= 120


@pytest.mark.parametrize("keys", [[], [""], [NEW, ""], NEW])
def test_a_signer_without_proper_keys_is_not_built(keys):
    with pytest.raises(ValueError, match="keys"):
        LinkSigner(keys, purpose="charge")


def test_a_signer_for_an_unknown_purpose_is_not_built():
    with pytest.raises(ValueError, match="refund"):
        LinkSigner([NEW], purpose="refund")


@pytest.mark.parametrize("charge_id", ["", "ch_", "qr_01jd3w6j7hk8qz4v9x2b5n7m0t", FACTS.charge_id.upper()])
def test_only_an_id_of_the_purpose_gets_a_token(charge_id):
    with pytest.raises(ValueError, match="is not an id of a charge"):
        SIGNER.token_for(replace(FACTS, charge_id=charge_id))


def test_every_purpose_has_a_prefix_of_its_own():
    assert set(PREFIXES) == set(Purpose)
    assert len(set(PREFIXES.values())) == len(Purpose)


def test_neither_keys_nor_signatures_are_shown():
    token = SIGNER.token_for(FACTS)
    shown = repr(parse_token(token)) + repr(SIGNER)
    assert FACTS.charge_id in shown
    assert "signature" not in shown
    assert "key" not in shown


@pytest.mark.parametrize(
    ("base_url", "host_upper", "stem"),
    [
        ("https://pay.example.com", True, "https://PAY.EXAMPLE.COM/C/"),
        ("https://pay.example.com/", True, "https://PAY.EXAMPLE.COM/C/"),
        ("HTTPS://Pay.Example.com", True, "https://PAY.EXAMPLE.COM/C/"),
        ("http://192.168.1.20:8000", True, "http://192.168.1.20:8000/C/"),
        ("https://pay.example.com:8443/shop/", True, "https://PAY.EXAMPLE.COM:8443/SHOP/C/"),
        ("https://pay.example.com:8443/shop/", False, "https://pay.example.com:8443/shop/C/"),
        ("http://[::1]:5000", True, "http://[::1]:5000/C/"),
    ],
)
def test_a_link_is_written_as_scanners_like_it(base_url, host_upper, stem):
    token = SIGNER.token_for(FACTS)
    assert link_for(base_url, token, host_upper=host_upper) == stem + token


@pytest.mark.parametrize(
    "base_url",
    [
        "",
        "pay.example.com",
        "ftp://pay.example.com",
        "javascript:alert(1)//",
        "https://",
        "https://:8443",
        "https://user@pay.example.com",
        "https://:secret@pay.example.com",
        "https://pay.example.com/?a=1",
        "https://pay.example.com/#top",
        "https://straße.example",
    ],
)
def test_a_base_that_is_no_plain_web_address_is_refused(base_url):
    with pytest.raises(ValueError, match="web address"):
        link_for(base_url, SIGNER.token_for(FACTS))
