"""Whom a box may talk to: the rules on its network policies."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

from controller.domain.states import State
from controller.gitops.objects import Box, Object, Rule, items, mapping, maps, of_kind, title

_PRIVATE = [
    ipaddress.IPv4Network(cidr)
    for cidr in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "168.63.129.16/32", "169.254.0.0/16",
        "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/4", "240.0.0.0/4",
    )
]  # fmt: skip
"""No box reaches these: private, shared, loopback, link-local and metadata, benchmarks, multicast and reserved."""

_PLATFORM = {"api", "token-proxy", "browser-proxy", "telegram"}
"""The last is a Bot API server of our own, in a cell that names one."""
_DNS = ({"kubernetes.io/metadata.name": "kube-system"}, {"k8s-app": "kube-dns"})


def _default_deny(objects: list[Object], box: Box) -> Iterator[str]:
    if box.state == State.DESTROYED:
        return
    for side in ("Ingress", "Egress"):
        if not any(_denies(policy, side) for policy in of_kind(objects, "NetworkPolicy")):
            yield f"no NetworkPolicy of {box.namespace} denies all {side.lower()} of all pods"


def _denies(policy: Object, side: str) -> bool:
    spec = mapping(policy, "spec")
    everyone = spec.get("podSelector") == {}
    return everyone and side in items(spec, "policyTypes") and not spec.get(side.lower())


def _no_ingress(objects: list[Object], _: Box) -> Iterator[str]:
    for policy in of_kind(objects, "NetworkPolicy"):
        if items(policy, "spec", "ingress"):
            yield f"{title(policy)} lets somebody in: nothing may call a box"


def _egress(objects: list[Object]) -> Iterator[tuple[str, dict[str, Any]]]:
    for policy in of_kind(objects, "NetworkPolicy"):
        for rule in maps(policy, "spec", "egress"):
            yield title(policy), rule


def _peers(objects: list[Object]) -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    for name, rule in _egress(objects):
        for peer in maps(rule, "to"):
            yield name, rule, peer


def _bounded_egress(objects: list[Object], _: Box) -> Iterator[str]:
    for name, rule in _egress(objects):
        if not items(rule, "to") or not items(rule, "ports"):
            yield f"{name} has an egress rule without destinations or without ports, which opens all of them"


def _private_ranges(objects: list[Object], _: Box) -> Iterator[str]:
    for name, _rule, peer in _peers(objects):
        block = mapping(peer, "ipBlock")
        if not block:
            continue
        try:
            network = ipaddress.ip_network(str(block.get("cidr")))
            closed = [ipaddress.ip_network(str(cidr)) for cidr in items(block, "except")]
        except ValueError:
            yield f"{name} has an ipBlock that is no range of addresses"
            continue
        if isinstance(network, ipaddress.IPv6Network):
            yield f"{name} opens IPv6, whose private ranges nothing here closes"
            continue
        open_to = [private for private in _PRIVATE if private.overlaps(network) and not _covered(private, closed)]
        if open_to:
            yield f"{name} opens the private range {', '.join(map(str, open_to))}"


def _covered(wanted: ipaddress.IPv4Network, closed: list[ipaddress.IPv4Network | ipaddress.IPv6Network]) -> bool:
    return any(isinstance(cidr, ipaddress.IPv4Network) and wanted.subnet_of(cidr) for cidr in closed)


def _web_port(objects: list[Object], _: Box) -> Iterator[str]:
    for name, rule, peer in _peers(objects):
        ports = maps(rule, "ports")
        if "ipBlock" in peer and any(port != {"protocol": "TCP", "port": 443} for port in ports):
            yield f"{name} opens more of the internet than TCP 443"


def _neighbours(objects: list[Object], box: Box) -> Iterator[str]:
    for name, _rule, peer in _peers(objects):
        if "ipBlock" not in peer and not _is_dns(peer) and not _is_platform(peer, box):
            yield f"{name} opens a way to pods other than the cluster's DNS and the platform's own services"


def _dns_port(objects: list[Object], _: Box) -> Iterator[str]:
    for name, rule, peer in _peers(objects):
        if _is_dns(peer) and any(port.get("port") != 53 or port.get("endPort") for port in maps(rule, "ports")):
            yield f"{name} opens more of the cluster's DNS pods than port 53"


def _is_dns(peer: dict[str, Any]) -> bool:
    return _selects(peer) == _DNS


def _is_platform(peer: dict[str, Any], box: Box) -> bool:
    where, who = _selects(peer)
    return where == {"kubernetes.io/metadata.name": box.platform_namespace} and (
        set(who) == {"app.kubernetes.io/name"} and who["app.kubernetes.io/name"] in _PLATFORM
    )


def _selects(peer: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The labels by which a peer chooses namespace and pod; nothing where it chooses by anything else."""
    where, who = mapping(peer, "namespaceSelector"), mapping(peer, "podSelector")
    if set(where) != {"matchLabels"} or set(who) != {"matchLabels"}:
        return {}, {}
    return mapping(where, "matchLabels"), mapping(who, "matchLabels")


RULES: dict[str, Rule] = {
    "default-deny": _default_deny,
    "no-ingress": _no_ingress,
    "bounded-egress": _bounded_egress,
    "private-egress": _private_ranges,
    "web-port": _web_port,
    "neighbours": _neighbours,
    "dns-port": _dns_port,
}
"""By name: the rules on network policies."""
