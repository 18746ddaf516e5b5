"""The shapes of secrets: each is found, wherever it stands, and what only looks alike is not."""

from __future__ import annotations

import pytest

from controller.gitops import leaks

SECRETS = {
    "a Telegram bot token": "123456789:AAF" + "x" * 32,
    "a secret key of Stripe's form": "sk_live_" + "a1" * 12,
    "a webhook secret of Stripe's form": "whsec_" + "a" * 32,
    "a model provider's key": "sk-proj-" + "a" * 32,
    "a GitHub token": "ghp_" + "a" * 36,
    "a GitLab token": "glpat-" + "a" * 20,
    "a Slack token": "xoxb-" + "1" * 12,
    "an AWS key": "AKIA" + "A" * 16,
    "one of the platform's own tokens": "oc_proxy_01kb0t7m8c9d0e1f2g3h4j5k6m_" + "a" * 43,
    "a JSON web token": "eyJ" + "a" * 20 + "." + "b" * 20 + "." + "c" * 20,
    "a private key": "-----BEGIN OPENSSH " + "PRIVATE KEY-----",
    "a password in an address": "https://ops:" + "hunter2@git.example/x.git",
}


@pytest.mark.parametrize("shape", SECRETS)
@pytest.mark.parametrize("around", ["{}", 'key: "{}"', "# see {} there", "a={};b"])
def test_a_secret_is_found_in_its_line_and_called_by_its_shape(shape: str, around: str) -> None:
    assert list(leaks.find(b"first\n" + around.format(SECRETS[shape]).encode() + b"\nlast")) == [(2, shape)]


def test_every_shape_has_an_example() -> None:
    assert set(SECRETS) == set(leaks.SHAPES)


@pytest.mark.parametrize(
    "harmless",
    [
        '  id: "01kb0t7m8c9d0e1f2g3h4j5k6m"',
        "image: registry.example/box@sha256:" + "a" * 64,
        "at 2026-11-25T03:14:32 and 10:20",
        "risk_management_of_everything",
        "git+https://git.example/openclaw-cloud@main",
        "https://ops@git.example/x.git",
        "ask-anything-you-want-to-know",
    ],
)
def test_what_only_looks_alike_is_no_secret(harmless: str) -> None:
    assert list(leaks.find(harmless.encode())) == []
