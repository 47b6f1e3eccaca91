#!/bin/sh
# Starts one server of a set. Its configuration lives on its own volume: who is whose replica is written there (CONFIG REWRITE), so
# that a server comes back as what it was, and never as a second primary. Only the first start of a volume decides: number 0 of
# the set is the primary, the others follow it.
set -eu
own=/data/valkey.conf
if [ ! -f "$own" ]; then
    sed 's|^port .*|&\ndir /data|' /etc/redrush/valkey.conf > "$own.new"
    set_name=${HOSTNAME%-*}
    if [ "${HOSTNAME##*-}" != 0 ]; then
        echo "replicaof $set_name-0.$set_name 6379" >> "$own.new"
    fi
    # Replicas are known to others by their names: addresses of pods change.
    echo "replica-announce-ip $HOSTNAME.$set_name" >> "$own.new"
    mv "$own.new" "$own"
fi
exec valkey-server "$own"
