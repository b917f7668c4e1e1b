"""Deleting and uninstalling, in whatever order."""

from cluster import chart
from stage import MODEL, Stage


def test_an_uninstalled_operator_blocks_nothing(stage: Stage) -> None:
    stage.offer_gpus(4)
    stage.upload(1)
    stage.create(serving={"replicas": 2})
    stage.wait_serving(1)
    kubeconfig = stage.cluster.kubeconfig
    chart.helm(kubeconfig, "uninstall", chart.RELEASE, "--wait")
    try:
        assert stage.status()["serving"] == "1", "the CRD and the Model are kept"
        assert len(stage.pods()) == 2
        stage.kube.custom.delete_namespaced_custom_object(
            "slipway.dev", "v1alpha1", stage.namespace, "models", MODEL
        )
        stage.wait("every pod is gone", lambda: not stage.pods())
        assert not stage.kube.core.list_namespaced_service(stage.namespace).items
        assert not stage.kube.apps.list_namespaced_deployment(stage.namespace).items
    finally:
        chart.install(kubeconfig, "localhost/", "dev", "logLevel=debug")
