/** Hosts as they are found, each with something that a careless check would take for a fault. */
import type { Host } from '../../src/lab/host.js';

export interface Healthy {
  readonly is: string;
  /** Before weft starts. */
  readonly prepare?: (host: Host) => Promise<unknown>;
  /** Once it runs, and its container is there. */
  readonly finish?: (host: Host) => Promise<unknown>;
  readonly bridge?: string;
  /** What starts weft. */
  readonly by?: readonly string[];
}

const nft = (host: Host, input: string) => host.run(['nft', '-f', '-'], { input });
const filter = (host: Host, lines: string) => {
  const input = `*filter\n${lines.trim().replaceAll(/^ +/gm, '')}\nCOMMIT\n`;
  return host.run(['iptables-restore', '--noflush'], { input });
};

/** As dockerd writes it where it switches forwarding on. */
const DOCKER = `
  :FORWARD DROP [0:0]
  :DOCKER - [0:0]
  :DOCKER-ISOLATION-STAGE-1 - [0:0]
  :DOCKER-ISOLATION-STAGE-2 - [0:0]
  :DOCKER-USER - [0:0]
  -A FORWARD -j DOCKER-USER
  -A FORWARD -j DOCKER-ISOLATION-STAGE-1
  -A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
  -A FORWARD -o docker0 -j DOCKER
  -A FORWARD -i docker0 ! -o docker0 -j ACCEPT
  -A FORWARD -i docker0 -o docker0 -j ACCEPT
  -A DOCKER -d 10.10.99.2/32 ! -i docker0 -o docker0 -p tcp -m tcp --dport 80 -j ACCEPT
  -A DOCKER-ISOLATION-STAGE-1 -i docker0 ! -o docker0 -j DOCKER-ISOLATION-STAGE-2
  -A DOCKER-ISOLATION-STAGE-1 -j RETURN
  -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP
  -A DOCKER-ISOLATION-STAGE-2 -j RETURN
  -A DOCKER-USER -j RETURN`;

/** ufw's frame with \`ufw allow 8472/udp\` and \`ufw route allow\` for the overlay. */
const UFW = `
  :INPUT DROP [0:0]
  :FORWARD DROP [0:0]
  :ufw-before-input - [0:0]
  :ufw-before-forward - [0:0]
  :ufw-after-input - [0:0]
  :ufw-user-input - [0:0]
  :ufw-user-forward - [0:0]
  :ufw-not-local - [0:0]
  -A INPUT -j ufw-before-input
  -A INPUT -j ufw-after-input
  -A FORWARD -j ufw-before-forward
  -A ufw-before-input -i lo -j ACCEPT
  -A ufw-before-input -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
  -A ufw-before-input -m conntrack --ctstate INVALID -j DROP
  -A ufw-before-input -p icmp -m icmp --icmp-type 8 -j ACCEPT
  -A ufw-before-input -j ufw-not-local
  -A ufw-before-input -j ufw-user-input
  -A ufw-not-local -m addrtype --dst-type LOCAL -j RETURN
  -A ufw-not-local -m addrtype --dst-type MULTICAST -j RETURN
  -A ufw-not-local -j DROP
  -A ufw-after-input -p udp -m udp --dport 137 -j DROP
  -A ufw-user-input -p udp -m udp --dport 8472 -j ACCEPT
  -A ufw-user-input -p tcp -m tcp --dport 22 -j ACCEPT
  -A ufw-before-forward -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
  -A ufw-before-forward -j ufw-user-forward
  -A ufw-user-forward -i docker0 -o flannel.1 -j ACCEPT
  -A ufw-user-forward -i flannel.1 -o docker0 -j ACCEPT`;

const KUBE_PROXY = `
  :KUBE-FIREWALL - [0:0]
  :KUBE-FORWARD - [0:0]
  :KUBE-SERVICES - [0:0]
  :KUBE-EXTERNAL-SERVICES - [0:0]
  :KUBE-PROXY-FIREWALL - [0:0]
  -A INPUT -m conntrack --ctstate NEW -j KUBE-PROXY-FIREWALL
  -A INPUT -m conntrack --ctstate NEW -j KUBE-EXTERNAL-SERVICES
  -A INPUT -j KUBE-FIREWALL
  -A FORWARD -j KUBE-FORWARD
  -A FORWARD -m conntrack --ctstate NEW -j KUBE-SERVICES
  -A OUTPUT -m conntrack --ctstate NEW -j KUBE-SERVICES
  -A OUTPUT -j KUBE-FIREWALL
  -A KUBE-FIREWALL ! -s 127.0.0.0/8 -d 127.0.0.0/8 -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP
  -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP
  -A KUBE-FORWARD -m mark --mark 0x4000/0x4000 -j ACCEPT
  -A KUBE-FORWARD -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
  -A KUBE-SERVICES -d 10.96.0.10/32 -p tcp -m tcp --dport 9153 -j REJECT --reject-with icmp-port-unreachable`;

/** firewalld's frame: the underlay in a zone with the port, the overlay's devices in one that trusts. */
const FIREWALLD = `
table inet firewalld {
  chain filter_PREROUTING {
    type filter hook prerouting priority 10; policy accept;
    meta nfproto ipv6 fib saddr . mark . iif oif missing drop
  }
  chain filter_INPUT {
    type filter hook input priority 10; policy accept;
    ct state { established, related } accept
    iifname "lo" accept
    jump filter_INPUT_ZONES
    ct state invalid drop
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD {
    type filter hook forward priority 10; policy accept;
    ct state { established, related } accept
    iifname "lo" accept
    jump filter_FORWARD_ZONES
    ct state invalid drop
    reject with icmpx admin-prohibited
  }
  chain filter_INPUT_ZONES {
    iifname { "docker0", "flannel.1" } accept
    iifname "ens33" goto filter_IN_public
  }
  chain filter_IN_public {
    tcp dport 22 accept
    udp dport 8472 accept
    meta l4proto { icmp, ipv6-icmp } accept
    reject with icmpx admin-prohibited
  }
  chain filter_FORWARD_ZONES {
    iifname { "docker0", "flannel.1" } accept
    iifname "ens33" reject with icmpx admin-prohibited
  }
}`;

const NFTABLES = `
table inet filter {
  chain input {
    type filter hook input priority filter; policy drop;
    ct state vmap { established : accept, related : accept, invalid : drop }
    iifname "lo" accept
    ip protocol icmp accept
    iifname "ens33" udp dport 8472 accept
  }
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname { "docker0", "flannel.1" } oifname { "docker0", "flannel.1", "ens33" } accept
  }
}`;

export const HEALTHY: readonly Healthy[] = [
  { is: 'plain' },
  { is: 'docker', prepare: (host) => filter(host, DOCKER) },
  { is: 'ufw', prepare: (host) => filter(host, UFW) },
  { is: 'kube-proxy', prepare: (host) => filter(host, KUBE_PROXY) },
  { is: 'firewalld', prepare: (host) => nft(host, FIREWALLD) },
  { is: 'nftables', prepare: (host) => nft(host, NFTABLES) },
  {
    // As wg-quick makes it, with a TUN in place of the device.
    is: 'wg-quick',
    prepare: (host) =>
      host.ip(
        'tuntap add wg0 mode tun',
        'link set wg0 mtu 1420 up',
        'addr add 10.200.0.2/32 dev wg0',
        'route add 0.0.0.0/0 dev wg0 table 51820',
        'rule add not fwmark 51820 table 51820',
        'rule add table main suppress_prefixlength 0',
      ),
  },
  {
    is: 'rp_filter strict everywhere',
    prepare: (host) =>
      host.sysctl('net.ipv4.conf.all.rp_filter=1', 'net.ipv4.conf.default.rp_filter=1'),
    finish: (host) => host.sysctl('net.ipv4.conf.ens33.rp_filter=1'),
  },
  {
    is: 'two uplinks, each strict',
    prepare: async (host) => {
      await host.ip(
        'link add ens34 type veth peer name far34',
        'addr add 192.168.58.11/24 dev ens34',
        'link set far34 up',
        'link set ens34 up',
        'route replace default via 192.168.58.1 metric 50',
      );
      await host.sysctl('net.ipv4.conf.all.rp_filter=1');
    },
  },
  {
    // docker0 stays from the time before, and has no part in it.
    is: 'CNI',
    bridge: 'cni0',
    prepare: (host) =>
      host.ip(
        'link add docker0 type bridge',
        'addr add 172.17.0.1/16 dev docker0',
        'link set docker0 up',
      ),
  },
  {
    is: 'no IPv6',
    prepare: (host) =>
      host.sysctl('net.ipv6.conf.all.disable_ipv6=1', 'net.ipv6.conf.default.disable_ipv6=1'),
  },
  { is: 'without CAP_NET_RAW', by: ['setpriv', '--bounding-set=-net_raw'] },
];
