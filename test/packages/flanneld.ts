/**
 * A stand-in for flanneld as a program of a host: it finds its lease or takes one, makes the kernel's
 * VXLAN device, writes subnet.env and the flags that it was given, and leaves all of it at SIGTERM.
 */

export const FLANNELD = `#!/bin/sh
set -e
rm -f /run/flannel/flags
endpoint=$(echo "$*" | sed -n 's/.*-etcd-endpoints=\\([^ ]*\\).*/\\1/p')
interface=$(echo "$*" | sed -n 's/.*-iface=\\([^ ]*\\).*/\\1/p')
address=$(ip -4 -o address show dev "$interface" | sed 's|.*inet \\([0-9.]*\\)/.*|\\1|')
prefix=/coreos.com/network/subnets
etcdctl() { ETCDCTL_API=3 command etcdctl --endpoints="$endpoint" "$@"; }
key=$(etcdctl get --prefix "$prefix/" | grep -B1 "\\"PublicIP\\":\\"$address\\"" | head -n 1)
[ -n "$key" ] || key=$prefix/10.5.69.0-24
network=$(basename "$key" | sed 's|-.*||')
ip link delete flannel.1 2>/dev/null || true
ip link add flannel.1 type vxlan id 1 dev "$interface" local "$address" dstport 8472 nolearning
ip address add "$network/32" dev flannel.1
ip link set flannel.1 mtu 1450 up
mac=$(ip -o link show flannel.1 | sed 's|.*link/ether \\([0-9a-f:]*\\).*|\\1|')
lease=$(etcdctl lease grant 86400 | sed 's/lease \\([0-9a-f]*\\) .*/\\1/')
etcdctl put --lease="$lease" "$key" "{\\"PublicIP\\":\\"$address\\",\\"PublicIPv6\\":null,\\"BackendType\\":\\"vxlan\\",\\"BackendData\\":{\\"VNI\\":1,\\"VtepMAC\\":\\"$mac\\"}}" >/dev/null
mkdir -p /run/flannel
printf 'FLANNEL_NETWORK=10.5.0.0/16\\nFLANNEL_SUBNET=%s/24\\nFLANNEL_MTU=1450\\nFLANNEL_IPMASQ=false\\n' "\${network%.0}.1" >/run/flannel/subnet.env
echo "$*" >/run/flannel/flags
[ -z "$NOTIFY_SOCKET" ] || perl -MSocket -e '
    socket(my $s, AF_UNIX, SOCK_DGRAM, 0);
    send($s, "READY=1", 0, sockaddr_un($ENV{NOTIFY_SOCKET}));'
trap 'exit 0' TERM INT
while :; do sleep 0.2; done
`;

/** Its flags are in ExecStart, on two lines, and the program where people put it by hand. */
export const FLANNELD_UNIT = `[Unit]
Description=flanneld

[Service]
Type=notify
ExecStart=/usr/local/bin/flanneld \\
    -etcd-endpoints=http://192.168.56.131:2379 -iface=eth0 -ip-masq
Restart=on-failure

[Install]
WantedBy=multi-user.target
`;

/** Its image, as flannel's own: the program is what runs. */
export const FLANNELD_IMAGE = `FROM debian:13-slim
COPY flanneld /opt/bin/flanneld
ENTRYPOINT ["/opt/bin/flanneld"]
`;
