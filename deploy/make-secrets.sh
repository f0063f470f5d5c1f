#!/bin/sh
# Writes the secrets of the stack into one folder for each reader. Each secret is what a file of its name in /given says,
# else what was made before, else 256 new random bits; so the first start makes them and later ones change nothing.
set -eu

secret() { # secret NAME FOLDER: sets $value and writes it
  name=$1
  made=/secrets/$2/$name
  if [ -s "/given/$name" ]; then value=$(cat "/given/$name")
  elif [ -s "$made" ]; then value=$(cat "$made")
  else value=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
  fi
  case $value in
    *[!A-Za-z0-9._~/+=-]*) echo "The secret $name may hold letters, digits and ._~-/+= only." >&2; exit 1 ;;
  esac
  case $name$value in
    *_password*[/+=]*) echo "The secret $name may hold no / + or =: it becomes part of an address." >&2; exit 1 ;;
  esac
  [ "${#value}" -ge 16 ] || { echo "The secret $name has ${#value} characters; need at least 16." >&2; exit 1; }
  write "$2/$name" "$value"
}

write() { # write FILE TEXT: at once or not at all
  printf '%s\n' "$2" >"/secrets/$1.new"
  chmod 444 "/secrets/$1.new"
  mv -f "/secrets/$1.new" "/secrets/$1"
}

secret postgres_password postgres
for reader in doors workers; do
  write "$reader/intima_database_url" "postgresql+psycopg://intima:$value@postgres:5432/intima"
done

secret redis_password redis
write redis/redis.conf "requirepass $value"
for reader in doors workers; do
  write "$reader/intima_redis_url" "redis://:$value@redis:6379/0"
done

secret intima_admin_token doors
secret grafana_password grafana

secret s3_access_key_id s3
key=$value
secret s3_secret_access_key s3
write s3/s3.json "$(printf '{"identities":[{"name":"intima","credentials":[{"accessKey":"%s","secretKey":"%s"}],"actions":%s}]}' \
  "$key" "$value" '["Admin","Read","Write","List"]')"
# Services are given keys only where there are any to use; without them they ask the host for its role.
for reader in doors workers; do
  if [ -s /given/s3_access_key_id ] || [ "${INTIMA_S3_ENDPOINT:-}" = http://s3:8333 ]; then
    write "$reader/intima_s3_access_key_id" "$key"
    write "$reader/intima_s3_secret_access_key" "$value"
  else
    rm -f "/secrets/$reader/intima_s3_access_key_id" "/secrets/$reader/intima_s3_secret_access_key"
  fi
done
sync
