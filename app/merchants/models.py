"""Who is asking: merchants, their people, their keys and their accounts at the providers."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Mapped, mapped_column

from app.db import Base


class Merchant(Base):
    """The tenant.  Every row of every other tenant table names one."""

    __tablename__ = "merchants"

    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    name: Mapped[str] = mapped_column(sa.String(80))  # shoppers read it above the amount
    language: Mapped[str] = mapped_column(sa.String(8), default="zh")
    created_at: Mapped[datetime]
    # A refund that takes what goes back of its charge above this waits for a second person; None: none does.
    refund_limit_minor: Mapped[int | None]
    refund_limit_for_keys: Mapped[bool] = mapped_column(default=False)
    requires_second_factor: Mapped[bool] = mapped_column(default=False)  # for refunds and keys
    # Whether a refund of a top-up may take a member's purse below zero; else it is refused.
    members_may_owe: Mapped[bool] = mapped_column(default=False)


class Brand(Base):
    """How a merchant looks to shoppers.  Without a row, like everybody."""

    __tablename__ = "brands"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.Index("ix_brands_logo", "logo_version"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    accent: Mapped[str | None] = mapped_column(sa.String(7))  # #rrggbb, dark enough for white text
    paper_logo: Mapped[bytes | None]  # PNG, drawn by us
    screen_logo: Mapped[bytes | None]  # the same, small enough for a phone's budget
    logo_version: Mapped[str | None] = mapped_column(sa.String(32))  # a digest of it
    updated_at: Mapped[datetime]


class Store(Base):
    """A place of a merchant's, in one mode: what shoppers read below its name."""

    __tablename__ = "stores"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.Index("ix_stores_mode", "merchant_id", "livemode", "id"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    name: Mapped[str] = mapped_column(sa.String(80))
    address: Mapped[str] = mapped_column(sa.String(120), default="")  # a line: street, city
    created_at: Mapped[datetime]


class User(Base):
    """A person of one merchant."""

    __tablename__ = "users"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    email: Mapped[str] = mapped_column(sa.String(254), unique=True)  # lower case
    name: Mapped[str] = mapped_column(sa.String(80))
    role: Mapped[str] = mapped_column(sa.String(16), default="owner")
    password_hash: Mapped[str | None] = mapped_column(sa.String(200))  # argon2id; None: by link only
    created_at: Mapped[datetime]
    deactivated_at: Mapped[datetime | None]
    totp_sealed: Mapped[str | None] = mapped_column(sa.Text)  # the secret, sealed by the vault
    totp_since: Mapped[datetime | None]  # when a first code was right; None: not in use yet
    totp_step: Mapped[int] = mapped_column(default=0)  # the last time step of which a code was used


class Session(Base):
    """One signed-in browser.  The cookie holds the token, the row only its digest."""

    __tablename__ = "sessions"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id", "user_id"], ["users.merchant_id", "users.id"]),)

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), unique=True)  # what the list of sessions calls it
    merchant_id: Mapped[str] = mapped_column(sa.String(40))
    user_id: Mapped[str] = mapped_column(sa.String(40))
    is_half: Mapped[bool] = mapped_column(default=False)  # the password was right, the second factor is due
    tries: Mapped[int] = mapped_column(sa.Integer, default=0)  # of a half session: codes that were tried
    address: Mapped[str] = mapped_column(sa.String(45), default="")
    agent: Mapped[str] = mapped_column(sa.String(200), default="")  # as the browser calls itself
    created_at: Mapped[datetime]
    last_seen_at: Mapped[datetime]  # to five minutes: a write for each page would be too dear
    proved_at: Mapped[datetime]  # when it was last shown who sits there
    expires_at: Mapped[datetime]


class SignInLink(Base):
    """A link that works once: it signs its owner in, or lets them choose a password."""

    __tablename__ = "sign_in_links"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id", "user_id"], ["users.merchant_id", "users.id"]),)

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    merchant_id: Mapped[str] = mapped_column(sa.String(40))
    user_id: Mapped[str] = mapped_column(sa.String(40))
    is_reset: Mapped[bool] = mapped_column(default=False)  # lets them choose a password, and no more
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class Letter(Base):
    """A mail that waits to be sent, sealed; it goes when it is sent or given up.

    ``merchant_id`` is empty while nobody has looked whose the address is.
    """

    __tablename__ = "letters"

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    sealed: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[datetime]


class KnownDevice(Base):
    """A browser with which a person has signed in, by the digest of what it carries."""

    __tablename__ = "known_devices"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id", "user_id"], ["users.merchant_id", "users.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    seen_at: Mapped[datetime]


class RecoveryCode(Base):
    """Stands in once for a lost second factor.  80 random bits need no slow hash."""

    __tablename__ = "recovery_codes"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id", "user_id"], ["users.merchant_id", "users.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    used_at: Mapped[datetime | None]


class Passkey(Base):
    """A key pair in somebody's device, of which the public half is here."""

    __tablename__ = "passkeys"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id", "user_id"], ["users.merchant_id", "users.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    user_id: Mapped[str] = mapped_column(sa.String(40))
    name: Mapped[str] = mapped_column(sa.String(80))
    credential_id: Mapped[str] = mapped_column(sa.String(1400), unique=True)  # base64url
    public_key: Mapped[str] = mapped_column(sa.Text)  # COSE, base64url
    sign_count: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]


class PasskeyChallenge(Base):
    """What a device is asked to sign, once and within minutes."""

    __tablename__ = "passkey_challenges"

    digest: Mapped[str] = mapped_column(sa.String(64), primary_key=True)
    expires_at: Mapped[datetime]


class Invitation(Base):
    """A place in the team, kept for whoever brings the link."""

    __tablename__ = "invitations"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    email: Mapped[str] = mapped_column(sa.String(254))
    name: Mapped[str] = mapped_column(sa.String(80))
    role: Mapped[str] = mapped_column(sa.String(16))
    invited_by: Mapped[str] = mapped_column(sa.String(254))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]  # or withdrawn


class AuditEntry(Base):
    """One deed.  Never changed: the database refuses, and the hashes would tell."""

    __tablename__ = "audit_entries"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)  # 1, 2, 3 … of a merchant
    created_at: Mapped[datetime]
    actor: Mapped[str] = mapped_column(sa.String(254))
    user_id: Mapped[str | None] = mapped_column(sa.String(40))
    address: Mapped[str] = mapped_column(sa.String(45))
    action: Mapped[str] = mapped_column(sa.String(40))
    object_id: Mapped[str] = mapped_column(sa.String(64))
    before: Mapped[str] = mapped_column(sa.Text)  # JSON, or nothing
    after: Mapped[str] = mapped_column(sa.Text)
    previous: Mapped[str] = mapped_column(sa.String(64))  # hash of the row before
    hash: Mapped[str] = mapped_column(sa.String(64))


class AuditHead(Base):
    """The newest row of a merchant's chain: who appends locks it, and a cut tail shows."""

    __tablename__ = "audit_heads"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    number: Mapped[int]
    hash: Mapped[str] = mapped_column(sa.String(64))


class SignInFailure(Base):
    """Wrong passwords of late, by e-mail and by address: what slows a guesser down."""

    __tablename__ = "sign_in_failures"

    subject: Mapped[str] = mapped_column(sa.String(64), primary_key=True)  # digest of what is counted
    count: Mapped[int] = mapped_column(sa.Integer)
    until: Mapped[datetime]  # no try before; forgotten a day later


class ApiKey(Base):
    """A secret key of the API.  Stored as SHA-256: 256 random bits need no slow hash."""

    __tablename__ = "api_keys"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    name: Mapped[str] = mapped_column(sa.String(80))
    digest: Mapped[str] = mapped_column(sa.String(64), unique=True)
    last4: Mapped[str] = mapped_column(sa.String(4))
    scopes: Mapped[str | None] = mapped_column(sa.String(400))  # comma-separated; None: a full key
    version: Mapped[str] = mapped_column(sa.String(10))  # of the API; the newest when the key was made
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]  # set when the key is rolled
    last_used_at: Mapped[datetime | None]  # to the minute: a write a request would be too dear
    revoked_at: Mapped[datetime | None]


class ProviderAccount(Base):
    """A merchant's credentials at one provider, sealed.  ``version`` rises with each change."""

    __tablename__ = "provider_accounts"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.Index("ix_provider_accounts_id", "id"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    provider: Mapped[str] = mapped_column(sa.String(16))
    livemode: Mapped[bool]
    name: Mapped[str] = mapped_column(sa.String(80))
    sealed: Mapped[str] = mapped_column(sa.Text)  # JSON of the credentials, sealed by the vault
    version: Mapped[int] = mapped_column(sa.Integer, default=1)
    enabled: Mapped[bool] = mapped_column(default=True)
    bills_read_to: Mapped[date | None]  # the last day, in Beijing, whose bill was gone through
    created_at: Mapped[datetime]


class AccountHealth(Base):
    """How payments through an account have failed lately.  An account without a row is well."""

    __tablename__ = "account_health"
    __table_args__ = (
        sa.ForeignKeyConstraint(
            ["merchant_id", "account_id"], ["provider_accounts.merchant_id", "provider_accounts.id"]
        ),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    account_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    failures: Mapped[int] = mapped_column(sa.Integer)  # in a row, none long after the one before
    failed_at: Mapped[datetime]
    reason: Mapped[str] = mapped_column(sa.String(64))  # the provider's word for the last; "": no answer
    left_at: Mapped[datetime | None]  # from then on payments went elsewhere
    failed_probes: Mapped[int] = mapped_column(sa.Integer, default=0)
    answers_since: Mapped[datetime | None]  # when, after that, it answered a harmless question again
    next_probe_at: Mapped[datetime | None]  # one payment may try it from then on; None: not yet


class RoutingRule(Base):
    """Which accounts payments of some kind go through.  Never changed: another takes its place."""

    __tablename__ = "routing_rules"
    __table_args__ = (
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.ForeignKeyConstraint(["merchant_id", "store_id"], ["stores.merchant_id", "stores.id"]),
        sa.CheckConstraint("min_minor <= max_minor", name="amounts"),
        sa.Index("ix_routing_rules_order", "merchant_id", "livemode", "provider", "position"),
    )

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    provider: Mapped[str] = mapped_column(sa.String(16))
    position: Mapped[int] = mapped_column(sa.Integer)  # the smallest is asked first
    name: Mapped[str] = mapped_column(sa.String(80))
    currency: Mapped[str | None] = mapped_column(sa.String(3))  # None: any; always there beside an amount
    min_minor: Mapped[int | None]  # included, like the next
    max_minor: Mapped[int | None]
    store_id: Mapped[str | None] = mapped_column(sa.String(40))
    from_minute: Mapped[int | None] = mapped_column(sa.Integer)  # of the day in Beijing, included
    until_minute: Mapped[int | None] = mapped_column(sa.Integer)  # excluded; below the other: past midnight
    shares: Mapped[list[list[Any]]] = mapped_column(sa.JSON)  # [[account's id, weight], …]
    is_strict: Mapped[bool]  # no other account, even while none of these works
    enabled: Mapped[bool]
    made_by: Mapped[str] = mapped_column(sa.String(254))
    created_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]  # deleted, or another has taken its place


class IdempotencyKey(Base):
    """The first answer to a request, kept to be given again byte for byte."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),)

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(sa.String(128), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(sa.String(64))  # of method, path and body
    status: Mapped[int] = mapped_column(sa.Integer)
    body: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(index=True)


class RequestLog(Base):
    """One call of the API: what a merchant's developer looks up by ``req_…``.  Written late, lost in a crash.

    No foreign key: it is a diary, and a line of it must not hold back anything.
    """

    __tablename__ = "request_logs"

    merchant_id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    id: Mapped[str] = mapped_column(sa.String(40), primary_key=True)
    livemode: Mapped[bool]
    key_id: Mapped[str] = mapped_column(sa.String(40))
    address: Mapped[str] = mapped_column(sa.String(45))
    method: Mapped[str] = mapped_column(sa.String(8))
    route: Mapped[str] = mapped_column(sa.String(100))  # /v1/charges/{charge_id}
    path: Mapped[str] = mapped_column(sa.String(500))  # with its query, secrets masked
    status: Mapped[int] = mapped_column(sa.Integer)
    error_code: Mapped[str | None] = mapped_column(sa.String(64))
    duration_ms: Mapped[int] = mapped_column(sa.Integer)
    request_body: Mapped[str] = mapped_column(sa.Text)  # masked and cut
    answer_body: Mapped[str] = mapped_column(sa.Text)
    created_at: Mapped[datetime] = mapped_column(index=True)
