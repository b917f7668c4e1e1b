from slipway_operator.api import names


def test_the_names_of_the_children_fit_into_a_dns_label() -> None:
    model = "m" * names.MAX_NAME_LENGTH
    longest = [
        names.version_service(model, 2**63 - 1),
        names.label_service(model, "l" * 15),
        names.pods_service(model),
        names.next_service(model),
        names.spare_next_service(model),
    ]
    assert [name for name in longest if len(name) > 63] == []


def test_a_servable_is_a_label_value_and_tells_its_version() -> None:
    servable = names.servable_id(2**63 - 1, "0123abcd")
    assert servable == "v9223372036854775807-0123abcd"
    assert len(servable) <= 63
    assert names.deployment_name("digits", servable) == f"digits-{servable}"
