"""Questions about the caller: everybody who reaches this API may do everything, and is told so."""

from __future__ import annotations

from typing import Any

from controller.sandbox.cluster.resources import Object

USER = "sandbox"
_RIGHTS, _WHO = "authorization.k8s.io/v1", "authentication.k8s.io/v1"
_TYPES = {
    "selfsubjectaccessreviews": {"apiVersion": _RIGHTS, "kind": "SelfSubjectAccessReview"},
    "selfsubjectrulesreviews": {"apiVersion": _RIGHTS, "kind": "SelfSubjectRulesReview"},
    "selfsubjectreviews": {"apiVersion": _WHO, "kind": "SelfSubjectReview"},
}


def answer(plural: str, body: Any) -> Object | None:
    """The review with its status; None for a resource that is no review.

    Whatever is asked, the answer is the same: a body that could not be read does not matter.
    """
    answers: dict[str, Object] = {
        "selfsubjectaccessreviews": {"allowed": True, "reason": "the sandbox refuses nobody"},
        "selfsubjectrulesreviews": {
            "incomplete": False,
            "resourceRules": [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}],
            "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
        },
        "selfsubjectreviews": {"userInfo": {"username": USER, "groups": ["system:masters"]}},
    }
    if plural not in answers:
        return None
    asked = body if isinstance(body, dict) else {}
    return {**_TYPES[plural], "metadata": {}, "spec": asked.get("spec") or {}, "status": answers[plural]}
