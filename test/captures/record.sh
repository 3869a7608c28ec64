#!/bin/bash
# Records the captures of this folder with tcpdump, as root, in namespaces of its own:
#
#   unshare --net --mount --pid --fork --kill-child --mount-proc bash test/captures/record.sh
#
# Two hosts joined by a veth, each with a kernel VXLAN device set up as flannel does, and one
# container behind docker0. Then the VXLAN device gives way to a TUN device held by socat.
# A new recording differs in times, ports and sequence numbers: run the golden test with
# WEFT_WRITE_GOLDEN=1 afterwards and read the difference.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mount -t tmpfs tmpfs /run
mkdir -p /run/netns
ip link set lo up

host1=192.168.56.11 subnet1=10.10.58 mac1=02:00:00:00:00:0a
host2=192.168.56.12 subnet2=10.10.26 mac2=02:00:00:00:00:0b

for n in host1 host2 box1 box2; do
  ip netns add $n
  ip -n $n link set lo up
done
at() { local n=$1; shift; ip netns exec "$n" "$@"; }

ip -n host1 link add ens33 type veth peer name ens33 netns host2
for n in 1 2; do
  h=host$n; s=subnet$n
  ip -n $h addr add ${!h}/24 dev ens33
  ip -n $h link set ens33 up
  # A plain wire: what tcpdump sees there has whole packets and finished checksums.
  at $h ethtool -K ens33 tso off gso off tx off gro off > /dev/null
  ip -n $h link add docker0 mtu 1450 type bridge
  ip -n $h addr add ${!s}.1/24 dev docker0
  ip -n $h link set docker0 up
  ip -n box$n link add eth0 mtu 1450 type veth peer name veth0 netns $h
  ip -n $h link set veth0 mtu 1450 master docker0 up
  ip -n box$n addr add ${!s}.2/24 dev eth0
  ip -n box$n link set eth0 up
  ip -n box$n route add default via ${!s}.1
  at $h sysctl -qw net.ipv4.ip_forward=1
done

vxlan() { # own host number, own MAC, the other's number and MAC
  local h=host$1 s=subnet$1 peer=host$3 peers=subnet$3
  ip -n $h link add flannel.1 address $2 mtu 1450 type vxlan id 1 local ${!h} dev ens33 dstport 8472 nolearning
  ip -n $h addr add ${!s}.0/32 dev flannel.1
  ip -n $h link set flannel.1 up
  ip -n $h neigh add ${!peers}.0 lladdr $4 dev flannel.1 nud permanent
  at $h bridge fdb append $4 dev flannel.1 dst ${!peer}
  ip -n $h route add ${!peers}.0/24 via ${!peers}.0 dev flannel.1 onlink
}
vxlan 1 $mac1 2 $mac2
vxlan 2 $mac2 1 $mac1
sleep 2

capture() { # namespace, device, file: starts tcpdump, its pid in $pid
  ip netns exec $1 tcpdump -Z root -q -n -i $2 --immediate-mode -U -w "$here/$3" 2> /dev/null &
  pid=$!
  sleep 1
}
stop() { sleep 0.5; kill $pid; wait $pid || true; }
hex() { printf "$(echo -n "$1" | tr -d ' ' | sed 's/../\\x&/g')"; }

mix() { # what containers do
  at box1 ping -q -c 2 -i 0.2 $subnet2.2
  at box1 ping -q -c 1 -s 3000 $subnet2.2          # inner fragments
  at box1 ping -q -c 1 -s 1422 -M do $subnet2.2    # exactly the MTU, DF
  at box2 ping -q -c 1 -Q 1 $subnet1.2             # ECT(1)
  head -c 9000 /dev/zero | tr '\0' w | at box2 socat -t 1 - TCP-LISTEN:30000,reuseaddr > /dev/null &
  local server=$!
  sleep 0.3
  head -c 6000 /dev/zero | tr '\0' f | at box1 socat -t 1 - TCP:$subnet2.2:30000 > /dev/null
  wait $server
  at box2 timeout 2 socat -u UDP-RECV:30001 /dev/null &
  local sink=$!
  sleep 0.2
  for size in 1 2 512 1421 1422 2800; do           # 2800: fragments
    head -c $size /dev/zero | tr '\0' u | at box1 socat -u -b 4096 - UDP-SENDTO:$subnet2.2:30001
  done
  wait $sink || true
  at box1 ping -q -c 1 -W 1 10.10.99.9 || true     # no lease has this subnet
  echo m | at box1 socat -u - UDP-SENDTO:224.0.0.251:5353,ip-multicast-if=$subnet1.2
}

# 1. VXLAN, from the underlay, Ethernet
capture host1 ens33 underlay.pcap
ip -n host1 neigh flush dev ens33                  # so that there is ARP
mix
d0='0800000000000100 02000000000a 02000000000b 0800 45000024123440003f01c18d0a0a1a020a0a3a02 08003c4a000100017765667477656674'
raw() { hex "$1" | at host2 socat -u - UDP-SENDTO:$host1:8472,bind=${2:-$host2}; }
raw "$d0"                                          # as it should be
raw "0800000000000200${d0:16}"                      # VNI 2
raw "00${d0:2}"                                    # no VNI flag
raw "${d0/0800 45/0806 45}"                        # inner ARP
raw "${d0/0800 45/86dd 45}"                        # inner IPv6
raw "${d0/02000000000a/02000000000c}"              # another's MAC
raw "${d0/45000024123440003f01c18d/450005dc123440003f01bbd5}"  # inner total length too large
ip -n host2 addr add 192.168.56.77/24 dev ens33
raw "$d0" 192.168.56.77                            # no peer
head -c 3000 /dev/zero | at host2 socat -u -b 4096 - UDP-SENDTO:$host1:8472   # outer fragments
echo other | at host2 socat -u - UDP-SENDTO:$host1:4789                        # another port
at host2 ping -q -c 1 $host1                       # underlay ICMP
at host2 ping -q -c 1 -6 ff02::1%ens33 || true     # underlay IPv6
stop

# 2. Ethernet, from the bridge: super-packets with unfinished checksums
capture host1 docker0 bridge.pcap
ip -n box1 neigh flush dev eth0
mix
at box1 ping -q -c 1 -6 ff02::1%eth0 || true
stop

# 3. raw IP, from a TUN device
for n in 1 2; do ip -n host$n link del flannel.1; done
tun() { # own number, the other's number
  local h=host$1 s=subnet$1 peer=host$2 peers=subnet$2
  at $h socat -b 4096 "TUN:${!s}.0/32,tun-name=flannel.1,iff-no-pi,iff-up" \
    "UDP-DATAGRAM:${!peer}:9000,bind=${!h}:9000" &
  sleep 0.5
  ip -n $h link set flannel.1 mtu 1450
  ip -n $h route add ${!peers}.0/24 dev flannel.1
}
tun 1 2
tun 2 1
capture host1 flannel.1 tun.pcap
mix
at host1 ping -q -c 1 -6 ff02::1%flannel.1 || true
stop
ls -l "$here"
