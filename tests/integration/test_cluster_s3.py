"""The S3 server that tests and the demo use."""

from io import BytesIO
from pathlib import Path

import pytest
from minio.error import S3Error

from cluster.probes import accepts
from cluster.s3 import S3Server


def test_keeps_port_keys_and_data_over_a_stop(tmp_path: Path) -> None:
    with S3Server.start(tmp_path) as s3:
        s3.create_bucket("models")
        s3.create_bucket("models")
        s3.client().put_object("models", "digits/1/a", BytesIO(b"abc"), 3)
        endpoint = s3.endpoint
        s3.stop()
        assert not accepts(s3.layout.address, s3.layout.port)
        s3.resume()
        assert s3.endpoint == endpoint
        assert s3.client().get_object("models", "digits/1/a").read() == b"abc"
    assert not accepts(s3.layout.address, s3.layout.port)


def test_changed_credentials_shut_the_old_ones_out(tmp_path: Path) -> None:
    with S3Server.start(tmp_path) as s3:
        s3.create_bucket("models")
        outdated = s3.client()
        before = s3.change_credentials()
        with pytest.raises(S3Error) as refusal:
            outdated.list_buckets()
        assert refusal.value.response.status == 403
        assert [bucket.name for bucket in s3.client().list_buckets()] == ["models"]
        s3.change_credentials(before)
        assert [bucket.name for bucket in outdated.list_buckets()] == ["models"]


def test_two_side_by_side_share_nothing(tmp_path: Path) -> None:
    with S3Server.start(tmp_path / "a") as one, S3Server.start(tmp_path / "b") as two:
        one.create_bucket("models")
        assert two.client().list_buckets() == []
