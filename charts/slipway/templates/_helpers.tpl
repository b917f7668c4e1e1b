{{/* Name of everything that belongs to this release. */}}
{{- define "slipway.name" -}}
{{- if contains "slipway" .Release.Name -}}
{{- printf "%s-operator" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-slipway-operator" .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "slipway.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "slipway.name" .) -}}
{{- end -}}

{{- define "slipway.selector" -}}
app.kubernetes.io/name: slipway-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "slipway.labels" -}}
{{ include "slipway.selector" . }}
app.kubernetes.io/part-of: slipway
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end -}}

{{/* An image of ours: (list . "operator"). */}}
{{- define "slipway.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.image (index . 1) -}}
{{- $tag := coalesce $image.tag $root.Values.imageTag $root.Chart.AppVersion -}}
{{- printf "%s%s:%s" $root.Values.imagePrefix $image.repository $tag -}}
{{- end -}}

{{/* What Pod Security `restricted` requires of a pod, and of a container. */}}
{{- define "slipway.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "slipway.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
runAsNonRoot: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Permissions of the operator in the namespaces it watches: each rule is one use in its code. */}}
{{- define "slipway.rules" -}}
- apiGroups: [slipway.dev]
  resources: [models]
  verbs: [get, list, watch]
- apiGroups: [slipway.dev]
  resources: [models/status]
  verbs: [patch]
- apiGroups: [apps]
  resources: [deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [discovery.k8s.io]
  resources: [endpointslices]
  verbs: [list, watch]
# Deployments create and delete pods; the operator only sets a label that makes them Service endpoints.
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch, patch]
# A Model's own cache claim is created and expanded; other claims are only read.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, create, patch]
# CA certificates and public keys that sources name; NAME-cache, the list of versions that a cache keeps.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, create, patch]
# Progress of downloads, and listings of volumes.
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}
