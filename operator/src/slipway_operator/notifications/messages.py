"""What object stores send when something in a bucket has changed: which objects it is about. Pure.

S3 event records (AWS directly, through SNS or EventBridge; MinIO; versitygw), Pub/Sub pushes of Google
Cloud Storage, Azure Event Grid, CloudEvents of these, and a plain `{"uri": "s3://bucket/key"}`.
"""

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, unquote_plus, urlsplit

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32
MAX_URIS: Final = 10_000
MAX_URI: Final = 2048
"""Characters of a URI: no store has longer keys, and no Model a longer source."""

# Never gives back what it took, and takes a string without an end to the end: a body of 1 MiB is read once.
_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET: Final = re.compile(r"[\[\]{}]")
_NO_EVENT: Final = ("s3:TestEvent",)
_VALIDATION: Final = "Microsoft.EventGrid.SubscriptionValidationEvent"


class NotificationError(ValueError):
    """A body of no known format; str() is a sentence that quotes nothing of the body."""


@dataclass(frozen=True, slots=True)
class Notification:
    """What was read from a body.

    Attributes:
        kind: Who sends such bodies, for the metrics: `s3`, `sns`, `eventbridge`, `gcs`, `azure`,
            `cloudevents`, `plain`.
        uris: URIs of the objects it names, such as `s3://bucket/key`.
        answer: JSON that the sender expects back when it validates the endpoint; None for none.
        confirm: Where a person confirms the subscription; empty when there is nothing to confirm.
    """

    kind: str
    uris: tuple[str, ...] = ()
    answer: Mapping[str, str] | None = None
    confirm: str = ""


def read(body: bytes, headers: Mapping[str, str]) -> Notification:
    """Read a body.

    Args:
        body: At most MAX_BYTES of JSON.
        headers: Lower-case names; those of binary CloudEvents count.

    Raises:
        NotificationError: It is no JSON, too deep, or of nobody we know.
    """
    if headers.get("ce-type"):
        event = {
            name.removeprefix("ce-"): value
            for name, value in headers.items()
            if name.startswith("ce-")
        }
        event["data"] = _parsed(body) if body.strip() else {}
        return _limited(_understood(event))
    return _limited(_understood(_parsed(body)))


def _limited(found: Notification) -> Notification:
    fitting = (uri for uri in found.uris if len(uri) <= MAX_URI)
    unique = tuple(dict.fromkeys(fitting))[:MAX_URIS]
    return Notification(found.kind, unique, found.answer, found.confirm)


def _parsed(body: bytes | str) -> Any:
    """JSON that is not nested too deeply: the depth is counted before it is parsed."""
    try:
        text = body if isinstance(body, str) else body.decode()
        deepest = max(_depths(text), default=0)
        value = json.loads(text) if deepest <= MAX_DEPTH else None
    except (ValueError, RecursionError) as error:
        raise NotificationError("the body is not JSON") from error
    if deepest > MAX_DEPTH:
        raise NotificationError(f"the body is nested more than {MAX_DEPTH} deep")
    return value


def _depths(text: str) -> Iterator[int]:
    """How deep it is after each bracket."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        yield depth


def _understood(value: Any, depth: int = 0) -> Notification:
    """Try one sender after the other; what fits first counts."""
    try:
        if isinstance(value, list):
            return _several(value, depth)
        if isinstance(value, Mapping) and depth <= _NESTED:
            for fits, reader in _SENDERS:
                if fits(value):
                    return reader(value, depth)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        if isinstance(error, NotificationError):
            raise
        raise NotificationError("the body does not name an object where its kind should") from error
    raise NotificationError(
        "the body is not a supported notification: S3 event records, Pub/Sub, Event Grid, "
        'CloudEvents, or {"uri": "s3://bucket/key"}'
    )


_NESTED: Final = 3
"""An S3 event in an SNS envelope in a CloudEvent; nobody nests deeper."""


def _several(values: Sequence[Any], depth: int) -> Notification:
    if not values:
        return Notification("plain")
    found = [_understood(value, depth + 1) for value in values]
    return Notification(
        found[0].kind,
        tuple(uri for one in found for uri in one.uris),
        next((one.answer for one in found if one.answer), None),
        next((one.confirm for one in found if one.confirm), ""),
    )


def _plain(value: Mapping[str, Any], _: int) -> Notification:
    uri = value["uri"]
    uris = [uri] if isinstance(uri, str) else list(uri)
    if not all(isinstance(one, str) and "://" in one for one in uris):
        raise NotificationError('uri must be a string such as "s3://bucket/key"')
    return Notification("plain", tuple(uris))


def _s3(value: Mapping[str, Any], _: int) -> Notification:
    return Notification("s3", tuple(_s3_uris(value["Records"])))


def _s3_uris(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for record in records:
        s3 = record["s3"]
        # S3 encodes keys as forms do.
        yield f"s3://{s3['bucket']['name']}/{unquote_plus(s3['object']['key'])}"


def _s3_test(_: Mapping[str, Any], __: int) -> Notification:
    return Notification("s3")


def _sns(value: Mapping[str, Any], depth: int) -> Notification:
    if value["Type"] == "Notification":
        inner = _understood(_parsed(value["Message"]), depth + 1)
        return Notification("sns", inner.uris)
    return Notification("sns", confirm=_address(str(value.get("SubscribeURL", ""))))


def _address(url: str) -> str:
    """A URL that a person may be shown; empty for what is none."""
    parts = urlsplit(url)
    good = parts.scheme == "https" and parts.hostname and url.isprintable() and len(url) <= MAX_URI
    return url if good else ""


def _eventbridge(value: Mapping[str, Any], _: int) -> Notification:
    detail = value["detail"]
    return Notification(
        "eventbridge", (f"s3://{detail['bucket']['name']}/{detail['object']['key']}",)
    )


def _pubsub(value: Mapping[str, Any], depth: int) -> Notification:
    message = value["message"]
    attributes = message.get("attributes") or {}
    if "bucketId" in attributes:
        return Notification("gcs", (f"gs://{attributes['bucketId']}/{attributes['objectId']}",))
    try:
        data = base64.b64decode(message["data"], validate=True)
    except (binascii.Error, ValueError) as error:
        raise NotificationError("message.data is not base64") from error
    inner = _parsed(data)
    if isinstance(inner, Mapping) and "bucket" in inner:
        return Notification("gcs", (f"gs://{inner['bucket']}/{inner['name']}",))
    return Notification("gcs", _understood(inner, depth + 1).uris)


def _event_grid(value: Mapping[str, Any], _: int) -> Notification:
    if value["eventType"] == _VALIDATION:
        code = str(value["data"]["validationCode"])
        return Notification("azure", answer={"validationResponse": code})
    return Notification("azure", (_azure_uri(value),))


def _azure_uri(value: Mapping[str, Any]) -> str:
    """From `/blobServices/default/containers/NAME/blobs/PATH`; Data Lake events have a URL only."""
    subject = str(value.get("subject", ""))
    _, found, rest = subject.partition("/containers/")
    container, blobs, path = rest.partition("/blobs/")
    if found and blobs:
        return f"az://{container}/{path}"
    return f"az://{unquote(urlsplit(str(value['data']['url'])).path).lstrip('/')}"


def _cloud_event(value: Mapping[str, Any], depth: int) -> Notification:
    kind = str(value["type"])
    if kind.startswith("Microsoft.Storage."):
        return Notification("cloudevents", (_azure_uri(value),))
    data = value.get("data")
    if isinstance(data, str):
        data = _parsed(data)
    if kind.startswith("google.cloud.storage."):
        bucket = str(value.get("source", "")).rpartition("/buckets/")[2]
        name = str(value.get("subject", "")).removeprefix("objects/")
        if isinstance(data, Mapping) and "bucket" in data:
            bucket, name = data["bucket"], data["name"]
        return Notification("cloudevents", (f"gs://{bucket}/{name}",))
    if (
        kind.startswith(("com.amazonaws.s3", "aws.s3"))
        and isinstance(data, Mapping)
        and "bucket" in data
    ):
        uri = f"s3://{data['bucket']['name']}/{data['object']['key']}"
        return Notification("cloudevents", (uri,))
    return Notification("cloudevents", _understood(data, depth + 1).uris)


_Fits = Callable[[Mapping[str, Any]], bool]
_Reads = Callable[[Mapping[str, Any], int], Notification]
_SENDERS: Final[tuple[tuple[_Fits, _Reads], ...]] = (
    (lambda v: "Records" in v, _s3),
    (lambda v: v.get("Event") in _NO_EVENT, _s3_test),
    (lambda v: "Type" in v and ("Message" in v or "SubscribeURL" in v), _sns),
    (lambda v: "detail-type" in v and "detail" in v, _eventbridge),
    (lambda v: isinstance(v.get("message"), Mapping), _pubsub),
    (lambda v: "eventType" in v and "data" in v, _event_grid),
    (lambda v: "type" in v and ("specversion" in v or "source" in v), _cloud_event),
    (lambda v: "uri" in v, _plain),
)
"""In this order: a sender's own fields, then what each of them must have."""


def folders_above(uri: str) -> Iterator[str]:
    """Every folder that an object lies in, the bucket last; and the object's own name.

    >>> list(folders_above("s3://models/digits/3/saved_model.pb"))[1:]
    ['s3://models/digits/3', 's3://models/digits', 's3://models']
    """
    scheme, separator, rest = uri.partition("://")
    while rest:
        rest = rest.rstrip("/")
        yield f"{scheme}{separator}{rest}"
        rest = rest.rpartition("/")[0]
