"""The S3 server that tests and the demo use."""

import urllib.request
from io import BytesIO
from pathlib import Path

import pytest
import yaml
from minio import Minio
from minio.error import S3Error

from cluster import tools
from cluster.daemons import Daemon, Program
from cluster.paths import REPOSITORY
from cluster.ports import free_ports
from cluster.probes import accepts
from cluster.s3 import READY_SECONDS, S3Server


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


def test_the_server_of_the_quick_start_takes_uploads_with_its_arguments_and_keys(
    tmp_path: Path,
) -> None:
    text = (REPOSITORY / "examples/quickstart/s3.yaml").read_text()
    objects = {one["kind"]: one for one in yaml.safe_load_all(text)}
    (container,) = objects["Deployment"]["spec"]["template"]["spec"]["containers"]
    account = objects["Secret"]["stringData"]
    (port,) = free_ports(1)
    data = tmp_path / "data"
    data.mkdir()
    mine = {"--port=:9000": f"--port=127.0.0.1:{port}", "/data": str(data)}
    assert mine.keys() < set(container["args"])
    arguments = (mine.get(word, word) for word in container["args"])
    server = Daemon(
        Program("s3", (str(tools.find("versitygw")), *arguments), account),
        tmp_path,
        dies_with_parent=True,
    )
    server.start()
    try:
        server.wait_ready(
            lambda: accepts("127.0.0.1", port), within=READY_SECONDS, sign="taking connections"
        )
        client = Minio(
            f"127.0.0.1:{port}",
            access_key=account["ROOT_ACCESS_KEY_ID"],
            secret_key=account["ROOT_SECRET_ACCESS_KEY"],
            secure=False,
        )
        client.make_bucket("models")
        client.put_object("models", "digits/1/a", BytesIO(b"abc"), 3)
        assert client.get_object("models", "digits/1/a").read() == b"abc"
        probe = container["readinessProbe"]["httpGet"]["path"]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{probe}", timeout=60) as answer:
            assert answer.status == 200
    finally:
        server.stop()
