"""The table that is a queue: oldest first, one worker a job, and a worker thought dead changes nothing."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

import pytest
from sqlalchemy.exc import IntegrityError

from app import clock, queue
from app.db import reading, transaction
from app.queue import Claim, Job, Kind
from tests.books import row_of, rows_of

LEASE = timedelta(seconds=30)
ME = "mch_1"


def put(*subjects: str, kind: Kind = Kind.EXPIRE, due_in_s: float = -1, merchant_id: str = ME) -> None:
    due_at = clock.now() + timedelta(seconds=due_in_s)
    with transaction() as tx:
        queue.put_many(tx, [(kind, merchant_id, subject, due_at) for subject in subjects])


def claim(limit: int = 10, kind: Kind = Kind.EXPIRE) -> list[Claim]:
    with transaction() as tx:
        return queue.claim(tx, kind, limit=limit, lease=LEASE)


def subjects(claims: Iterable[Claim]) -> list[str]:
    return [each.subject_id for each in claims]


def test_what_is_due_longest_is_claimed_first(app):
    for subject, due_in_s in (("c", -1), ("a", -30), ("later", 60), ("b", -10)):
        put(subject, due_in_s=due_in_s)
    assert sorted(subjects(claim(limit=2))) == ["a", "b"]
    assert subjects(claim(limit=2)) == ["c"]
    assert claim() == []


def test_a_kind_is_claimed_by_itself(app):
    put("x", kind=Kind.DELIVER)
    put("x", kind=Kind.QUERY)
    assert [each.kind for each in claim(kind=Kind.DELIVER)] == [Kind.DELIVER]
    assert [each.kind for each in claim(kind=Kind.QUERY)] == [Kind.QUERY]
    assert claim(kind=Kind.REFUND) == []


def test_a_job_is_put_once(app):
    put("a")
    with pytest.raises(IntegrityError):
        put("a")
    put("a", kind=Kind.QUERY)
    put("a", merchant_id="mch_2")
    assert len(rows_of(Job)) == 3


def test_work_that_is_rolled_back_leaves_no_job(app):
    twice = [(Kind.EXPIRE, ME, subject, clock.now()) for subject in ("a", "b", "a")]
    with pytest.raises(IntegrityError), transaction() as tx:
        queue.put_many(tx, twice)
    assert rows_of(Job) == []


def test_a_claimed_job_is_nobody_elses_until_the_lease_ends(app, at):
    put("a")
    [first] = claim()
    assert (first.merchant_id, first.kind, first.subject_id, first.tries) == (ME, "expire", "a", 1)
    assert claim() == []
    at(LEASE - timedelta(seconds=1))
    assert claim() == []
    at(timedelta(seconds=2))
    [second] = claim()
    assert (second.subject_id, second.tries) == ("a", 2)
    assert second.token != first.token


def test_a_worker_that_lost_its_lease_changes_nothing(app, at):
    put("a")
    [late] = claim()
    at(LEASE + timedelta(seconds=1))
    [current] = claim()
    before = row_of(Job)
    with transaction() as tx:
        assert not queue.finish(tx, late)
        assert not queue.put_back(tx, late, clock.now())
        assert not queue.holds(tx, late)
        assert queue.held(tx, [late, current]) == {current}
        queue.put_back_many(tx, [(late, clock.now())])
        assert queue.finish_many(tx, [late]) == set()
    assert row_of(Job) == before
    with transaction() as tx:
        assert queue.holds(tx, current)
        assert queue.finish(tx, current)
    assert rows_of(Job) == []


def test_a_finished_job_is_finished_once(app):
    put("a")
    [mine] = claim()
    with transaction() as tx:
        assert queue.finish(tx, mine)
        assert not queue.finish(tx, mine)
        assert not queue.holds(tx, mine)


def test_a_job_put_back_is_due_when_it_was_said_and_counts_its_tries(app, at):
    put("a")
    [mine] = claim()
    with transaction() as tx:
        assert queue.put_back(tx, mine, clock.now() + timedelta(seconds=10))
        assert not queue.holds(tx, mine)
    assert row_of(Job).token is None
    assert claim() == []
    at(timedelta(seconds=11))
    [again] = claim()
    assert again.tries == 2


def test_many_jobs_are_finished_and_put_back_each_as_its_own(app):
    put(*"abcd")
    put("a", merchant_id="mch_2")
    claims = {(each.merchant_id, each.subject_id): each for each in claim()}
    when = clock.now() + timedelta(minutes=5)
    with transaction() as tx:
        done = [claims[ME, "a"], claims[ME, "b"]]
        assert queue.finish_many(tx, done) == set(done)
        queue.put_back_many(tx, [(claims[ME, "c"], when), (claims["mch_2", "a"], when)])
    left = {(row.merchant_id, row.subject_id): row for row in rows_of(Job)}
    assert set(left) == {(ME, "c"), (ME, "d"), ("mch_2", "a")}
    assert left[ME, "c"].due_at == left["mch_2", "a"].due_at == when
    assert left[ME, "c"].token is None
    assert left[ME, "d"].token is not None


def test_dropping_forgets_named_jobs_alone_claimed_or_not(app):
    put(*"abc")
    put("a", kind=Kind.QUERY)
    put("a", merchant_id="mch_2")
    claim(limit=1)
    with transaction() as tx:
        queue.drop(tx, ME, (Kind.EXPIRE, "a"), (Kind.EXPIRE, "b"), (Kind.EXPIRE, "never"))
    left = {(row.merchant_id, row.kind, row.subject_id) for row in rows_of(Job)}
    assert left == {(ME, "expire", "c"), (ME, "query", "a"), ("mch_2", "expire", "a")}


def test_hastening_moves_a_waiting_job_forward_only(app):
    put("a", due_in_s=60)
    soon, later = clock.now() - timedelta(seconds=1), clock.now() + timedelta(hours=1)
    with transaction() as tx:
        assert not queue.hasten(tx, Kind.EXPIRE, ME, "a", later)
        assert not queue.hasten(tx, Kind.EXPIRE, "mch_2", "a", soon)
        assert not queue.hasten(tx, Kind.QUERY, ME, "a", soon)
        assert queue.hasten(tx, Kind.EXPIRE, ME, "a", soon)
    assert row_of(Job).due_at == soon
    [mine] = claim()
    with transaction() as tx:  # in a worker's hands: not before its lease ends
        assert not queue.hasten(tx, Kind.EXPIRE, ME, "a", soon)
        assert queue.holds(tx, mine)


def test_looking_for_due_work_takes_nothing(app, at):
    put("a", due_in_s=10)
    with reading() as connection:
        assert not queue.is_due(connection, Kind.EXPIRE)
    at(timedelta(seconds=11))
    with reading() as connection:
        assert queue.is_due(connection, Kind.EXPIRE)
        assert not queue.is_due(connection, Kind.QUERY)
    assert subjects(claim()) == ["a"]


def test_two_workers_never_hold_the_same_job(app):
    put(*[f"job-{number:03}" for number in range(200)])
    barrier, taken = threading.Barrier(4), [[] for _ in range(4)]  # type: ignore[var-annotated]

    def work(mine: list[str]) -> None:
        with app.app_context():
            barrier.wait(timeout=30)
            while found := claim(limit=7):
                mine += subjects(found)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in taken]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    counted = Counter(subject for mine in taken for subject in mine)
    assert len(counted) == 200
    assert set(counted.values()) == {1}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_worker_does_not_wait_for_rows_that_another_is_claiming(app):
    put("a", "b", due_in_s=-10)
    put("c")
    claimed: list[str] = []

    def second() -> None:
        with app.app_context():
            claimed.extend(subjects(claim()))

    with transaction() as tx:
        assert len(queue.claim(tx, Kind.EXPIRE, limit=2, lease=LEASE)) == 2
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(timeout=10)  # it must be through before this transaction ends
        assert claimed == ["c"]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_claiming_reads_due_rows_off_an_index_in_order(app):
    due = "SELECT subject_id FROM jobs WHERE kind = 'expire' AND due_at <= '2024' ORDER BY due_at"
    with reading() as connection:
        plan = " ".join(row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {due}"))
    assert "ix_jobs_due" in plan
    assert "TEMP B-TREE" not in plan
