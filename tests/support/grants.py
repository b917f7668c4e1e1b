"""What the clouds answer when they grant credentials, after their own references."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from edge import Reply


def sts_keys(key: str = "ASIAKEY", *, until: datetime | None = None) -> Reply:
    """The answer to AssumeRoleWithWebIdentity; the keys live an hour unless it is said until when."""
    expiration = (until or datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = f"""<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>system:serviceaccount:team:reader</SubjectFromWebIdentityToken>
    <Credentials>
      <SessionToken>session/of+{key}==</SessionToken>
      <SecretAccessKey>secret/of+{key}</SecretAccessKey>
      <Expiration>{expiration}</Expiration>
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
