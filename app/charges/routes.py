"""Through which account a charge is paid: as it was begun, else as the merchant's rules and health say.

Nothing is begun at a second account while the first try may still be paid: it goes on where it is, until
its provider says that it has ended, or that it never heard of a payment that nobody was shown how to make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import sqlalchemy as sa

from app import clock, queue
from app.charges import attempts
from app.charges.models import Attempt, Charge
from app.charges.states import AttemptState, move
from app.db import moment, reading, table_of, transaction
from app.errors import NotFound, ProviderUnreachable
from app.merchants import accounts, health, routing, routing_rules
from app.merchants.accounts import OpenAccount, Usable
from app.merchants.models import RoutingRule
from app.merchants.routing import Candidate, Payment, Rule, Standing
from app.providers.base import COUNTER
from app.queue import Kind

_attempts, _charges, _rules = table_of(Attempt), table_of(Charge), table_of(RoutingRule)

# Nothing where there is no rule, which spares asking for the charge.
_RULES = (
    sa.select(
        *_rules.c,
        _charges.c.amount_minor.label("of_amount_minor"),
        _charges.c.currency.label("of_currency"),
        _charges.c.store_id.label("of_store_id"),
    )
    .join(_charges, _charges.c.merchant_id == _rules.c.merchant_id)
    .where(
        _rules.c.merchant_id == sa.bindparam("of_merchant_id"),
        _rules.c.livemode == sa.bindparam("of_livemode"),
        _rules.c.provider == sa.bindparam("of_provider"),
        _rules.c.enabled.is_(True),
        _rules.c.ended_at.is_(None),
        _charges.c.id == sa.bindparam("charge_id"),
    )
    .order_by(_rules.c.position, _rules.c.id)
)
# Nobody was shown how to make this payment; whoever is told in this moment comes too late.
_NEVER_SHOWN = (
    sa.select(_attempts.c.id)
    .where(
        _attempts.c.merchant_id == sa.bindparam("of_merchant_id"),
        _attempts.c.id == sa.bindparam("attempt_id"),
        _attempts.c.next_step.is_(None),
    )
    .with_for_update()
)


def account_for(
    merchant_id: str, charge_id: str, provider: str, *, livemode: bool, known_to: str | None = None
) -> OpenAccount:
    """The account at this provider that the charge is to be paid through now.  Calls out where a try at a
    failing account may be ended.

    ``known_to`` is the account that has identified the payer, who is nobody at another.  A browser says so,
    so it is taken only where the charge may go.  Raises NotFound where there is none, or none that a strict
    rule allows.
    """
    usable = accounts.list_usable(merchant_id, provider, livemode=livemode)
    known = {each.id: each for each in usable}
    begun, over = _begun_at(merchant_id, charge_id, usable)
    if begun is not None:
        return accounts.open_usable(known[begun.account_id], begun.routing_rule_id)
    payment, rules = _asked(merchant_id, charge_id, provider, livemode=livemode)
    decision = routing.decide(payment, rules, _candidates(usable, over))
    rule_id = decision.rule.id if decision.rule else None
    if known_to is not None and known_to in decision.order and known_to not in over:
        return accounts.open_usable(known[known_to], rule_id)
    chosen = decision.chosen
    while chosen is not None and chosen not in over and _must_yield(known[chosen], usable):
        over[chosen] = Standing.LEFT
        chosen = routing.decide(payment, rules, _candidates(usable, over)).chosen
    if chosen is None:
        raise NotFound("this merchant has no such account")
    return accounts.open_usable(known[chosen], rule_id)


def _begun_at(
    merchant_id: str, charge_id: str, usable: Sequence[Usable]
) -> tuple[sa.Row[Any] | None, dict[str, Standing]]:
    """The attempt that must go on; else where one has ended now, which is no place for this shopper to try
    again."""
    over: dict[str, Standing] = {}
    if len(usable) < 2:
        return None, over
    known = {each.id: each for each in usable}
    others_work = any(each.standing is Standing.WELL for each in usable)
    for attempt in reversed(attempts.open_attempts(merchant_id, charge_id)):
        account = known.get(attempt.account_id)
        if account is None:  # another wallet, or disabled since: ``start_attempt`` ends that
            continue
        if account.standing is Standing.WELL or not others_work or not _is_ended(account, attempt):
            return attempt, {}
        over[account.id] = Standing.LEFT
    return None, over


def _is_ended(account: Usable, attempt: sa.Row[Any]) -> bool:
    """Whether a try at a failing account has come to its end: there, or because it never got there.

    An account that does not answer cannot tell, and is not asked: the shopper waits long enough as it is.
    """
    if attempt.scene == COUNTER or account.row.answers_since is None:
        return False
    with suppress(ProviderUnreachable):
        result = attempts.retire(attempt)
        if result.is_absent:
            _close_unseen(attempt)
    return bool(attempts.find_attempt(attempt.merchant_id, attempt.id).state != AttemptState.STARTED)


def _close_unseen(attempt: sa.Row[Any]) -> None:
    """End a try that its provider never heard of, unless somebody has just been shown how to pay it.

    Whoever is still on the line for it is refused when the answer is to be kept (``attempts.py``).
    """
    with transaction() as tx:
        mine = {"of_merchant_id": attempt.merchant_id, "attempt_id": attempt.id}
        if tx.execute(_NEVER_SHOWN, mine).first() is None:
            return
        moved = move(
            tx,
            _attempts,
            attempt.merchant_id,
            attempt.id,
            AttemptState.CLOSED,
            failure_code="never_arrived",
            finished_at=clock.now(),
        )
        if moved is not None:
            queue.drop(tx, attempt.merchant_id, (Kind.QUERY, attempt.id))


def _asked(merchant_id: str, charge_id: str, provider: str, *, livemode: bool) -> tuple[Payment, list[Rule]]:
    """What is to be paid, and the rules about it; without rules the amount says nothing."""
    mine = {
        "of_merchant_id": merchant_id,
        "of_livemode": livemode,
        "of_provider": provider,
        "charge_id": charge_id,
    }
    with reading() as connection:
        now = moment(connection)
        rows: list[sa.Row[Any]] = list(connection.execute(_RULES, mine))
    if not rows:
        return Payment(charge_id, 0, "", None, now), []
    first = rows[0]
    payment = Payment(charge_id, first.of_amount_minor, first.of_currency, first.of_store_id, now)
    return payment, [routing_rules.rule_of(row) for row in rows]


def _must_yield(chosen: Usable, usable: Sequence[Usable]) -> bool:
    """Whether another payment is trying this account now, and a third works in the meantime."""
    if chosen.standing is not Standing.DUE:
        return False
    if not any(each.standing is Standing.WELL for each in usable):
        return False
    return not health.take_probe(chosen.row.merchant_id, chosen.id, chosen.row.next_probe_at)


def _candidates(usable: Sequence[Usable], otherwise: Mapping[str, Standing]) -> list[Candidate]:
    return [Candidate(each.id, otherwise.get(each.id, each.standing)) for each in usable]
