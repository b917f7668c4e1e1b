import ssl

import grpc
import pytest

from certificates import Authority
from slipway_server.errors import Code
from slipway_server.frontends.native.context import AbortedError, CallContext


def test_a_deadline_that_has_passed_leaves_no_time_and_none_is_none() -> None:
    assert CallContext("unix:", (), None).time_remaining() is None
    assert CallContext("unix:", (), 0.0).time_remaining() == 0.0
    assert 50 < (CallContext("unix:", (), 60.0).time_remaining() or 0) <= 60


def test_a_certificate_has_grpcs_name_and_form() -> None:
    pem = Authority().issue("client").certificate
    der = ssl.PEM_cert_to_DER_cert(pem.decode())
    context = CallContext("unix:", (), None, der)
    assert context.auth_context() == {"x509_pem_cert": [pem]}
    assert CallContext("unix:", (), None).auth_context() == {}


@pytest.mark.parametrize("status", grpc.StatusCode)
def test_every_status_has_its_number(status: grpc.StatusCode) -> None:
    with pytest.raises(AbortedError) as end:
        CallContext("unix:", (), None).abort(status, "why")
    assert (Code(end.value.code).name, end.value.details) == (status.name, "why")
