# Makes a bare Prometheus of Debian behave as the public image of that name: a data folder of user 65534.
FROM prom/prometheus:v3.5.0
RUN install -d -o 65534 -g 65534 /prometheus
LABEL intima.standin=true
