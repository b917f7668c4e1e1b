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
{{- with $root.Values.imagePrefix | trimSuffix "/" -}}
{{- . }}/
{{- end -}}
{{- $image.repository -}}
{{- if $image.digest -}}
{{- printf "@%s" $image.digest -}}
{{- else -}}
{{- printf ":%s" (coalesce $image.tag $root.Values.imageTag $root.Chart.AppVersion) -}}
{{- end -}}
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
# Pre-flight Jobs; their pods are watched.
- apiGroups: [batch]
  resources: [jobs]
  verbs: [list, create, delete]
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
# Routes of Models with traffic.gateway; the kinds need not exist.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes, grpcroutes]
  verbs: [get, list, watch, create, patch, delete]
{{- end -}}

{{/* The port of /livez, /readyz and /metrics. */}}
{{- define "slipway.port" -}}
8080
{{- end -}}

{{/* DNS, at any address: a node-local cache has a link-local one. The DNS pods of OpenShift listen on 5353. */}}
{{- define "slipway.egressToDNS" -}}
- ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
    - {port: 5353, protocol: UDP}
    - {port: 5353, protocol: TCP}
{{- end -}}

{{/* Peers: every address except link-local ones and the clouds' metadata services. Pods are listed separately because
     some network plugins do not match them by ipBlock. */}}
{{- define "slipway.anywhere" -}}
- namespaceSelector: {}
- ipBlock:
    cidr: 0.0.0.0/0
    except:
      - 169.254.0.0/16
      # Alibaba Cloud, Azure's host, Oracle Cloud.
      - 100.100.100.200/32
      - 168.63.129.16/32
      - 192.0.0.192/32
- ipBlock:
    cidr: ::/0
    except:
      - fe80::/10
      # AWS, Google Cloud.
      - fd00:ec2::23/128
      - fd00:ec2::254/128
      - fd20:ce::254/128
      # 169.254.0.0/16 through NAT64, and NAT64 prefixes for local use.
      - 64:ff9b::a9fe:0/112
      - 64:ff9b:1::/48
{{- range .Values.sources.allowedNetworks }}
- ipBlock:
    cidr: {{ . }}
{{- end }}
{{- end -}}

{{/* Peers: what the operator and the pods of Models connect to for reading sources. */}}
{{- define "slipway.sources" -}}
{{- with .Values.networkPolicy.egress.sources -}}
{{- toYaml . }}
{{- else -}}
{{- include "slipway.anywhere" . }}
{{- end -}}
{{- end -}}

{{/* Reject values that the schema cannot validate. */}}
{{- define "slipway.check" -}}
{{- if and .Values.webhook.enabled (eq (int .Values.webhook.port) (int (include "slipway.port" .))) -}}
{{- fail (printf "webhook.port must not be %d: the operator serves its probes and metrics there" (int .Values.webhook.port)) -}}
{{- end -}}
{{- $taken := list (int (include "slipway.port" .)) -}}
{{- if .Values.webhook.enabled -}}
{{- $taken = append $taken (int .Values.webhook.port) -}}
{{- end -}}
{{- if and .Values.ui.enabled (has (int .Values.ui.port) $taken) -}}
{{- fail (printf "ui.port must not be %d: the operator serves something else there" (int .Values.ui.port)) -}}
{{- end -}}
{{- if and .Values.ui.service.enabled (not .Values.ui.enabled) -}}
{{- fail "ui.service.enabled is true, but ui.enabled is false" -}}
{{- end -}}
{{- range .Values.sources.allowedNetworks -}}
{{- include "slipway.checkNetwork" . -}}
{{- end -}}
{{- end -}}

{{/* Fail unless it is a network in CIDR notation without host bits, as the operator requires (ipaddress.ip_network). */}}
{{- define "slipway.checkNetwork" -}}
{{- $parts := splitList "/" . -}}
{{- $prefix := int (last $parts) -}}
{{- $address := first $parts -}}
{{- $groups := list -}}
{{- $width := 8 -}}
{{- $ipv4 := "((25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])[.]){3}(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])" -}}
{{- if contains ":" $address -}}
  {{- with regexFind (printf ":%s$" $ipv4) $address | trimPrefix ":" -}}
    {{- /* An IPv6 address that ends with an IPv4 address: these are its last two groups. */ -}}
    {{- $bytes := splitList "." . -}}
    {{- $high := add (mul 256 (int (index $bytes 0))) (int (index $bytes 1)) -}}
    {{- $low := add (mul 256 (int (index $bytes 2))) (int (index $bytes 3)) -}}
    {{- $address = printf "%s%x:%x" (trimSuffix . $address) $high $low -}}
  {{- end -}}
  {{- $width = 16 -}}
  {{- $halves := list -}}
  {{- $valid := le (len (splitList "::" $address)) 2 -}}
  {{- range splitList "::" $address -}}
    {{- $half := list -}}
    {{- if regexMatch "^[0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4})*$" . -}}
      {{- range splitList ":" . -}}{{- $half = append $half (printf "0x%s" .) -}}{{- end -}}
    {{- else if . -}}
      {{- $valid = false -}}
    {{- end -}}
    {{- $halves = append $halves $half -}}
  {{- end -}}
  {{- if $valid -}}
    {{- $groups = first $halves -}}
    {{- if eq (len $halves) 2 -}}
      {{- $zeros := sub 8 (add (len (first $halves)) (len (last $halves))) | int -}}
      {{- range until (max 0 $zeros | int) -}}{{- $groups = append $groups "0" -}}{{- end -}}
      {{- $groups = ternary (concat $groups (last $halves)) (list) (gt $zeros 0) -}}
    {{- end -}}
  {{- end -}}
{{- else if regexMatch (printf "^%s$" $ipv4) $address -}}
  {{- $groups = splitList "." $address -}}
{{- end -}}
{{- $count := ternary 4 8 (eq $width 8) -}}
{{- if or (ne (len $groups) $count) (gt $prefix (mul $count $width | int)) -}}
{{- fail (printf "sources.allowedNetworks: %s is not a network such as 169.254.20.0/24 or fd00:10::/64" .) -}}
{{- end -}}
{{- range $i, $group := $groups -}}
  {{- $beyond := min $width (max 0 (sub (mul (add1 $i) $width) $prefix)) | int -}}
  {{- $size := 1 -}}
  {{- range until $beyond -}}{{- $size = mul $size 2 -}}{{- end -}}
  {{- if mod (int $group) $size -}}
{{- fail (printf "sources.allowedNetworks: %s has host bits set: write the first address of the network, or a longer prefix than /%d" $ $prefix) -}}
  {{- end -}}
{{- end -}}
{{- end -}}
