{{/* "yes" while there is anything to render: a destroyed box leaves nothing behind, and Argo CD prunes it. */}}
{{- define "box.exists" -}}
{{- if ne .Values.spec.state "destroyed" }}yes{{ end -}}
{{- end }}

{{- define "box.id" -}}
{{ .Values.metadata.id }}
{{- end }}

{{- define "box.namespace" -}}
box-{{ .Values.metadata.id }}
{{- end }}

{{/* Labels of every object. None of them changes in a box's life: the Deployment's selector is made of them. */}}
{{- define "box.labels" -}}
app.kubernetes.io/name: agent
app.kubernetes.io/part-of: openclaw-cloud
openclaw.cloud/box: {{ include "box.id" . | quote }}
{{- end }}

{{- define "box.selector" -}}
app.kubernetes.io/name: agent
openclaw.cloud/box: {{ include "box.id" . | quote }}
{{- end }}

{{/* Everything but the volume and the Deployment goes one wave earlier; there are two waves, and no more. */}}
{{- define "box.groundwork" -}}
argocd.argoproj.io/sync-wave: "-1"
{{- end }}

{{- define "box.replicas" -}}
{{- if has .Values.spec.state (list "standby" "active") }}1{{ else }}0{{ end -}}
{{- end }}

{{/* The resources of the plan and the box's own volume, ops' overrides winning, as YAML of mebibytes, milli-CPUs and gibibytes. */}}
{{- define "box.resources" -}}
{{- $plans := .Files.Get "files/plans.yaml" | fromYaml }}
{{- $resources := get $plans .Values.spec.plan | required (printf "files/plans.yaml has no plan %q" .Values.spec.plan) }}
{{- $resources = set $resources "volume_gib" .Values.spec.volume_gib }}
{{- range $name, $value := .Values.overrides }}
{{- if not (kindIs "invalid" $value) }}
{{- $resources = set $resources $name $value }}
{{- end }}
{{- end }}
{{- range $kind := list "memory_%s_mib" "cpu_%s_milli" }}
{{- $request := get $resources (printf $kind "request") | int64 }}
{{- $limit := get $resources (printf $kind "limit") | int64 }}
{{- if gt $request $limit }}
{{- fail (printf "overrides: %s (%d) is above %s (%d)" (printf $kind "request") $request (printf $kind "limit") $limit) }}
{{- end }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* The name of a snapshot (restores.py knows it too): the release that wrote what is in it, and the rev that put another in its place. */}}
{{- define "box.snapshot" -}}
data-{{ .release }}-{{ .rev | int64 }}
{{- end }}

{{/* The name of the claim of a volume, given its number: 0, or nothing, is the first, any other was made from a snapshot by that rev. */}}
{{- define "box.claim" -}}
data{{ if . }}-{{ . | int64 }}{{ end }}
{{- end }}

{{/* The volume in use, the one before it while that is kept, and the number of the one given up last, as YAML. One that was given up stays gone: it would be made anew, empty. */}}
{{- define "box.volumes" -}}
{{- $volumes := .Values.spec.volumes | default dict }}
{{- $used := $volumes.used | default (dict "rev" 0) }}
{{- range $volume := compact (list $used $volumes.kept) }}
{{- if eq ($volume.rev | toString) ($volumes.given_up | toString) }}
{{- fail (printf "spec.volumes: volume %d was given up" ($volume.rev | int64)) }}
{{- end }}
{{- end }}
{{- dict "used" $used "kept" $volumes.kept "given_up" $volumes.given_up | toYaml }}
{{- end }}

{{- define "box.secret" -}}
agent-v{{ .Values.spec.secrets.agent | int64 }}
{{- end }}

{{/*
The bootstrap files of every niche and language, <niche>.<locale>.<file>, and what all say of connections: name to text.
The same for every box of a release, so that a standby box takes up its customer's niche and language without a new pod.
*/}}
{{- define "box.bootstrap" -}}
{{- $root := . }}
{{- $folder := printf "files/niches/%s/%s" .Values.spec.niche .Values.spec.locale }}
{{- range $name := list "SOUL.md" "TOOLS.md" "IDENTITY.md" }}
{{- if not ($root.Files.Get (printf "%s/%s" $folder $name)) }}
{{- fail (printf "unknown niche %q in %q: the chart has no %s/%s" $root.Values.spec.niche $root.Values.spec.locale $folder $name) }}
{{- end }}
{{- end }}
{{- range $path, $text := .Files.Glob "files/niches/*/*/*.md" }}
{{ trimPrefix "files/niches/" $path | replace "/" "." }}: |
{{ $text | toString | trim | indent 2 }}
{{- end }}
{{- range $path, $text := .Files.Glob "files/connections/*.md" }}
{{ trimPrefix "files/" $path | replace "/" "." }}: |
{{ $text | toString | trim | indent 2 }}
{{- end }}
{{- end }}

{{/* What the container may write outside its volume: /tmp and its log. */}}
{{- define "box.scratch_request" }}256Mi{{ end }}
{{- define "box.scratch_limit" }}1Gi{{ end }}

{{/* All that the entrypoint is told by the cluster; it refuses to start when one of these is missing. */}}
{{- define "box.environment" -}}
- {name: OPENCLAW_BOX_ID, value: {{ include "box.id" . | quote }}}
- {name: OPENCLAW_CELL, value: {{ .Values.cell.name | quote }}}
- {name: OPENCLAW_RELEASE, value: {{ .Values.spec.release | quote }}}
- {name: OPENCLAW_API_URL, value: {{ .Values.cell.api_url | quote }}}
- {name: OPENCLAW_PROXY_URL, value: {{ .Values.cell.proxy_url | quote }}}
- {name: OPENCLAW_TELEGRAM_API_URL, value: {{ .Values.cell.telegram_api_url | quote }}}
{{- with .Values.cell.browser_url }}
- {name: OPENCLAW_BROWSER_PROXY_URL, value: {{ . | quote }}}
{{- end }}
- {name: OPENCLAW_EXEC, value: {{ .Values.cell.exec | quote }}}
- {name: OPENCLAW_DATA_DIR, value: /data}
- {name: OPENCLAW_BOOTSTRAP_DIR, value: /etc/openclaw/bootstrap}
- {name: OPENCLAW_GATEWAY_PORT, value: "18789"}
- name: OPENCLAW_AGENT_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ include "box.secret" . }}
      key: token
- {name: NODE_COMPILE_CACHE, value: /opt/openclaw/compile-cache}
- {name: TMPDIR, value: /tmp}
{{- end }}
