{{- define "lockgate.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "lockgate.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else -}}
{{- $name := include "lockgate.name" . -}}
{{- (contains $name .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $name)) | trunc 50 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "lockgate.selector" -}}
app.kubernetes.io/name: {{ include "lockgate.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lockgate.labels" -}}
{{ include "lockgate.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "lockgate.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "lockgate.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "lockgate.fullname" .) }}
{{- else -}}
{{ required "serviceAccount.name names the account to use where serviceAccount.create is false" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- /* policy, static or none */ -}}
{{- define "lockgate.gateMode" -}}
{{- if ne .Values.gate.mode "auto" -}}
{{ .Values.gate.mode }}
{{- else if .Capabilities.APIVersions.Has "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy" -}}
policy
{{- else -}}
static
{{- end -}}
{{- end }}

{{- /*
Ends the name of every object that belongs to the cluster. A release for all namespaces uses fixed names: two of them would be two
operators for the same resources, and Helm then refuses the second one. A release for listed namespaces uses its own.
*/ -}}
{{- define "lockgate.scope" -}}
{{- if .Values.namespaces -}}
{{ include "lockgate.fullname" . }}.{{ .Release.Namespace }}.lockgate.dev
{{- else -}}
lockgate.dev
{{- end -}}
{{- end }}

{{- /* What the gate's policies look at: new pods that name a migration, in the namespaces served. */ -}}
{{- define "lockgate.matchConstraints" -}}
resourceRules:
- {apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}
objectSelector:
  matchExpressions:
  - {key: lockgate.dev/migration, operator: Exists}
{{- with .Values.namespaces }}
namespaceSelector:
  matchExpressions:
  - key: kubernetes.io/metadata.name
    operator: In
    values: {{ toJson . }}
{{- end }}
{{- end }}

{{- define "lockgate.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- define "lockgate.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}
