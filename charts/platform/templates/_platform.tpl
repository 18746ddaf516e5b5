{{/* Our processes as files/processes.yaml has them, and a watcher for each other cell: the same, but for who it is there. */}}
{{- define "platform.processes" -}}
{{- $all := .Files.Get "files/processes.yaml" | fromYaml }}
{{- range $cell, $_ := .Values.watchers }}
{{- if eq $cell $.Values.settings.cell }}{{ fail "settings.cell has its own watcher and is not named in watchers" }}{{ end }}
{{- $kubeconfig := printf "KUBECONFIG_%s" ($cell | upper | replace "-" "_") }}
{{- $egress := append (without $all.watcher.egress "kubernetes") (printf "cell/%s" $cell) }}
{{- $other := dict "command" "watcher" "cell" $cell "cells" $kubeconfig "egress" $egress }}
{{- $_ := set $all (printf "watcher-%s" $cell) (merge $other (omit $all.watcher "cluster")) }}
{{- end }}
{{- $all | toYaml }}
{{- end }}

{{/* The private ranges, as no traffic to the internet may reach them: the same as charts/box closes to boxes. */}}
{{- define "platform.private" -}}
[0.0.0.0/8, 10.0.0.0/8, 100.64.0.0/10, 127.0.0.0/8, 168.63.129.16/32, 169.254.0.0/16, 172.16.0.0/12, 192.0.0.0/24, 192.168.0.0/16, 198.18.0.0/15, 224.0.0.0/4, 240.0.0.0/4]
{{- end }}

{{/* The egress rules of a pod, DNS first. Takes a list: the root, and the kinds of destinations. */}}
{{- define "platform.egress" }}
{{- $root := index . 0 }}
- to: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: kube-system}}, podSelector: {matchLabels: {k8s-app: kube-dns}}}]
  ports: [{protocol: UDP, port: 53}, {protocol: TCP, port: 53}]
{{- range $kind := index . 1 }}
{{- $to := get $root.Values.destinations $kind }}
{{- if hasPrefix "cell/" $kind }}
{{- $to = get $root.Values.watchers (trimPrefix "cell/" $kind) }}
{{- end }}
{{- if eq $kind "nango" }}
{{- if $root.Values.nango }}
- to: [{podSelector: {matchLabels: {app.kubernetes.io/name: nango}}}]
  ports: [{protocol: TCP, port: http}]
{{- end }}
{{- else if $to }}
- to:
    {{- if get ($root.Values.stores | default dict) $kind }}
    - podSelector: {matchLabels: {app.kubernetes.io/name: {{ $kind }}}}
    {{- else }}
    {{- range $to.cidrs }}
    - ipBlock: {cidr: {{ . }}}
    {{- else }}
    - ipBlock:
        cidr: 0.0.0.0/0
        except: {{ concat (include "platform.private" $root | fromYamlArray) $root.Values.blocked_cidrs | toJson }}
    {{- end }}
    {{- end }}
  ports: [{{ range $at, $port := $to.ports }}{{ if $at }}, {{ end }}{protocol: TCP, port: {{ $port }}}{{ end }}]
{{- end }}
{{- end }}
{{- end }}

{{/* Who may call a process, as peers. Takes a list: the root, the process and what files/processes.yaml says of it. */}}
{{- define "platform.callers" }}
{{- $root := index . 0 }}
{{- $process := index . 1 }}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ $root.Values.monitoring_namespace }}}}
{{- range (index . 2).callers }}
{{- if eq . "boxes" }}
- namespaceSelector: {matchExpressions: [{key: openclaw.cloud/box, operator: Exists}]}
{{- else if eq . "external-secrets" }}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ $root.Values.external_secrets_namespace }}}}
{{- else if eq . "nango" }}
{{- if $root.Values.nango }}
- podSelector: {matchLabels: {app.kubernetes.io/name: nango}}
{{- end }}
{{- else if $root.Values.ingress }}
- namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: {{ $root.Values.ingress.namespace }}}}
{{- end }}
{{- end }}
{{- if get $root.Values.node_ports $process }}
# A node's port: the caller's address may be anybody's, or the node's own.
- ipBlock: {cidr: 0.0.0.0/0}
{{- end }}
{{- end }}

{{/* What every container of ours may do: nothing. */}}
{{- define "platform.confined" -}}
{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {drop: [ALL]}}
{{- end }}
{{- define "platform.account" -}}
{runAsNonRoot: true, runAsUser: 10001, runAsGroup: 10001, fsGroup: 10001, seccompProfile: {type: RuntimeDefault}}
{{- end }}
{{- define "platform.resources" -}}
{requests: {cpu: 100m, memory: 192Mi, ephemeral-storage: 64Mi}, limits: {cpu: "1", memory: 512Mi, ephemeral-storage: 3Gi}}
{{- end }}

{{/* What has to be there before the migrations run, and so before everything else. */}}
{{- define "platform.groundwork" -}}
{argocd.argoproj.io/sync-wave: "-2"}
{{- end }}

{{/* The Secret of a process. Takes a list: the root and the process. Its version is in its name: a new one is a new pod. */}}
{{- define "platform.secret" -}}
platform-{{ index . 1 }}-v{{ (index . 0).Values.secrets.version | int }}
{{- end }}

{{/* With what the kubelet pulls images; a field of a ServiceAccount. */}}
{{- define "platform.pull" }}
{{- with .Values.image_pull_secret }}
imagePullSecrets: [{name: {{ . }}}]
{{- end }}
{{- end }}

{{/* The names of a process's secrets, as JSON. Takes a list: the root and what files/processes.yaml says of the process. */}}
{{- define "platform.secrets" -}}
{{- $remote := (index . 0).Values.settings.git_remote }}
{{- $scheme := regexFind "^[a-z]+://" $remote | trimSuffix "://" | default "ssh" }}
{{- $push := get ((index . 1).push | default dict) $scheme }}
{{- $sign := and (index . 0).Values.secrets.signing (index . 1).sign }}
{{- $forge := and (has (index . 0).Values.settings.forge_kind (list "github" "gitlab")) (index . 1).forge }}
{{- $cache := and (index . 0).Values.secrets.cache (index . 1).cache }}
{{- $llm := (ternary (index . 1).several (index . 1).direct (not (empty (index . 0).Values.settings.llm_catalog)) | default dict).secrets | default list }}
{{- $beside := and (index . 1).several (include "platform.translated" (index . 0)) "TRANSLATOR_TOKEN" }}
{{- concat (index . 1).secrets $llm (list $beside $push $sign $forge $cache | compact) | toJson }}
{{- end }}

{{/* The secret with the kubeconfig of other cells, or of the one that is the process's. Takes what platform.secrets does. */}}
{{- define "platform.cells" -}}
{{- if or (index . 1).cell (index . 0).Values.destinations.cells }}{{ with (index . 1).cells }}{{ . }}{{ end }}{{ end }}
{{- end }}

{{/* Not empty if the catalog has a provider that the translator speaks to. */}}
{{- define "platform.translated" -}}
{{- range (.Values.settings.llm_catalog | default dict).providers }}{{ if ne (.wire | default "openai") "openai" }}yes{{ end }}{{ end }}
{{- end }}

{{/* The ConfigMap with the catalog. Its content is in its name: a change is a new pod, of the proxy and the translator at once. */}}
{{- define "platform.catalog" -}}
llm-catalog-{{ toYaml .Values.settings.llm_catalog | sha256sum | trunc 10 }}
{{- end }}

{{/* The variable LLM_CATALOG. */}}
{{- define "platform.catalog_variable" -}}
- {name: LLM_CATALOG, valueFrom: {configMapKeyRef: {name: {{ include "platform.catalog" . }}, key: catalog.yaml}}}
{{- end }}

{{/* The variables that a process is told if there is such a value. Takes a list: the root, and their names. */}}
{{- define "platform.may" }}
{{- $settings := (index . 0).Values.settings }}
{{- range $may := index . 1 }}
{{- $value := get $settings (lower $may) }}
{{- if and (hasKey $settings (lower $may)) (not (kindIs "invalid" $value)) }}
- {name: {{ $may }}, value: {{ ternary $value (toJson $value) (kindIs "string" $value) | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* The names of Nango's secrets, as JSON. NANGO_ENCRYPTION_KEY can never be changed. */}}
{{- define "platform.nango_secrets" -}}
["NANGO_DB_PASSWORD", "RECORDS_DATABASE_URL", "NANGO_ENCRYPTION_KEY", "NANGO_DASHBOARD_USERNAME", "NANGO_DASHBOARD_PASSWORD"]
{{- end }}
