#!/bin/sh
# What intima's compose file asks of the public image's entry point, and no more; runs as the postgres user.
set -eu
user=${POSTGRES_USER:-postgres}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  chmod 700 "$PGDATA"
  # shellcheck disable=SC2086
  initdb -D "$PGDATA" -U "$user" --auth-local=trust --pwfile="$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -w -o "-c listen_addresses=" start
  psql -U "$user" -d postgres -c "CREATE DATABASE \"${POSTGRES_DB:-$user}\""
  pg_ctl -D "$PGDATA" -w stop
fi
exec "$@" -c listen_addresses='*'
