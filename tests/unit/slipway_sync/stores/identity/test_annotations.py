"""What a ServiceAccount is in a cloud, by its annotations."""

from collections.abc import Mapping

import pytest

from slipway_sync.stores import SourceError, StoreOptions
from slipway_sync.stores.identity import AnnotationError, federated, federation
from slipway_sync.stores.identity.aws import role

ARN = "arn:aws:iam::123456789012:role/team/reader"
AWS = {"eks.amazonaws.com/role-arn": ARN}
PROVIDER = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q"
EMAIL = "reader@project.iam.gserviceaccount.com"
ISSUER = "https://container.googleapis.com/v1/projects/prod/locations/europe-west1/clusters/c"
GKE = f"identitynamespace:prod.svc.id.goog:{ISSUER}"
CLIENT = "11111111-2222-3333-4444-555555555555"
AZURE = {
    "azure.workload.identity/client-id": CLIENT,
    "azure.workload.identity/tenant-id": "contoso.onmicrosoft.com",
}
AZURE_AUDIENCE = "api://AzureADTokenExchange"


@pytest.mark.parametrize(
    ("scheme", "annotations", "issuer", "audience", "settings"),
    [
        ("s3", AWS, "", "sts.amazonaws.com", {"role-arn": ARN}),
        ("s3", AWS | {"eks.amazonaws.com/audience": "minio"}, "", "minio", {"role-arn": ARN}),
        (
            "s3",
            AWS | {"eks.amazonaws.com/sts-regional-endpoints": "false"},
            "",
            "sts.amazonaws.com",
            {"role-arn": ARN, "sts-regional-endpoints": "false"},
        ),
        (
            "s3",
            AWS | {"slipway.dev/sts-endpoint": "https://sts.storage:9000/"},
            "",
            "sts.amazonaws.com",
            {"role-arn": ARN, "sts-endpoint": "https://sts.storage:9000"},
        ),
        (
            "gs",
            {"slipway.dev/gcp-audience": PROVIDER, "iam.gke.io/gcp-service-account": EMAIL},
            ISSUER,
            f"https:{PROVIDER}",
            {"audience": PROVIDER, "service-account": EMAIL},
        ),
        (
            "gs",
            {"slipway.dev/gcp-audience": f"https:{PROVIDER}"},
            "",
            f"https:{PROVIDER}",
            {"audience": PROVIDER},
        ),
        ("gs", {}, ISSUER, "prod.svc.id.goog", {"audience": GKE}),
        (
            "az",
            AZURE,
            "",
            AZURE_AUDIENCE,
            {"client-id": CLIENT, "tenant-id": "contoso.onmicrosoft.com"},
        ),
        (
            "az",
            AZURE | {"slipway.dev/azure-authority-host": "https://login.microsoftonline.us/"},
            "",
            AZURE_AUDIENCE,
            {
                "client-id": CLIENT,
                "tenant-id": "contoso.onmicrosoft.com",
                "authority-host": "https://login.microsoftonline.us",
            },
        ),
    ],
)
def test_annotations_say_who_it_is(
    scheme: str,
    annotations: Mapping[str, str],
    issuer: str,
    audience: str,
    settings: Mapping[str, str],
) -> None:
    found = federation(scheme, annotations, issuer=issuer)
    assert found.audience == audience
    assert found.settings == tuple(sorted(settings.items()))


@pytest.mark.parametrize(
    ("scheme", "annotations", "sentence"),
    [
        ("s3", {}, "has no annotation eks.amazonaws.com/role-arn: set it to the ARN"),
        ("s3", {"eks.amazonaws.com/role-arn": "reader"}, "eks.amazonaws.com/role-arn that is not"),
        ("s3", {"eks.amazonaws.com/role-arn": f"{ARN}\nx"}, "role-arn that is not the ARN"),
        ("s3", AWS | {"slipway.dev/sts-endpoint": "sts:9000"}, "sts-endpoint that is no http"),
        ("s3", AWS | {"slipway.dev/sts-endpoint": "http://u:p@sts"}, "sts-endpoint that is no"),
        ("gs", {}, "has no annotation slipway.dev/gcp-audience and the cluster is none of GKE's"),
        ("gs", {"slipway.dev/gcp-audience": "//example.com/p"}, "gcp-audience that is neither"),
        (
            "gs",
            {"slipway.dev/gcp-audience": PROVIDER, "iam.gke.io/gcp-service-account": "x/../y"},
            "iam.gke.io/gcp-service-account that is not a service account's address",
        ),
        ("az", {}, "has no annotation azure.workload.identity/client-id: set it to"),
        (
            "az",
            {"azure.workload.identity/client-id": CLIENT},
            "has no annotation azure.workload.identity/tenant-id: set it to the id of its tenant",
        ),
        ("az", AZURE | {"azure.workload.identity/tenant-id": "a/b"}, "tenant-id that is not"),
    ],
)
def test_what_is_missing_or_wrong_is_named(
    scheme: str, annotations: Mapping[str, str], sentence: str
) -> None:
    with pytest.raises(AnnotationError) as caught:
        federation(scheme, annotations, issuer="https://kubernetes.default.svc")
    assert sentence in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "options", "sts"),
    [
        ({}, {}, "https://sts.us-east-1.amazonaws.com"),
        ({}, {"region": "eu-west-3"}, "https://sts.eu-west-3.amazonaws.com"),
        ({}, {"region": "cn-north-1"}, "https://sts.cn-north-1.amazonaws.com.cn"),
        ({"sts-regional-endpoints": "false"}, {}, "https://sts.amazonaws.com"),
        (
            {"sts-endpoint": "https://sts.storage"},
            {"endpoint": "https://rgw.storage"},
            "https://sts.storage",
        ),
    ],
)
def test_the_token_service_is_the_clouds_or_the_one_that_is_named(
    settings: Mapping[str, str], options: Mapping[str, str], sts: str
) -> None:
    found = role({"role-arn": ARN} | settings, StoreOptions(**options))  # type: ignore[arg-type]
    assert found.sts == sts


@pytest.mark.parametrize(
    ("endpoint", "annotations", "audience", "sts"),
    [
        ("", {}, "sts.amazonaws.com", None),
        ("https://s3.eu-west-1.amazonaws.com", {}, "sts.amazonaws.com", None),
        ("http://minio:9000/", {}, "http://minio:9000", "http://minio:9000"),
        # Whoever gets a token may use it where it is good for: so it is good nowhere else.
        (
            "http://minio:9000",
            {"eks.amazonaws.com/audience": "sts.amazonaws.com"},
            "http://minio:9000",
            "http://minio:9000",
        ),
        (
            "https://sts.amazonaws.com.example.com",
            {},
            "https://sts.amazonaws.com.example.com",
            "https://sts.amazonaws.com.example.com",
        ),
        (
            "http://minio:9000",
            {"slipway.dev/sts-endpoint": "http://sts:9001", "eks.amazonaws.com/audience": "minio"},
            "minio",
            "http://sts:9001",
        ),
    ],
)
def test_a_token_for_a_place_that_the_model_names_is_good_for_that_alone(
    endpoint: str, annotations: Mapping[str, str], audience: str, sts: str | None
) -> None:
    found = federation("s3", AWS | annotations, endpoint=endpoint)
    assert found.audience == audience
    assert dict(found.settings).get("sts-endpoint") == sts


def test_a_region_cannot_lead_elsewhere() -> None:
    with pytest.raises(SourceError, match="region"):
        role({"role-arn": ARN}, StoreOptions(region="x.example.com/"))


@pytest.mark.parametrize("uri", ["s3://b/m", "gs://b/m", "az://b/m", "https://host/m"])
def test_an_identity_without_its_settings_is_refused(uri: str) -> None:
    async def token() -> str:
        return ""

    with pytest.raises(SourceError, match="the identity lacks"):
        federated(uri, {}, token, StoreOptions())
