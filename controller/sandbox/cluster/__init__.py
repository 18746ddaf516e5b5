"""The cluster's stand-in: a Kubernetes API over one store, Argo CD's sync loop, and a kubelet for local processes."""
