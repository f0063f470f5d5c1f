# Makes a bare Redis of Debian behave as the public image of that name: a data folder of user 999.
FROM redis:7-bookworm
RUN install -d -o 999 -g 999 /data
LABEL intima.standin=true
WORKDIR /data
