"""What the clouds answer when they grant credentials, after their own references."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from edge import Reply


def later(**span: float) -> str:
    """A moment from now, as AWS and Google write it."""
    moment = datetime.now(UTC) + timedelta(**(span or {"hours": 1}))
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def sts_keys(key: str = "ASIAKEY", **span: float) -> Reply:
    """The answer to AssumeRoleWithWebIdentity."""
    return sts_keys_of(key, f"secret/of+{key}", f"session/of+{key}==", **span)


def sts_keys_of(key: str, secret: str, session: str = "session", **span: float) -> Reply:
    """The same, with keys that a real server knows."""
    body = f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>system:serviceaccount:team:reader</SubjectFromWebIdentityToken>
    <Credentials>
      <SessionToken>{session}</SessionToken>
      <SecretAccessKey>{secret}</SecretAccessKey>
      <Expiration>{later(**span)}</Expiration>
      <AccessKeyId>{key}</AccessKeyId>
    </Credentials>
  </AssumeRoleWithWebIdentityResult>
</AssumeRoleWithWebIdentityResponse>"""
    return Reply(body=body.encode())


def sts_error(status: int, code: str) -> Reply:
    """An error of STS."""
    body = f"""<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error>
    <Type>Sender</Type><Code>{code}</Code><Message>the s3cr3t words of the body</Message>
    </Error></ErrorResponse>"""
    return Reply(status, body.encode())


def bearer(token: str, seconds: object = 3600) -> Reply:
    """An OAuth answer."""
    return Reply.document({"access_token": token, "token_type": "Bearer", "expires_in": seconds})
