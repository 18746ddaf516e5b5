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

{{/* Rules on what lies in a box's namespace. Match conditions cannot be used: they are not given the namespace. */}}
{{- define "cell.inside" -}}
namespaceSelector:
  matchExpressions:
    - {key: openclaw.cloud/box, operator: Exists}
{{- end }}
