"""The cluster's secrets: each made once, all that the charts ask for, and none where others could read it."""

from __future__ import annotations

import asyncssh
from pydantic import SecretStr

from controller.core.crypto import Sealer
from controller.core.settings import TokenSettings
from controller.devcluster import secrets
from tests.argocd import cells
from tests.charts import deployments, test_vendors
from tests.devcluster.machines import Machine

SPACE = "openclaw-cloud"


def made(machine: Machine) -> dict[str, str]:
    return secrets.keep(machine.tools, SPACE, "platform", secrets.platform())


def test_what_was_made_once_is_kept(machine: Machine) -> None:
    first = made(machine)
    machine.told()
    assert made(machine) == first == machine.secret(SPACE, "platform")
    assert [line.split()[1] for line in machine.commands()] == ["get"]


def test_what_is_new_is_added_to_what_was_there(machine: Machine) -> None:
    before = made(machine)
    secrets.keep(machine.tools, SPACE, "platform", secrets.stripe_webhook(lambda: "whsec_1"))
    assert machine.secret(SPACE, "platform") == before | {"STRIPE_WEBHOOK_SECRET": "whsec_1"}


def test_an_endpoint_is_opened_once(machine: Machine) -> None:
    opened: list[int] = []
    for _ in range(2):
        webhook = secrets.stripe_webhook(lambda: opened.append(1) or "whsec_1")  # type: ignore[func-returns-value]
        secrets.keep(machine.tools, SPACE, "platform", webhook)
    assert opened == [1]


def test_no_secret_is_an_argument(machine: Machine) -> None:
    values = made(machine)
    shown = "\n".join(machine.commands())
    assert [key for key, value in values.items() if value in shown] == []


def test_they_are_what_external_secrets_looks_for(machine: Machine) -> None:
    asked = {
        item["remoteRef"]["property"]
        for one in deployments.rendered("dev")
        if one["kind"] == "ExternalSecret"
        for item in one["spec"]["data"]
    }
    given = {*secrets.platform(), *secrets.stripe_webhook(str)}
    assert given == asked


def test_they_are_of_the_form_that_processes_read(machine: Machine) -> None:
    values = made(machine)
    sealed = Sealer(values["SEALING_KEY"]).seal("plain", "box")
    assert Sealer(values["SEALING_KEY"]).open(sealed, "box") == "plain"
    TokenSettings(token_pepper=SecretStr(values["TOKEN_PEPPER"]))
    assert values["STRIPE_API_KEY"].startswith("sk_test_")
    assert values["POSTGRES_PASSWORD"] in values["POSTGRES_DSN"]


def test_the_vendors_get_what_their_pods_name(machine: Machine) -> None:
    ours = made(machine)
    values = secrets.keep(machine.tools, SPACE, "vendors", secrets.vendors(ours))
    named = str(list(test_vendors.of("Deployment").values()))
    assert all(f"'key': '{key}'" in named for key in values)
    writer = asyncssh.import_private_key(ours["GIT_SSH_KEY"])
    assert asyncssh.import_public_key(values["git_writer_public_key"]).public_data == writer.public_data


def test_a_cells_store_finds_its_credential(machine: Machine) -> None:
    (store,) = cells.of("ClusterSecretStore", "local")
    (ref,) = [one["secretRef"] for one in store["spec"]["provider"]["webhook"]["secrets"]]
    ours = made(machine)
    secrets.keep(machine.tools, ref["namespace"], ref["name"], secrets.cell(ours), {"a": "b"})
    assert machine.secret("external-secrets", "cell-reader") == {"token": ours["SECRETS_TOKEN"]}
    assert machine.world("objects")["secret/external-secrets/cell-reader"]["metadata"]["labels"] == {"a": "b"}
