{{- define "intima.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "intima.selector" -}}
app.kubernetes.io/name: intima
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .name }}
{{- end }}

{{- define "intima.labels" -}}
{{ include "intima.selector" . }}
app.kubernetes.io/part-of: intima
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "intima.image" -}}
{{- $registry := .root.Values.image.registry -}}
{{- $tag := .root.Values.image.tag | default .root.Chart.AppVersion -}}
{{- if $registry }}{{ trimSuffix "/" $registry }}/{{ end }}{{ .image }}:{{ $tag }}
{{- end }}

{{- define "intima.secret" -}}
{{ .Values.secrets.existing | default (printf "%s-secrets" (include "intima.name" .)) }}
{{- end }}

{{- define "intima.claim" -}}
{{ .Values.persistence.existingClaim | default (printf "%s-data" (include "intima.name" .)) }}
{{- end }}

{{/* Number of pods of a worker or a door, as the most there will be. */}}
{{- define "intima.most" -}}
{{- if (.component.autoscaling).enabled }}{{ .component.autoscaling.max }}{{ else if (.component.keda).enabled }}{{ .component.keda.max }}{{ else }}{{ .component.replicas }}{{ end }}
{{- end }}

{{/* True where some pods share a volume that one node may mount: all of them must be there. */}}
{{- define "intima.oneNode" -}}
{{- if and (not .Values.blobs.url) (eq .Values.persistence.accessMode "ReadWriteOnce") }}true{{ end }}
{{- end }}

{{- define "intima.podSecurity" -}}
runAsNonRoot: true
runAsUser: {{ . }}
runAsGroup: {{ . }}
fsGroup: {{ . }}
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "intima.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{/* Environment that every service of Intima is given. */}}
{{- define "intima.env" -}}
{{- $values := .root.Values -}}
{{- $env := dict
  "HOME" "/tmp"
  "INTIMA_DATA" "/data"
  "INTIMA_SECRETS" "/run/secrets"
  "INTIMA_QUEUE" "celery"
  "INTIMA_LOG_FORMAT" $values.logFormat
-}}
{{- with $values.otlpEndpoint }}{{ $_ := set $env "INTIMA_OTLP_ENDPOINT" . }}{{ end -}}
{{- with $values.blobs.url }}{{ $_ := set $env "INTIMA_BLOBS_URL" . }}{{ $_ := set $env "INTIMA_COPIES_BYTES" ($values.scratch.copiesBytes | int64 | toString) }}{{ end -}}
{{- with $values.blobs.endpoint }}{{ $_ := set $env "INTIMA_S3_ENDPOINT" . }}{{ end -}}
{{- with $values.blobs.region }}{{ $_ := set $env "INTIMA_S3_REGION" . }}{{ end -}}
{{- if and $values.metrics.enabled (not .restart) }}{{ $_ := set $env "INTIMA_METRICS_PORT" (toString $values.metrics.port) }}{{ $_ := set $env "INTIMA_METRICS_HOST" "0.0.0.0" }}{{ end -}}
{{- $env = merge dict .component.env .env $env -}}
{{- range $name, $value := $env }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}

{{/* Environment of a door: it listens on all addresses, and the network policy and an Ingress stand in front. */}}
{{- define "intima.doorEnv" -}}
INTIMA_AUTH: {{ .root.Values.auth }}
INTIMA_HOST: 0.0.0.0
INTIMA_BEHIND_PROXY: "true"
INTIMA_PUBLISHED_ON: {{ ternary "0.0.0.0" "127.0.0.1" .root.Values.ingress.enabled }}
INTIMA_GRACE_S: {{ .component.graceSeconds | quote }}
{{- with .root.Values.grpc.tls }}
{{- if .secretName }}
INTIMA_GRPC_TLS_CERT: /run/tls/tls.crt
INTIMA_GRPC_TLS_KEY: /run/tls/tls.key
{{- if .clientCertificates }}
INTIMA_GRPC_TLS_CLIENT_CA: /run/tls/ca.crt
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Volumes of a pod of Intima; .keys are those of the Secret that it needs. */}}
{{- define "intima.volumes" -}}
{{- $values := .root.Values -}}
- name: tmp
  emptyDir: {sizeLimit: 2Gi}
- name: data
{{- if $values.blobs.url }}
  emptyDir: {sizeLimit: {{ $values.scratch.size }}}
{{- else }}
  persistentVolumeClaim: {claimName: {{ include "intima.claim" .root }}}
{{- end }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ include "intima.secret" .root }}
          items:
          {{- range .keys }}
            - {key: {{ . }}, path: {{ . }}}
          {{- end }}
      {{- if $values.blobs.url }}
      {{- range list "intima_s3_access_key_id" "intima_s3_secret_access_key" }}
      - secret:
          name: {{ include "intima.secret" $.root }}
          optional: true
          items:
            - {key: {{ . }}, path: {{ . }}}
      {{- end }}
      {{- end }}
{{- if and .door $values.grpc.tls.secretName }}
- name: tls
  secret: {secretName: {{ $values.grpc.tls.secretName }}, defaultMode: 0440}
{{- end }}
{{- with .backups }}
- name: backups
  persistentVolumeClaim: {claimName: {{ . }}}
{{- end }}
{{- with $values.weights.existingClaim }}
- name: weights
  persistentVolumeClaim: {claimName: {{ . }}, readOnly: true}
{{- end }}
{{- end }}

{{- define "intima.mounts" -}}
{{- $values := .root.Values -}}
- {name: tmp, mountPath: /tmp}
- {name: data, mountPath: /data}
- {name: secrets, mountPath: /run/secrets, readOnly: true}
{{- if and .door $values.grpc.tls.secretName }}
- {name: tls, mountPath: /run/tls, readOnly: true}
{{- end }}
{{- if .backups }}
- {name: backups, mountPath: /backups}
{{- end }}
{{- if $values.weights.existingClaim }}
- {name: weights, mountPath: /data/weights, readOnly: true}
{{- end }}
{{- end }}

{{/* Where the pods of one component go. */}}
{{- define "intima.placement" -}}
{{- $oneNode := include "intima.oneNode" .root -}}
{{- with .component.nodeSelector }}
nodeSelector: {{ toJson . }}
{{- end }}
{{- $tolerations := .component.tolerations -}}
{{- $gpu := .component.gpu | default dict -}}
{{- if gt (int $gpu.count) 0 }}
{{- $tolerations = append $tolerations (dict "key" $gpu.resource "operator" "Exists" "effect" "NoSchedule") -}}
{{- with $gpu.runtimeClass }}
runtimeClassName: {{ . }}
{{- end }}
{{- end }}
{{- with $tolerations }}
tolerations: {{ toJson . }}
{{- end }}
{{- if .component.affinity }}
affinity: {{ toJson .component.affinity }}
{{- else if $oneNode }}
# The volume can be mounted on one node only.
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {app.kubernetes.io/instance: {{ .root.Release.Name }}, intima/shares-volume: "true"}
{{- end }}
{{- if not $oneNode }}
topologySpreadConstraints:
{{- range list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
  - maxSkew: 1
    topologyKey: {{ . }}
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{ include "intima.selector" (dict "root" $.root "name" $.name) | fromYaml | toJson }}
{{- end }}
{{- end }}
{{- end }}

{{/*
The pod of a service of Intima.
  root, name, component (values), image, command, env (dict), keys (of the Secret), door (whether it serves HTTP and gRPC),
  ports (dict of name to number), probes (YAML), grace (seconds), preStop (seconds; 0: none); of a job also
  restart (policy) and backups (claim of a volume that is mounted at /backups)
*/}}
{{- define "intima.pod" -}}
metadata:
  labels:
    {{- include "intima.labels" . | nindent 4 }}
    {{- if include "intima.oneNode" .root }}
    intima/shares-volume: "true"
    {{- end }}
  annotations:
    {{- if not .root.Values.secrets.existing }}
    checksum/values: {{ toJson (list .root.Values.database.url .root.Values.redis.url .root.Values.blobs) | sha256sum }}
    {{- end }}
    kubectl.kubernetes.io/default-container: {{ .name }}
spec:
  {{- with .restart }}
  restartPolicy: {{ . }}
  {{- end }}
  serviceAccountName: {{ include "intima.name" .root }}
  automountServiceAccountToken: false
  # A Service called intima would set INTIMA_PORT in every pod of the namespace.
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ .grace }}
  securityContext:
    {{- include "intima.podSecurity" 10001 | nindent 4 }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets: {{ toJson . }}
  {{- end }}
  {{- include "intima.placement" . | trim | nindent 2 }}
  containers:
    - name: {{ .name }}
      image: {{ include "intima.image" . }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      command: {{ toJson .command }}
      env:
        {{- include "intima.env" . | trim | nindent 8 }}
      {{- if not .restart }}
      ports:
        {{- range $port, $number := .ports }}
        - {name: {{ $port }}, containerPort: {{ $number }}}
        {{- end }}
        {{- if .root.Values.metrics.enabled }}
        - {name: metrics, containerPort: {{ .root.Values.metrics.port }}}
        {{- end }}
      {{- end }}
      {{- if .preStop }}
      # The pod is taken out of its Services meanwhile; requests that still come are answered.
      lifecycle: {preStop: {exec: {command: [sleep, {{ .preStop | quote }}]}}}
      {{- end }}
      {{- .probes | nindent 6 }}
      resources:
        {{- $resources := deepCopy .component.resources }}
        {{- with .component.gpu }}
        {{- if gt (int .count) 0 }}
        {{- $_ := set $resources "limits" (set ($resources.limits | default dict) .resource .count) }}
        {{- end }}
        {{- end }}
        {{- toYaml $resources | nindent 8 }}
      securityContext:
        {{- include "intima.containerSecurity" . | nindent 8 }}
      volumeMounts:
        {{- include "intima.mounts" . | nindent 8 }}
  volumes:
    {{- include "intima.volumes" . | nindent 4 }}
{{- end }}
