"""A developer's cluster in k3d: production's charts and Argo CD tree with other values, and stand-ins for the world.

``make cluster`` and ``make cluster-down``. Executables do the work (k3d, docker, kubectl, helm, git); this says which
and in what order. No process of ours imports it.
"""
