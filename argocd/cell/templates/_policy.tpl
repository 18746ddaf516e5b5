{{/* The binding of a policy: what it does not allow is refused, and the refusal stands in the audit log. */}}
{{- define "cell.binding" -}}
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata:
  name: {{ . }}
spec:
  policyName: {{ . }}
  validationActions: [Deny, Audit]
{{- end }}

{{/*
Rules on what lies in a box's namespace. Match conditions cannot be used: they are not given the namespace. A selector
lets everything through that lies in no namespace at all, so each rule beside it says scope: Namespaced.
*/}}
{{- define "cell.inside" -}}
namespaceSelector:
  matchExpressions:
    - {key: openclaw.cloud/box, operator: Exists}
{{- end }}
