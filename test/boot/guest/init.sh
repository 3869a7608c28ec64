#!/bin/busybox sh
# The first program of the old kernel. Two hosts, h1 and h2, joined by a veth, each with a
# container (c1, c2) in its subnet, as network namespaces:
#
#   c1 10.10.1.2 -- h1 192.168.56.11 ====== 192.168.56.12 h2 -- 10.10.2.2 c2
#
# Prints one line "STEP name: ok" or "STEP name: FAILED" a step, then powers off.

export PATH=/usr/sbin:/usr/bin:/applets
/bin/busybox mkdir -p /applets /proc /sys /dev /tmp /run
/bin/busybox --install -s /applets
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mount -t tmpfs tmpfs /run
mount -t tmpfs tmpfs /tmp

# Busybox would take its own applet before the program of the same name in PATH.
ip() { /usr/sbin/ip "$@"; }

# step NAME COMMAND…: runs the command, says how it went.
step() {
  name=$1
  shift
  if "$@"; then echo "STEP $name: ok"; else echo "STEP $name: FAILED"; fi
}

# eventually COMMAND…: tries five times a second, 2 min long.
eventually() {
  tries=0
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ $tries -lt 600 ] || return 1
    sleep 0.2
  done
}

insert() {
  for module in $(cat "/modules/$1"); do insmod "/modules/$module.ko" || return 1; done
}

# The kernel weft is for: no VXLAN device can be made.
no_vxlan() { ! ip link add vx0 type vxlan id 1 dstport 8472; }

# host N: a host and its container, all but what joins the hosts.
host() {
  for namespace in h$1 c$1; do
    ip netns add $namespace && ip -n $namespace link set lo up || return 1
  done
  ip -n h$1 link add cni0 type veth peer name eth0 netns c$1 &&
    ip -n h$1 address add 10.10.$1.1/24 dev cni0 &&
    ip -n h$1 link set cni0 up &&
    ip -n c$1 address add 10.10.$1.2/24 dev eth0 &&
    ip -n c$1 link set eth0 up &&
    ip -n c$1 route add default via 10.10.$1.1 &&
    ip netns exec h$1 sysctl -q -w net.ipv4.ip_forward=1
}

underlay() {
  ip -n h1 link add eth0 type veth peer name eth0 netns h2 || return 1
  for n in 1 2; do
    ip -n h$n address add 192.168.56.1$n/24 dev eth0 && ip -n h$n link set eth0 up || return 1
  done
}

hosts() { host 1 && host 2 && underlay && ip netns exec h1 ping -q -c 1 192.168.56.12; }

# weft_up N FLAG: starts weft on a host, its files under /run apart from the other's.
# The program itself, not the function, so that $! is weft's own number.
weft_up() {
  mkdir -p /run/weft$1
  rm -f /run/weft$1.log
  /usr/sbin/ip netns exec h$1 sh -c "
    mkdir -p /run/weft && mount --bind /run/weft$1 /run/weft &&
    exec node /weft/dist/src/cli/weft.js up -store-file=/network.json -iface=eth0 \
      -subnet-file=/run/weft/subnet.env $2" >/run/weft$1.log 2>&1 &
  echo $! >/run/weft$1.pid
  eventually grep -q ready: /run/weft$1.log
  ready=$?
  sed "s/^/h$1 weft: /" /run/weft$1.log
  [ $ready -eq 0 ] && test -s /run/weft$1/subnet.env
}

# weft_status N: asks weft over its socket, which lies in the mount namespace made for it.
weft_status() {
  status=$(nsenter -t "$(cat /run/weft$1.pid)" -m -n node /weft/dist/src/cli/weft.js status -json) &&
    echo "STATUS $status"
}

# weft_down N: as a service manager stops it; its device must be gone with it.
weft_down() {
  kill "$(cat /run/weft$1.pid)"
  wait "$(cat /run/weft$1.pid)"
  code=$?
  echo "weft on h$1 ended with exit $code"
  [ $code -eq 0 ] && ! ip -n h$1 link show flannel.1
}

# kernel_vtep N OTHER: the device as flannel makes it, with the MAC of the host's lease.
kernel_vtep() {
  ip -n h$1 link add flannel.1 address 02:00:00:00:00:0$1 mtu 1450 type vxlan id 1 \
    dev eth0 local 192.168.56.1$1 dstport 8472 nolearning &&
    ip -n h$1 address add 10.10.$1.0/32 dev flannel.1 &&
    ip -n h$1 link set flannel.1 up &&
    ip -n h$1 neighbour replace 10.10.$2.0 lladdr 02:00:00:00:00:0$2 dev flannel.1 \
      nud permanent &&
    bridge -n h$1 fdb append 02:00:00:00:00:0$2 dev flannel.1 dst 192.168.56.1$2 &&
    ip -n h$1 route replace 10.10.$2.0/24 via 10.10.$2.0 dev flannel.1 onlink
}

# The underlay of the first host becomes a member of a VRF, with its address.
vrf() {
  ip -n h1 link add blue type vrf table 10 &&
    ip -n h1 link set blue up &&
    ip -n h1 link set eth0 master blue &&
    ip netns exec h1 ping -q -c 1 -I blue 192.168.56.12
}

# logged N TEXT: what weft on a host says within 30 s.
logged() { eventually grep -q "$2" /run/weft$1.log; }

# The routes that count are those of the VRF's table.
route_mtu() {
  ip -n h1 route add default via 192.168.56.12 vrf blue mtu 1400 && logged 1 'flannel.1 has 1350' &&
    ip -n h1 route del default vrf blue && logged 1 'flannel.1 has 1450'
}

# While weft runs the underlay leaves the VRF: weft goes along.
out_of_vrf() {
  ip -n h1 link set eth0 nomaster && logged 1 'in no VRF' && reach 1 2 && reach 2 1
  result=$?
  sed "s/^/h1 weft: /" /run/weft1.log
  return $result
}

# reach FROM TO: five pings from container to container, small ones and full ones.
reach() {
  ip netns exec c$1 ping -q -c 3 -i 0.2 -W 10 -w 60 10.10.$2.2 &&
    ip netns exec c$1 ping -q -c 2 -i 0.2 -W 10 -w 60 -s 1422 10.10.$2.2
}

# transfer FROM TO: a megabyte of noise over TCP; both ends' sums must be the same. cat has the
# socket itself, since nc writes a kilobyte at a time, which leaves no super-packets.
transfer() {
  rm -f /tmp/sum
  head -c 1048576 /dev/urandom >/tmp/noise
  ip netns exec c$2 timeout 60 nc -l -p 5001 -e sh -c 'sha256sum >/tmp/sum' &
  listener=$!
  eventually listening $2
  ip netns exec c$1 timeout 60 nc 10.10.$2.2 5001 -e cat /tmp/noise
  wait $listener
  sent=$(sha256sum </tmp/noise)
  got=$(cat /tmp/sum)
  echo "sent $sent"
  echo "got  $got"
  [ "$sent" = "$got" ]
}

listening() { ip netns exec c$1 netstat -ltn | grep -q :5001; }

echo "
kernel $(uname -r)"
step no-vxlan no_vxlan
step modules insert base
step node node /offloads.cjs
step hosts hosts
step weft-h1 weft_up 1 -lanes=2
step weft-h2 weft_up 2
step ping-weft-to-weft reach 1 2
step tcp-weft-to-weft transfer 1 2
step tcp-weft-from-weft transfer 2 1
step weft-down-h2 weft_down 2
step vxlan-modules insert vxlan
step kernel-vtep kernel_vtep 2 1
step ping-weft-to-kernel reach 1 2
step ping-kernel-to-weft reach 2 1
step tcp-weft-to-kernel transfer 1 2
step tcp-kernel-to-weft transfer 2 1
step weft-status weft_status 1
step weft-down-h1 weft_down 1
step vrf-modules insert vrf
step vrf vrf
step weft-in-vrf weft_up 1 -lanes=2
step ping-vrf-to-kernel reach 1 2
step ping-kernel-to-vrf reach 2 1
step tcp-vrf-to-kernel transfer 1 2
step tcp-kernel-to-vrf transfer 2 1
step route-mtu-in-vrf route_mtu
step out-of-vrf out_of_vrf
step weft-down-vrf weft_down 1
echo "up for $(cut -d ' ' -f 1 /proc/uptime) s"
poweroff -f
