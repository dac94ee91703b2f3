"""Who acts in a story and what they do: shoppers, merchants, networks, the worker, strangers, bad luck.

``tell`` tells one story from its seed: some dozens of steps of anything at all, then the world calms down
and the accounts are made.  A step either goes on with something that is under way, or begins something.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial
from typing import Any

import sqlalchemy as sa

from app import queue, worker
from app.callbacks import inbox
from app.charges import attempts, counter, decisions, lifecycle, refunds, unclaimed
from app.charges.attempts import Payer
from app.charges.commands import NewCharge, NewRefund
from app.charges.counter import Till
from app.charges.decisions import Press
from app.db import moment, reading, transaction
from app.errors import SignatureMismatch, UnknownPayment
from app.http import Sent
from app.merchants import accounts
from app.money import Money
from app.providers.base import Inbound, NextStep, Scene
from app.queue import Job, Kind
from app.webhooks import delivery
from app.webhooks.delivery import Parcel, Result
from tests.far_side import Network, Trade, Way
from tests.providers import alipay_forge, unionpay_forge, wechatpay_forge
from tests.simulator import FATES, OTHER_APP_ID, OTHER_MCHID, Shop, Simulation, Stage
from tests.simulator_rules import Rules

STEPS = (40, 140)  # of a story before it calms down
TASKS_MAX = 4  # under way at once
DEATHS = 0.02  # of a process, at any step
WORKERS = ("worker 1", "worker 2")
SCENES = {
    "alipay": (Scene.DESKTOP, Scene.MOBILE, Scene.ALIPAY, Scene.APP),
    "wechatpay": (Scene.DESKTOP, Scene.MOBILE, Scene.WECHAT, Scene.APP),
    "unionpay": (Scene.DESKTOP, Scene.MOBILE, Scene.UNIONPAY, Scene.APP),
}
PAY_CODES = {"alipay": ("28", 14), "wechatpay": ("13", 16), "unionpay": ("62", 17)}
OWNERS = {  # what the networks call the two shops
    "alipay": (alipay_forge.APP_ID, OTHER_APP_ID),
    "wechatpay": (wechatpay_forge.MCHID, OTHER_MCHID),
    "unionpay": (unionpay_forge.MER_ID, unionpay_forge.STRANGER_ID),
}
LIVES_S = (60, 300, 7200)
SPANS_S = (1, 1, 4, 4, 7, 7, 30, 30, 70, 70, 400, 3600, 7300, 90_000)
STRAYS_MAX = 2
CHARGES_MAX = 3  # of a story: more of them would have less to do with each other
CALM_ROUNDS = 400


class Nothing(Enum):
    """What a deed returns that had no occasion."""

    TO_DO = auto()


@dataclass
class Letter:
    """A notification on its way to the door of an account; it comes again until it is accepted."""

    network: Network
    account_id: str
    inbound: Inbound
    about: str


@dataclass
class World:
    """One story as it goes on."""

    simulation: Simulation
    rules: Rules
    charges: list[tuple[Shop, str]] = field(default_factory=list)
    ways_to_pay: list[tuple[Network, NextStep]] = field(default_factory=list)
    letters: list[Letter] = field(default_factory=list)
    visited: list[tuple[Network, str]] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    strays: list[str] = field(default_factory=list)
    orders: int = 0

    def __post_init__(self) -> None:
        self.rng = self.simulation.rng
        self.stage = self.simulation.stage
        # Each story has a temper of its own: much of one thing and nothing of another finds more than
        # a little of everything.
        self.haste = self.rng.choice((0.4, 0.6, 0.75))  # to go on with what is under way
        tempers = [self.rng.choice((0, 1, 1, 1, 4)) for _ in self.deeds]
        self.weights = [w * (t or (w > _OFTEN)) for w, t in zip(self.deeds.values(), tempers, strict=True)]

    @property
    def deeds(self) -> dict[Callable[[Any], Nothing | None], int]:
        """What may be begun, and how often."""
        return _DEEDS

    def step(self) -> None:
        """Go on with something, kill a process, or begin something."""
        tasks, roll = self.simulation.tasks, self.rng.random()
        if tasks and (roll < self.haste or len(tasks) >= TASKS_MAX):
            # Often with what began last, so that things get done; each other one has its chance.
            self.simulation.go_on(tasks[-1] if self.rng.random() < 0.4 else self.rng.choice(tasks))
        elif tasks and roll < self.haste + DEATHS:
            self.simulation.kill(self.rng.choice(tasks).process)
        else:
            while self.rng.choices(list(self.deeds), self.weights)[0](self) is Nothing.TO_DO:
                pass

    # Shoppers

    def press_pay(self) -> Nothing | None:
        shop, charge_id = self._some_charge()
        code = self.rng.choice(list(SCENES))
        scene, payer_id = self.rng.choice(SCENES[code]), self.rng.choice(("openid-1", "openid-2"))

        def work() -> None:
            account = accounts.open_account(shop.accounts[code])
            payer = Payer(scene, "https://pay.example.com/C/x?back=1", "203.0.113.7", payer_id)
            started = attempts.start_attempt(charge_id, account, payer)
            self.ways_to_pay.append((self.simulation.networks[code], started.step))

        return self._begin("web", f"pay {self._name(charge_id)} by {code} in {scene}", work)

    def visit(self) -> Nothing | None:
        """The shopper follows what the checkout said, now or much later, once or again."""
        if not self.ways_to_pay:
            return Nothing.TO_DO
        at = self.rng.randrange(len(self.ways_to_pay))
        # A way is seldom gone twice.
        network, step = self.ways_to_pay[at] if self.rng.random() < 0.2 else self.ways_to_pay.pop(at)
        trade = network.visit(step)
        if (network, trade.out_trade_no) not in self.visited:
            self.visited.append((network, trade.out_trade_no))
        self._say(f"a shopper opens {self._name(trade.out_trade_no)} at {network.code}")
        return None

    def visit_and_pay(self) -> Nothing | None:
        return self.visit() or self.pay(short=0)

    def pay(self, short: int | None = None) -> Nothing | None:
        """The shopper confirms in the wallet; now and then the network takes another amount."""
        payable = [each for each in self.visited if each[0].is_payable(each[1])]
        if not payable:
            return Nothing.TO_DO
        network, number = self.rng.choice(payable[-3:])
        short = self.rng.choice((0, 0, 0, 0, 1)) if short is None else short
        price = network.trades[number].price
        return self._paid(network, network.pay(number, Money(price.minor + short, price.currency)))

    def pay_late(self) -> Nothing | None:
        """The network takes money for an order that has ended there."""
        over = [each for each in self.visited if each[0].is_over(each[1])]
        if not over:
            return Nothing.TO_DO
        network, number = self.rng.choice(over)
        return self._paid(network, network.pay(number, late=True))

    def pay_out_of_the_blue(self) -> Nothing | None:
        """Money that nobody asked for through us: it waits for a person."""
        if len(self.strays) >= STRAYS_MAX:
            return Nothing.TO_DO
        network, shop = self._some_network(), self.rng.choice(self.stage.shops)
        number = f"STRAY{self.simulation.seed:08d}{len(self.strays)}"
        self.strays.append(number)
        owner = OWNERS[network.code][self.stage.shops.index(shop)]
        return self._paid(
            network, network.take_stray(number, owner, Money(self.rng.choice((1, 99, 800)), "CNY"))
        )

    def scan_code(self) -> Nothing | None:
        """A cashier scans a shopper's code; now and then one that was scanned before."""
        shop, charge_id = self._some_charge()
        network = self.simulation.networks[self.rng.choice(tuple(PAY_CODES))]
        network.code_mood = self.rng.choice(("paid", "asked", "asked", "refused"))
        prefix, digits = PAY_CODES[network.code]
        code = f"{prefix}{self.rng.choice((0, self.rng.randrange(10**digits))):0{digits}d}"

        def work() -> None:
            attempt = counter.take_code(shop.merchant_id, charge_id, code, Till(), livemode=False)
            if (network, attempt.out_trade_no) not in self.visited and attempt.out_trade_no in network.trades:
                self.visited.append((network, attempt.out_trade_no))

        return self._begin(
            "web", f"scan a code of {network.code} ({network.code_mood}) for {self._name(charge_id)}", work
        )

    def give_up_code(self) -> Nothing | None:
        """The cashier cancels, mostly what a shopper was just asked for."""
        shop, charge_id = self._some_charge()
        work = partial(counter.give_up, shop.merchant_id, charge_id)
        return self._begin("web", f"give up a code for {self._name(charge_id)}", work)

    def decline(self) -> Nothing | None:
        """A card is refused; the shopper may try again."""
        unionpay = self.simulation.networks["unionpay"]
        payable = [n for network, n in self.visited if network is unionpay and unionpay.is_payable(n)]
        if not payable:
            return Nothing.TO_DO
        number = self.rng.choice(payable)
        unionpay.decline(number)
        return self._say(f"a card is refused for {self._name(number)}")

    def wait(self) -> Nothing | None:
        """The page polls; a paid attempt is found without any callback."""
        shop, charge_id = self._some_charge()
        return self._begin(
            "web",
            f"shopper waits for {self._name(charge_id)}",
            partial(attempts.ask_if_due, shop.merchant_id, charge_id),
        )

    # The merchant

    def create(self) -> Nothing | None:
        if len(self.charges) >= CHARGES_MAX:
            return Nothing.TO_DO
        shop = self.rng.choice((self.stage.shops[0], self.stage.shops[0], self.stage.shops[1]))
        amount, life_s = self.rng.choice((1, 99, 1250)), self.rng.choice(LIVES_S)
        if self.rng.random() < 0.3:
            return self._create_by_api(shop, amount, life_s)

        def work() -> None:
            new = NewCharge(Money(amount, "CNY"), "一杯拿铁", expires_in_s=life_s)
            charge = lifecycle.open_charge(shop.merchant_id, livemode=False, new=new)
            self.charges.append((shop, charge.id))

        return self._begin("web", f"{shop.name} charges {amount} for {life_s} s", work)

    def _create_by_api(self, shop: Shop, amount: int, life_s: int) -> None:
        """I-27, I-28, I-30: the same request, two at once, gets one answer, also when processes die."""
        self.orders += 1
        order = f"order-{self.orders}"
        wish = {"amount": amount, "currency": "cny", "description": "面", "expires_in_s": life_s}
        headers = {"Authorization": f"Bearer {shop.api_key}", "Idempotency-Key": order}
        answers: set[bytes] = set()

        def work() -> None:
            client = self.stage.app.test_client()
            answer = client.post("/v1/charges", json=wish, headers=headers)
            assert answer.status_code == 201, answer.text
            answers.add(answer.data)
            assert len(answers) == 1, "I-27: the same request has two answers"
            made = (shop, json.loads(answer.data)["id"])
            if made not in self.charges:
                self.charges.append(made)
            other = client.post("/v1/charges", json=wish | {"amount": amount + 1}, headers=headers)
            assert other.status_code == 422, "I-28: another request under the same key"

        for which in ("first", "again"):
            self._begin("web", f"{shop.name} charges {amount} as {order}, {which}", work)

    def cancel(self) -> Nothing | None:
        shop, charge_id = self._some_charge()
        return self._begin(
            "web",
            f"cancel {self._name(charge_id)}",
            partial(lifecycle.cancel_charge, shop.merchant_id, charge_id),
        )

    def refund(self) -> Nothing | None:
        """In full or in part; more than is left is refused, as is what nobody has paid."""
        if not self.charges:
            return Nothing.TO_DO
        shop, charge_id = self._some_charge()
        amount = self.rng.choice((None, None, 1, 1, 50, 700))

        def work() -> None:
            with transaction() as tx:
                refunds.create_refund(tx, shop.merchant_id, NewRefund(charge_id, amount, "不想要了"))

        return self._begin("web", f"refund {amount or 'all'} of {self._name(charge_id)}", work)

    def decide(self) -> Nothing | None:
        """A person, or two at once, decides about money that waits."""
        shop = self.rng.choice(self.stage.shops)
        items, _ = unclaimed.list_unclaimed(shop.merchant_id, livemode=False)
        if not items:
            return Nothing.TO_DO
        item = self.rng.choice(items)
        for who in self.rng.choice((("owner",), ("owner", "clerk"))):
            deed = self.rng.choice(("accept", "match", "refund", "set aside"))
            press = Press(shop.merchant_id, item.row.id, item.waiting.minor, f"{who}@cafe.example")
            label = f"{who} decides to {deed} {self._name(item.row.out_trade_no)}"
            self._begin("web", label, partial(self._do_deed, press, deed))
        return None

    def _do_deed(self, press: Press, deed: str) -> None:
        mine = [charge_id for shop, charge_id in self.charges if shop.merchant_id == press.merchant_id]
        returns = self.rng.random() < 0.5
        match deed:
            case "accept":
                decisions.accept(press, return_surplus=returns)
            case "match":
                decisions.match(press, self.rng.choice(mine or [""]), return_surplus=returns)
            case "refund":
                decisions.refund(press)
            case _:
                decisions.set_aside(press, "paid out at the till")

    # The worker

    def work(self) -> Nothing | None:
        """Some worker looks for a job of some kind and does it."""
        due = [kind for kind in self._kinds_due() if kind in worker.JOBS]
        if not due:
            return Nothing.TO_DO
        kind, who = self.rng.choice(due), self.rng.choice(WORKERS)
        return self._begin(who, f"a job: {kind}", partial(self._do_a_job, kind))

    def deliver(self) -> Nothing | None:
        if Kind.DELIVER not in self._kinds_due():
            return Nothing.TO_DO
        who, hears = self.rng.choice(WORKERS), self.rng.random() < 0.7
        return self._begin(who, "webhooks" if hears else "webhooks, to nobody", partial(self._deliver, hears))

    # Networks

    def post(self) -> Nothing | None:
        """A notification arrives: any of them, whichever is older; now and then it is sent again."""
        if not self.letters:
            return Nothing.TO_DO
        letter = self.rng.choice(self.letters)
        return self._begin("web", f"callback about {letter.about}", partial(self._take_in, letter))

    def post_stale(self) -> Nothing | None:
        """One that was held up on its way: as it was signed then."""
        if not self.letters:
            return Nothing.TO_DO
        letter = self.rng.choice(self.letters)
        inbound = replace(letter.inbound, received_at=self.simulation.now())
        return self._begin(
            "web", f"stale callback about {letter.about}", partial(self._receive, letter.account_id, inbound)
        )

    def lose(self) -> Nothing | None:
        """A notification never arrives, however often it is sent."""
        if not self.letters:
            return Nothing.TO_DO
        letter = self.letters.pop(self.rng.randrange(len(self.letters)))
        return self._say(f"the news of {letter.about} is lost for good")

    def bad_day(self) -> Nothing | None:
        code, fate = self._some_network().code, self.rng.choice(FATES)
        self.simulation.bad_days.setdefault(code, []).append(fate)
        return self._say(f"the next answer of {code}: {fate}")

    def go_down(self) -> Nothing | None:
        network = self._some_network()
        network.is_down = not network.is_down
        return self._say(f"{network.code} is {'down' if network.is_down else 'up'}")

    def change_refunds(self) -> Nothing | None:
        """For a while refunds are instant, slow, refused, or have no balance to come from."""
        network = self._some_network()
        mood = self.rng.choice(("slow", "slow", "refused", "poor", "instant"))
        network.refunds_wait = mood == "slow"
        network.refuses_refunds = mood == "refused"
        network.is_poor = mood == "poor"
        return self._say(f"refunds of {network.code} are {mood}")

    def move_refund(self) -> Nothing | None:
        """What was waiting is done, fails, or is stuck; what was stuck a person helps on."""
        waiting = self._waiting_refunds()
        if not waiting:
            return Nothing.TO_DO
        network, trade, number = self.rng.choice(waiting)
        return self._finish(network, trade, number, self.rng.choice(_ENDS[network.code]))

    # Strangers

    def forge(self) -> Nothing | None:
        """A genuine notification with one byte changed: refused, or it says the same."""
        if not self.letters:
            return Nothing.TO_DO
        letter = self.rng.choice(self.letters)
        genuine = letter.network.posted(letter.inbound)
        body = bytearray(genuine.body)
        body[self.rng.randrange(len(body))] ^= self.rng.randrange(1, 256)
        inbound = replace(genuine, body=bytes(body))
        return self._begin(
            "web", f"forged callback about {letter.about}", partial(self._try, letter.account_id, inbound)
        )

    def knock_at_the_wrong_door(self) -> Nothing | None:
        """I-4, I-5: a genuine notification at another account than the one it is about does nothing there."""
        if not self.letters:
            return Nothing.TO_DO
        letter = self.rng.choice(self.letters)
        doors = [
            account_id
            for shop in (*self.stage.shops, self.stage.twin)
            for account_id in shop.accounts.values()
            if account_id != letter.account_id
        ]
        door, inbound = self.rng.choice(doors), letter.network.posted(letter.inbound)

        def work() -> None:
            try:
                self._receive(door, inbound)
            except (UnknownPayment, SignatureMismatch):
                return
            # With the same credentials it is genuine there as well: money that nobody asked for.
            assert door in self.stage.twin.accounts.values(), "I-4: accepted at the wrong door"

        return self._begin("web", f"callback about {letter.about} at the wrong door", work)

    # Luck

    def pass_time(self) -> Nothing | None:
        span_s = self.rng.choice(SPANS_S)
        self.simulation.at += timedelta(seconds=span_s)
        return self._say(f"{span_s} s pass")

    def set_clock_back(self) -> Nothing | None:
        span_s = self.rng.choice((1, 30))
        self.simulation.at -= timedelta(seconds=span_s)
        return self._say(f"the clock is set back by {span_s} s")

    # The end

    def calm_down(self) -> None:
        """Nothing bad happens any more; everything that is due is done until nothing is left."""
        self._say("the world calms down")
        self.simulation.bad_days.clear()
        for network in self.simulation.networks.values():
            network.is_down = network.refunds_wait = network.refuses_refunds = network.is_poor = False
        self._finish_tasks()
        is_hasty = self.rng.random() < 0.8
        for _ in range(CALM_ROUNDS):
            for network, trade, number in self._waiting_refunds():
                self._finish(network, trade, number, self.rng.choice(_ENDS[network.code][:2]))
            self._deliver_letters()
            due = self._due_at()
            if due is None:
                break
            # Mostly the worker was away for a while, so that not all of what is asked ever more seldom is.
            away = timedelta(hours=self.rng.choice((0, 0, 1, 30))) if is_hasty else timedelta()
            self.simulation.at = max(self.simulation.at, due) + timedelta(seconds=1) + away
            for kind in self._kinds_due():
                deed = partial(self._deliver, True) if kind == Kind.DELIVER else partial(self._do_a_job, kind)
                self._begin(WORKERS[0], f"a job: {kind}", deed)
                self._finish_tasks()
        self._tell_what_came_too_late()

    def _kinds_due(self) -> list[Kind]:
        with reading() as connection:
            return [kind for kind in Kind if queue.is_due(connection, kind)]

    def _tell_what_came_too_late(self) -> None:
        """Money that came after everybody had asked for the last time, and whose news was lost.

        The network sends such news for a day, and the bill has it: it must find its way into the books.
        """
        for network, trade in self.rules.unknown_money():
            self._write(network, trade, network.notice(trade.out_trade_no), "money that came too late")
        if self.letters:
            self.calm_down()

    def _some_charge(self) -> tuple[Shop, str]:
        if not self.charges:
            self.create()
            self._finish_tasks()
        return self.rng.choice(self.charges[-4:])

    def _some_network(self) -> Network:
        busy = [network for network in self.simulation.networks.values() if network.trades]
        return self.rng.choice(busy or list(self.simulation.networks.values()))

    def _paid(self, network: Network, trade: Trade) -> None:
        name = self._name(trade.out_trade_no)
        self._say(f"{network.code} takes {trade.paid} for {name}, which cost {trade.price}")
        is_silent = trade.by_code and network.code == "wechatpay"  # only answers and queries tell of it
        news = None if is_silent else network.notice(trade.out_trade_no)
        self._write(network, trade, news, f"payment {name}")

    def _write(self, network: Network, trade: Trade, inbound: Inbound | None, about: str) -> None:
        if inbound is not None:
            door = next(
                shop.accounts[network.code] for shop in self.stage.shops if self._owns(shop, network, trade)
            )
            self.letters.append(Letter(network, door, inbound, about))

    def _owns(self, shop: Shop, network: Network, trade: Trade) -> bool:
        return trade.owner == OWNERS[network.code][self.stage.shops.index(shop)]

    def _waiting_refunds(self) -> list[tuple[Network, Trade, str]]:
        return [
            (network, trade, number)
            for network, trade in self.rules._trades()
            for number, back in trade.backs.items()
            if back.way in (Way.WAITING, Way.STUCK)
        ]

    def _finish(self, network: Network, trade: Trade, number: str, way: Way) -> None:
        network.finish_refund(trade.out_trade_no, number, way)
        self._say(f"{network.code}: the refund of {self._name(trade.out_trade_no)} is {way}")
        news = network.refund_notice(trade.out_trade_no, number)
        self._write(network, trade, news, f"refund of {self._name(trade.out_trade_no)}")

    def _take_in(self, letter: Letter) -> None:
        self._receive(letter.account_id, letter.network.posted(letter.inbound))
        # Accepted: seldom it is sent again all the same.
        if letter in self.letters and self.rng.random() < 0.8:
            self.letters.remove(letter)

    def _receive(self, account_id: str, inbound: Inbound) -> None:
        inbox.receive(accounts.open_account(account_id), inbound)

    def _try(self, account_id: str, inbound: Inbound) -> None:
        with suppress(SignatureMismatch):
            self._receive(account_id, inbound)

    def _do_a_job(self, kind: Kind) -> None:
        claim = worker._claim(kind)
        if claim is not None:
            worker.JOBS[kind](claim)

    def _deliver(self, hears: bool) -> None:
        parcels, _ = delivery.claim_parcels(limit=10)
        if not parcels:
            return
        held = {parcel.event_id for parcel in parcels}
        if hears:
            for parcel in parcels:
                self._hear(parcel)
        # Until it is written down that they were heard, they may be sent again.
        self.rules.excused.update(held)
        self.simulation.stop("webhooks are on the wire")
        lost, _ = delivery.record([self._sent(parcel, hears) for parcel in parcels])
        self.rules.excused.subtract(held - {result.parcel.event_id for result in lost})

    def _hear(self, parcel: Parcel) -> None:
        known = self.rules.heard.setdefault(parcel.event_id, parcel.body)
        assert known == parcel.body, "I-34: the same event, with other bytes"
        self.rules.times[parcel.event_id] += 1

    def _sent(self, parcel: Parcel, hears: bool) -> Result:
        status, error = (200, None) if hears else (None, "no connection")
        return Result(parcel, self.simulation.now(), Sent("", status, error, 12))

    def _deliver_letters(self) -> None:
        for letter in list(self.letters):
            self._begin("web", f"callback about {letter.about}", partial(self._take_in, letter))
            self._finish_tasks()
        self.letters.clear()

    def _finish_tasks(self) -> None:
        while self.simulation.tasks:
            self.simulation.go_on(self.rng.choice(self.simulation.tasks))

    def _due_at(self) -> datetime | None:
        with reading() as connection:
            first: datetime | None = connection.execute(sa.select(sa.func.min(Job.due_at))).scalar()
            return first and first + (self.simulation.at - moment(connection))

    def _begin(self, process: str, label: str, work: Callable[[], Any]) -> None:
        self.simulation.begin(process, label, work)

    def _say(self, line: str) -> None:
        self.simulation.say(line)

    def _name(self, key: str) -> str:
        """A charge's or attempt's number in this story, which is the same in every telling."""
        return self.names.setdefault(key, f"{'c' if key.startswith('ch_') else 't'}{len(self.names)}")


@dataclass(frozen=True)
class Told:
    """A story that ended well: its lines, and how often what happened."""

    lines: list[str]
    tally: Counter[str]


class StoryWentWrong(AssertionError):
    """A rule did not hold, or something was raised that should not be; ``lines`` led there."""

    def __init__(self, seed: int, reason: BaseException, lines: list[str]) -> None:
        super().__init__(f"seed {seed}: {type(reason).__name__}: {reason}")
        self.seed, self.lines = seed, lines


def tell(
    stage: Stage,
    seed: int,
    steps: int | None = None,
    made_of: tuple[type[World], type[Rules]] | None = None,
) -> Told:
    """Tell the story of a seed, or only its first ``steps`` before it calms down.  Raises StoryWentWrong.

    ``made_of`` another world, with rules of its own.
    """
    simulation = Simulation(stage, seed)
    kind, kind_of_rules = made_of or (World, Rules)
    rules = kind_of_rules(simulation)
    world = kind(simulation, rules)
    simulation.after_commit = rules.check_news
    wanted = simulation.rng.randint(*STEPS)
    with simulation.running_on_stage():
        try:
            for _ in range(wanted if steps is None else min(steps, wanted)):
                world.step()
            world.calm_down()
            tally = rules.account()
        except Exception as error:
            raise StoryWentWrong(seed, error, simulation.story) from error
    return Told(simulation.story, tally)


def shortest(stage: Stage, wrong: StoryWentWrong) -> tuple[int, StoryWentWrong]:
    """The fewest steps after which the same seed goes wrong, and how."""
    for steps in range(STEPS[1] + 1):
        try:
            tell(stage, wrong.seed, steps)
        except StoryWentWrong as found:
            return steps, found
    return STEPS[1], wrong


_ENDS = {  # how a refund that was waiting may end; the first two are ends for good
    "alipay": (Way.DONE, Way.DONE, Way.DONE),
    "wechatpay": (Way.DONE, Way.CLOSED, Way.STUCK),
    "unionpay": (Way.DONE, Way.CLOSED, Way.DONE),
}
_DEEDS: dict[Callable[[Any], Nothing | None], int] = {
    World.create: 7,
    World.press_pay: 16,
    World.visit: 10,
    World.visit_and_pay: 14,
    World.pay: 8,
    World.pay_late: 3,
    World.scan_code: 8,
    World.give_up_code: 4,
    World.decline: 2,
    World.wait: 5,
    World.cancel: 5,
    World.refund: 10,
    World.decide: 14,
    World.pay_out_of_the_blue: 2,
    World.work: 16,
    World.deliver: 4,
    World.post: 8,
    World.post_stale: 2,
    World.lose: 2,
    World.bad_day: 5,
    World.go_down: 2,
    World.change_refunds: 8,
    World.move_refund: 6,
    World.forge: 2,
    World.knock_at_the_wrong_door: 2,
    World.pass_time: 5,
    World.set_clock_back: 1,
}
_OFTEN = 5  # without what happens so often there is no story
