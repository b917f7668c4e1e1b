"""What stores send, and what is not taken for it."""

import base64
import json
from typing import Any

import pytest

from slipway_operator.notifications.messages import (
    MAX_DEPTH,
    MAX_URIS,
    Notification,
    NotificationError,
    folders_above,
    read,
)

S3 = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "aws:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "bucket": {"name": "models", "arn": "arn:aws:s3:::models"},
                "object": {"key": "digits/2/a+b%2Fsaved_model.pb", "size": 7},
            },
        }
    ]
}
S3_URI = "s3://models/digits/2/a b/saved_model.pb"
GCS_DATA = {"kind": "storage#object", "bucket": "models", "name": "digits/2/saved_model.pb"}
AZURE = {
    "eventType": "Microsoft.Storage.BlobCreated",
    "subject": "/blobServices/default/containers/models/blobs/digits/2/saved_model.pb",
    "data": {"url": "https://acct.blob.core.windows.net/models/digits/2/saved_model.pb"},
}


def encoded(value: Any) -> str:
    return base64.b64encode(json.dumps(value).encode()).decode()


CASES: list[tuple[str, Any, dict[str, str], Notification]] = [
    ("s3", S3, {}, Notification("s3", (S3_URI,))),
    (
        "minio adds its own fields",
        {"EventName": "s3:ObjectCreated:Put", "Key": "models/digits/2/x", **S3},
        {},
        Notification("s3", (S3_URI,)),
    ),
    ("s3 test event", {"Service": "Amazon S3", "Event": "s3:TestEvent"}, {}, Notification("s3")),
    (
        "sns",
        {"Type": "Notification", "TopicArn": "arn", "Message": json.dumps(S3)},
        {},
        Notification("sns", (S3_URI,)),
    ),
    (
        "sns subscription",
        {
            "Type": "SubscriptionConfirmation",
            "Message": "You have chosen to subscribe",
            "SubscribeURL": "https://sns.eu-north-1.amazonaws.com/?Action=ConfirmSubscription",
        },
        {},
        Notification(
            "sns", confirm="https://sns.eu-north-1.amazonaws.com/?Action=ConfirmSubscription"
        ),
    ),
    (
        "eventbridge",
        {
            "version": "0",
            "detail-type": "Object Created",
            "source": "aws.s3",
            "detail": {"bucket": {"name": "models"}, "object": {"key": "digits/2/a b"}},
        },
        {},
        Notification("eventbridge", ("s3://models/digits/2/a b",)),
    ),
    (
        "pubsub",
        {
            "message": {
                "attributes": {"bucketId": "models", "objectId": "digits/2/x", "eventType": "E"},
                "data": encoded(GCS_DATA),
                "messageId": "1",
            },
            "subscription": "projects/p/subscriptions/s",
        },
        {},
        Notification("gcs", ("gs://models/digits/2/x",)),
    ),
    (
        "pubsub without attributes",
        {"message": {"data": encoded(GCS_DATA)}},
        {},
        Notification("gcs", ("gs://models/digits/2/saved_model.pb",)),
    ),
    ("event grid", [AZURE], {}, Notification("azure", ("az://models/digits/2/saved_model.pb",))),
    (
        "event grid of a data lake",
        [{"eventType": "Microsoft.Storage.BlobRenamed", "subject": "", "data": AZURE["data"]}],
        {},
        Notification("azure", ("az://models/digits/2/saved_model.pb",)),
    ),
    (
        "event grid validation",
        [
            {
                "eventType": "Microsoft.EventGrid.SubscriptionValidationEvent",
                "data": {"validationCode": "512d38b6", "validationUrl": "https://x"},
            }
        ],
        {},
        Notification("azure", answer={"validationResponse": "512d38b6"}),
    ),
    (
        "azure cloudevent",
        {
            "specversion": "1.0",
            "type": "Microsoft.Storage.BlobCreated",
            "subject": AZURE["subject"],
            "data": AZURE["data"],
        },
        {},
        Notification("cloudevents", ("az://models/digits/2/saved_model.pb",)),
    ),
    (
        "google cloudevent, binary",
        GCS_DATA,
        {
            "ce-specversion": "1.0",
            "ce-type": "google.cloud.storage.object.v1.finalized",
            "ce-source": "//storage.googleapis.com/projects/_/buckets/models",
            "ce-subject": "objects/digits/2/other",
        },
        Notification("cloudevents", ("gs://models/digits/2/saved_model.pb",)),
    ),
    (
        "s3 records in a cloudevent",
        {"specversion": "1.0", "type": "com.example.store", "data": S3},
        {},
        Notification("cloudevents", (S3_URI,)),
    ),
    (
        "plain",
        {"uri": "s3://models/digits/2"},
        {},
        Notification("plain", ("s3://models/digits/2",)),
    ),
    (
        "several",
        [{"uri": "s3://a/b"}, {"uri": ["s3://a/c", "s3://a/b"]}],
        {},
        Notification("plain", ("s3://a/b", "s3://a/c")),
    ),
]


@pytest.mark.parametrize(
    ("body", "headers", "told"), [c[1:] for c in CASES], ids=[c[0] for c in CASES]
)
def test_what_each_sender_says(body: Any, headers: dict[str, str], told: Notification) -> None:
    assert read(json.dumps(body).encode(), headers) == told


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"not json", "not JSON"),
        (b"3", "not a supported notification"),
        (b'"text"', "not a supported notification"),
        (b"{}", "not a supported notification"),
        (b'{"uri": 3}', "does not name an object"),
        (b'{"uri": "models"}', "uri must be a string"),
        (b'{"Records": 3}', "does not name an object"),
        (b'{"Records": [{"s3": {}}]}', "does not name an object"),
        (b'{"message": {"data": "%%%"}}', "not base64"),
        (b'[{"eventType": "x", "data": 3}]', "does not name an object"),
        (b'{"Type": "Notification", "Message": "hello"}', "not JSON"),
        (b"[" * 200_000, "nested more than"),
        (b'{"a":' * 100_000, "nested more than"),
        (b'{"message": ' * 40 + b"1" + b"}" * 40, "nested more than"),
        (b'{"a": "' + b"[" * 40, "not JSON"),
        (b'{"a": "' + b'\\"' * 500_000, "not JSON"),
        (
            b'{"Type": "SubscriptionConfirmation", "SubscribeURL": "https://["}',
            "does not name an object",
        ),
    ],
)
def test_anything_else_is_refused_with_a_sentence(body: bytes, why: str) -> None:
    with pytest.raises(NotificationError, match=why):
        read(body, {})


def test_a_sender_inside_another_one_ends_somewhere() -> None:
    inner: Any = S3
    for _ in range(6):
        inner = {"Type": "Notification", "Message": json.dumps(inner)}
    with pytest.raises(NotificationError):
        read(json.dumps(inner).encode(), {})


def test_brackets_in_a_name_are_no_depth() -> None:
    uri = 's3://models/"' + "[" * (MAX_DEPTH + 5)
    assert read(json.dumps({"uri": uri}).encode(), {}).uris == (uri,)


def test_a_burst_in_one_body_is_cut() -> None:
    uris = [f"s3://models/{number}" for number in range(MAX_URIS + 7)]
    assert len(read(json.dumps({"uri": uris}).encode(), {}).uris) == MAX_URIS


def test_what_is_longer_than_any_key_belongs_to_no_model() -> None:
    fits = "s3://m/" + "a/" * 500
    uris = [fits, "s3://m/" + "a/" * 500_000]
    assert read(json.dumps({"uri": uris}).encode(), {}).uris == (fits,)


@pytest.mark.parametrize(
    "url", ["http://x/", "file:///etc", "https://x/\n", f"https://{'x' * 9999}"]
)
def test_only_what_a_person_could_open_is_shown_to_one(url: str) -> None:
    body = {"Type": "SubscriptionConfirmation", "SubscribeURL": url}
    assert read(json.dumps(body).encode(), {}).confirm == ""


def test_every_folder_above_an_object() -> None:
    assert list(folders_above("s3://m" + "/" * 1000 + "a")) == [
        "s3://m" + "/" * 1000 + "a",
        "s3://m",
    ]
    assert list(folders_above("s3://m/a/1/x")) == [
        "s3://m/a/1/x",
        "s3://m/a/1",
        "s3://m/a",
        "s3://m",
    ]
    assert list(folders_above("nothing")) == []
