"""Credentials that end: renewed in time, kept through an outage, asked for again when refused."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from slipway_sync.stores import SourceError
from slipway_sync.stores.credentials import TemporaryCredentials
from slipway_sync.stores.identity import CachedIdentity


@dataclass
class Cloud:
    """Grants `life` at a time, unless it is `away`."""

    life: timedelta = timedelta(hours=1)
    now: datetime = datetime(2030, 1, 1, tzinfo=UTC)
    away: SourceError | None = None
    granted: list[str] = field(default_factory=list)

    async def exchange(self) -> TemporaryCredentials:
        await asyncio.sleep(0)
        if self.away is not None:
            raise self.away
        self.granted.append(f"key-{len(self.granted) + 1}")
        return TemporaryCredentials({"AWS_ACCESS_KEY_ID": self.granted[-1]}, self.now + self.life)

    def identity(self) -> CachedIdentity:
        return CachedIdentity(self.exchange, lambda: self.now)


def key(identity: CachedIdentity) -> str:
    return asyncio.run(identity.granted()).values["AWS_ACCESS_KEY_ID"]


@pytest.mark.parametrize(
    ("life", "kept", "renewed"),
    [
        (timedelta(hours=1), timedelta(minutes=54), timedelta(minutes=56)),
        (timedelta(minutes=4), timedelta(minutes=2), timedelta(minutes=3, seconds=1)),
    ],
)
def test_they_are_kept_and_renewed_before_their_end(
    life: timedelta, kept: timedelta, renewed: timedelta
) -> None:
    cloud = Cloud(life)
    identity, start = cloud.identity(), cloud.now
    assert key(identity) == "key-1"
    cloud.now = start + kept
    assert key(identity) == "key-1"
    cloud.now = start + renewed
    assert key(identity) == "key-2"


def test_requests_at_once_ask_once() -> None:
    cloud = Cloud()
    identity = cloud.identity()

    async def many() -> list[TemporaryCredentials]:
        return await asyncio.gather(*(identity.granted() for _ in range(20)))

    assert len({id(granted) for granted in asyncio.run(many())}) == 1
    assert cloud.granted == ["key-1"]


def test_an_outage_is_bridged_until_their_end_and_not_beyond() -> None:
    cloud = Cloud()
    identity, start = cloud.identity(), cloud.now
    key(identity)
    cloud.away = SourceError("Unavailable", "away")
    cloud.now = start + timedelta(minutes=59)
    assert key(identity) == "key-1"
    cloud.now = start + timedelta(minutes=60)
    with pytest.raises(SourceError, match="away"):
        key(identity)
    cloud.away = None
    assert key(identity) == "key-2"


def test_a_refusal_is_not_bridged() -> None:
    cloud = Cloud()
    identity = cloud.identity()
    key(identity)
    cloud.now += timedelta(minutes=59)
    cloud.away = SourceError("AccessDenied", "no more")
    with pytest.raises(SourceError, match="no more"):
        key(identity)


def test_refused_credentials_are_asked_for_again_but_not_at_every_request() -> None:
    cloud = Cloud()
    identity = cloud.identity()
    assert not identity.refuse()
    key(identity)
    assert not identity.refuse()
    assert key(identity) == "key-1"
    cloud.now += timedelta(minutes=2)
    assert identity.refuse()
    assert key(identity) == "key-2"
    assert not identity.refuse()


def test_secrets_are_in_no_representation() -> None:
    assert "s3cr3t" not in repr(TemporaryCredentials({"AWS_SECRET_ACCESS_KEY": "s3cr3t"}, None))
