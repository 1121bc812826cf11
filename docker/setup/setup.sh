#!/bin/sh
# Makes the accounts of this box: a password each, in a volume that only its service mounts, and the broker's file of
# all of them. Runs before everything else at each `docker compose up` and keeps what is there.
#
#   setup.sh              make what is missing
#   setup.sh rotate       make everything anew; restart the broker afterwards
#   setup.sh show NAME    print one password: operator, inference (the token of its API), grafana
#
# POSIX sh without bashisms: it runs in busybox and in dash. It is root without any right but that of giving files away:
# a secret belongs to root and is readable by its service's group, so that the service itself cannot change it.
set -eu
umask 077

SECRETS=/setup
LINESIDE=10001
EXPORTER=10002
MOSQUITTO=1883
GRAFANA=472
ACCOUNTS="topic-bridge opcua-bridge exporter deployer bench operator"

say() { printf 'setup: %s\n' "$*"; }
refuse() { say "$*" >&2; exit 2; }

secret() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

# reader NAME: the group that reads the secrets of an account.
reader() { if [ "$1" = exporter ]; then echo "$EXPORTER"; else echo "$LINESIDE"; fi; }

# make FILE GROUP: a random secret, unless it is there already; its reader may have another group since an upgrade.
make() {
  if [ "$renew" = no ] && [ -s "$1" ]; then chown "0:$2" "$1"; return 0; fi
  fresh "$1"
  secret >"$1.new"
  printf '\n' >>"$1.new"
  give "$1" "$2"
  say "made $1"
}

# fresh FILE: take away what an interrupted start left half done; it may be somebody else's by now.
fresh() { rm -f "$1.new"; }

# give FILE GROUP: put FILE.new in FILE's place, for that group to read.
give() {
  chown "0:$2" "$1.new"
  chmod 0440 "$1.new"
  mv -f "$1.new" "$1"
}

# Keys for the S3 server of profile `s3`, which takes any; a bucket of your own wants yours, in a file of yours.
credentials() {
  if [ "$renew" = no ] && [ -s "$1" ]; then return 0; fi
  fresh "$1"
  printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$(secret)" "$(secret)" >"$1.new"
  give "$1" "$LINESIDE"
  say "made $1"
}

# The broker's file is made from the accounts' passwords each time, so that the two never differ.
broker() {
  : >/tmp/passwd
  for account in $ACCOUNTS; do line "$account" "$SECRETS/$account/mqtt-password"; done
  line health "$SECRETS/broker/health-password"
  # mosquitto_passwd -U hashes names and passwords that stand in a file: none is ever an argument that `ps` shows.
  mosquitto_passwd -U /tmp/passwd
  own /tmp/passwd passwd
  own /acl acl
  # Options of mosquitto_sub, which is the broker's healthcheck.
  fresh "$SECRETS/broker/mosquitto_sub"
  printf -- '-u health\n-P %s\n' "$(cat "$SECRETS/broker/health-password")" >"$SECRETS/broker/mosquitto_sub.new"
  give "$SECRETS/broker/mosquitto_sub" "$MOSQUITTO"
}

# own FILE NAME: a copy of FILE that belongs to the broker, which takes no other.
own() {
  fresh "$SECRETS/broker/$2"
  cat "$1" >"$SECRETS/broker/$2.new"
  chmod 0400 "$SECRETS/broker/$2.new"
  chown "$MOSQUITTO:$MOSQUITTO" "$SECRETS/broker/$2.new"
  mv -f "$SECRETS/broker/$2.new" "$SECRETS/broker/$2"
}

line() { printf '%s:%s\n' "$1" "$(cat "$2")" >>/tmp/passwd; }

all() {
  for account in $ACCOUNTS; do make "$SECRETS/$account/mqtt-password" "$(reader "$account")"; done
  make "$SECRETS/broker/health-password" "$MOSQUITTO"
  make "$SECRETS/inference/tokens" "$LINESIDE"
  make "$SECRETS/grafana/admin-password" "$GRAFANA"
  credentials "$SECRETS/forwarder/aws-credentials"
  # Who asks inference: the topic-bridge, the exporter, the deployer, and people by `docker compose run --rm tools`.
  for copy in topic-bridge/inference-token exporter/inference-token deployer/inference-token operator/inference-token \
    operator/tokens; do
    fresh "$SECRETS/$copy"
    cat "$SECRETS/inference/tokens" >"$SECRETS/$copy.new"
    give "$SECRETS/$copy" "$(reader "${copy%%/*}")"
  done
  broker
}

case "${1:-}" in
  '') renew=no; all; say "the accounts are there" ;;
  rotate) renew=yes; all; say "made anew; now: docker compose restart broker; on a bench plc-sim too" ;;
  show)
    case "${2:-}" in
      operator) cat "$SECRETS/operator/mqtt-password" ;;
      inference) cat "$SECRETS/inference/tokens" ;;
      grafana) cat "$SECRETS/grafana/admin-password" ;;
      *) refuse "show ${2:-?}: one of operator, inference, grafana" ;;
    esac ;;
  *) refuse "$1: nothing, rotate, or show NAME" ;;
esac
