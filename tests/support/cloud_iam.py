"""A real S3 server with a real token service: versitygw and its IAM, which believe one Kubernetes cluster.

The token service checks tokens as a cloud does: it fetches the issuer's OpenID documents over https,
verifies signature, audience and subject, and grants keys for a role. It fetches them from public
addresses only, on port 443; so it lives in a network of its own, where the issuer has such an address.
Of the outside it sees two sockets.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlencode

import httpx
from kubernetes import client
from minio import Minio

import oidc_documents
from certificates import Authority
from cluster import tools
from cluster.daemons import Daemon, Program
from cluster.ports import free_ports
from cluster.probes import accepts
from edge import Call, Edge, Reply

ISSUER: Final = "kubernetes.default.svc"
"""As the control plane's own flag says."""
ROLE: Final = "arn:aws:iam::000000000000:role/reader"
AUDIENCE: Final = "sts.amazonaws.com"
_PROVIDER: Final = f"arn:aws:iam::000000000000:oidc-provider/{ISSUER}"
_ADDRESS: Final = "198.51.100.1"
_READS: Final = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": ["s3:GetObject", "s3:ListBucket"], "Resource": "*"}
    ],
}


class CloudIam:
    """`with CloudIam(directory, api, subject) as cloud:` trusts one subject of a cluster with `ROLE`.

    Attributes:
        sts: The token service, reachable over TCP; its `calls` are what it was asked.
        endpoint: Of the S3 server.
    """

    def __init__(self, directory: Path, api: client.ApiClient, subject: str) -> None:
        """Args:
        directory: Takes data, sockets and logs; its path is short.
        api: Of the cluster that issues the tokens.
        subject: `system:serviceaccount:NAMESPACE:NAME`.
        """
        self._directory = directory
        self._api = api
        self._subject = subject
        self._public, self._private = directory / "iam.sock", directory / "private.sock"
        self._port = free_ports(1)[0]
        self.endpoint = f"http://127.0.0.1:{self._port}"
        self.sts = Edge(self._forward)
        (directory / "iam").mkdir(parents=True)
        (directory / "data").mkdir()
        self._write_documents()
        keys = {"ROOT_ACCESS_KEY_ID": "root", "ROOT_SECRET_ACCESS_KEY": "root-secret"}
        self._daemons = [
            Daemon(Program("iam", self._iam(), keys), directory, dies_with_parent=True),
            Daemon(Program("s3", self._s3(), keys), directory, dies_with_parent=True),
        ]

    def client(self) -> Minio:
        """For what tests do to the store by hand."""
        return Minio(
            f"127.0.0.1:{self._port}", access_key="root", secret_key="root-secret", secure=False,
            region="us-east-1",
        )  # fmt: skip

    def end_sessions(self) -> None:
        """Let all keys that were granted end now, however long they were granted for."""
        path = self._directory / "iam" / "iam.json"
        held = json.loads(path.read_text())
        past = (datetime.now(UTC) - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
        for session in held["sessions"].values():
            session["expiration"] = past
        draft = path.with_name("iam.json.edited")
        draft.write_text(json.dumps(held))
        draft.replace(path)

    def __enter__(self) -> Self:
        iam, s3 = self._daemons
        iam.start()
        iam.wait_ready(self._private.exists, within=20, sign="listening")
        s3.start()
        s3.wait_ready(
            lambda: accepts("127.0.0.1", self._port), within=20, sign="taking connections"
        )
        self.sts.__enter__()
        self._set_up()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.sts.__exit__(kind, error, trace)
        for daemon in reversed(self._daemons):
            daemon.stop()

    def _set_up(self) -> None:
        thumbprint = hashlib.sha1(self._authority_der, usedforsecurity=False).hexdigest()
        self._administer(
            Action="CreateOpenIDConnectProvider",
            Url=f"https://{ISSUER}",
            **{"ClientIDList.member.1": AUDIENCE, "ThumbprintList.member.1": thumbprint},
        )
        trust = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Federated": _PROVIDER},
                    "Action": "sts:AssumeRoleWithWebIdentity",
                    "Condition": {
                        "StringEquals": {
                            f"{ISSUER}:sub": self._subject,
                            f"{ISSUER}:aud": AUDIENCE,
                        }
                    },
                }
            ],
        }
        self._administer(
            Action="CreateRole", RoleName="reader", AssumeRolePolicyDocument=json.dumps(trust)
        )
        self._administer(
            Action="PutRolePolicy",
            RoleName="reader",
            PolicyName="reads",
            PolicyDocument=json.dumps(_READS),
        )

    def _write_documents(self) -> None:
        pages = self._directory / "pages"
        (pages / ".well-known").mkdir(parents=True)
        (pages / "openid/v1").mkdir(parents=True)
        # The cluster's own keys; only their place is another than the cluster says.
        openid = client.OpenidApi(self._api)
        keys = openid.get_service_account_issuer_open_id_keyset(_preload_content=False)
        (pages / "openid/v1/jwks").write_bytes(keys.data)
        document = {"issuer": f"https://{ISSUER}", "jwks_uri": f"https://{ISSUER}/openid/v1/jwks"}
        (pages / ".well-known/openid-configuration").write_text(json.dumps(document))
        authority = Authority()
        pair = authority.issue(ISSUER, names=(ISSUER,))
        self._authority_der = authority.der
        chain = self._directory / "issuer.pem"
        chain.write_bytes(pair.certificate + authority.pem + pair.key)
        (self._directory / "hosts").write_text(f"{_ADDRESS} {ISSUER}\n")

    def _iam(self) -> tuple[str, ...]:
        here = self._directory
        script = (
            f"ip link set lo up && ip addr add {_ADDRESS}/32 dev lo && "
            f"mount --bind {here}/hosts /etc/hosts && "
            f"{{ {sys.executable} {oidc_documents.__file__} {_ADDRESS} {here}/pages {here}/issuer.pem & "
            f"exec {tools.find('versitygw')} --port={self._public} --region=us-east-1 "
            f"iam --dir={here}/iam --private-ports={self._private}; }}"
        )
        own = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child")
        return (*own, "sh", "-c", script)

    def _s3(self) -> tuple[str, ...]:
        return (
            str(tools.find("versitygw")),
            f"--port=127.0.0.1:{self._port}",
            "--region=us-east-1",
            f"--iam-standalone-endpoint={self._private}",
            "posix",
            str(self._directory / "data"),
        )

    def _forward(self, call: Call) -> Reply:
        answer = self._send(call.body, {"Content-Type": call.headers.get("content-type", "")})
        return Reply(answer.status_code, answer.content)

    def _send(self, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        transport = httpx.HTTPTransport(uds=str(self._public))
        with httpx.Client(transport=transport, trust_env=False) as asking:
            return asking.post("http://iam/", content=body, headers=dict(headers))

    def _administer(self, **form: str) -> None:
        body = urlencode({"Version": "2010-05-08", **form}).encode()
        answer = self._send(body, _signed(body))
        assert answer.status_code == 200, answer.text


def _signed(body: bytes) -> dict[str, str]:
    """Headers of a request to IAM, signed with the root keys as AWS's reference says."""
    moment = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{moment[:8]}/us-east-1/iam/aws4_request"
    kind = "application/x-www-form-urlencoded"
    digest = hashlib.sha256(body).hexdigest()
    names = "content-type;host;x-amz-content-sha256;x-amz-date"
    headers = f"content-type:{kind}\nhost:iam\nx-amz-content-sha256:{digest}\nx-amz-date:{moment}\n"
    request = f"POST\n/\n\n{headers}\n{names}\n{digest}"
    text = f"AWS4-HMAC-SHA256\n{moment}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = b"AWS4root-secret"
    for part in (*scope.split("/"), text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return {
        "Content-Type": kind,
        "X-Amz-Date": moment,
        "X-Amz-Content-Sha256": digest,
        "Authorization": f"AWS4-HMAC-SHA256 Credential=root/{scope}, SignedHeaders={names}, "
        f"Signature={key.hex()}",
    }
