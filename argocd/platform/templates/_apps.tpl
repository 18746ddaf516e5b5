{{/* A few times and no more: an operation without end keeps the commit that would mend it from being applied. */}}
{{- define "apps.retry" -}}
{limit: 3, backoff: {duration: 5s, factor: 2, maxDuration: 60s}}
{{- end }}
