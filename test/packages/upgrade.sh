#!/bin/sh
# A later version of the Debian package in /tmp is installed while the demo's hosts are up and a ping
# runs between their containers; then a TUN is deleted, which the old process makes anew.
set -e
dpkg-deb -R /tmp/weft_*.deb /tmp/next
sed -i 's/^Version: .*/Version: 99/' /tmp/next/DEBIAN/control
sed -i 's/"version": ".*"/"version": "99"/' /tmp/next/usr/lib/weft/package.json
dpkg-deb -Znone -b /tmp/next /tmp/next.deb >/dev/null

weft demo -keep >/tmp/demo 2>&1 &
demo=$!
for _ in $(seq 300); do
    grep -q 'steps passed' /tmp/demo && break
    sleep 0.2
done
# The process that holds a namespace of the demo's.
holder() {
    for process in /proc/[0-9]*; do
        if grep -qz "^WEFT_LAB_NAMESPACE=$1" "$process/environ" 2>/dev/null &&
            [ "$(cat "$process/comm")" = cat ]; then
            echo "${process#/proc/}"
            return
        fi
    done
}
from=$(holder xbox1)
host=$(holder host1)
to=$(nsenter -n -t "$(holder xbox3)" ip -4 -o addr show eth0 | sed 's/.*inet \([0-9.]*\).*/\1/')

nsenter -n -t "$from" ping -q -i 0.05 -c 200 "$to" &
ping=$!
sleep 2
dpkg -i /tmp/next.deb >/dev/null
wait "$ping"
nsenter -n -t "$host" ip link del flannel.1
sleep 3
nsenter -n -t "$from" ping -q -i 0.05 -c 20 "$to"
echo "weft $(weft -version)"
kill "$demo"
wait "$demo" || true
