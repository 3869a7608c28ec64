/**
 * Listings recorded beside a flanneld of August 2026 (iptables 1.8.9 with nf_tables, nft 1.0.6), and the
 * flags of that flanneld.
 */
import type { Rules } from '../../../../src/control/host/firewall/rules.js';

export interface Recorded {
  readonly title: string;
  readonly network: string;
  readonly subnet: string;
  readonly flags: readonly string[];
  readonly listing: string;
}

/** What those flags ask for. */
export function rulesOf({ network, subnet, flags }: Recorded): Rules {
  return {
    network,
    subnet,
    masquerade: flags.some((flag) => /^-+ip-masq$/.test(flag)),
    fullyRandom: !flags.some((flag) => flag.includes('fully-random-disable')),
    forward: !flags.some((flag) => flag.includes('forward-rules=false')),
  };
}

/** An nft listing without comments, and with the two rules of flannel's that are wrong set right. */
export function corrected({ listing, network, subnet }: Recorded): string {
  return listing
    .replace(/^\s*comment ".*"\n/gm, '')
    .replace('meta mark 0x00004000 return', 'meta mark & 0x00004000 == 0x00004000 return')
    .replace(
      `ip saddr != ${subnet} ip daddr ${network} return`,
      `ip saddr != ${network} ip daddr ${subnet} return`,
    );
}

/** `iptables-save`, of a dual-stack host too. */
export const IPTABLES: readonly Recorded[] = [
  {
    title: 'no --ip-masq (default forward rules)',
    network: '10.20.0.0/16',
    subnet: '10.20.24.0/24',
    flags: [],
    listing: `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT`,
  },
  {
    title: '--ip-masq',
    network: '10.20.0.0/16',
    subnet: '10.20.23.0/24',
    flags: ['-ip-masq'],
    listing: `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.23.0/24 -d 10.20.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.0.0/16 -d 10.20.23.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.20.0.0/16 -d 10.20.23.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.20.0.0/16 -d 10.20.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT`,
  },
  {
    title: '--ip-masq --ip-masq-fully-random-disable',
    network: '10.20.0.0/16',
    subnet: '10.20.88.0/24',
    flags: ['-ip-masq', '-ip-masq-fully-random-disable'],
    listing: `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.88.0/24 -d 10.20.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.0.0/16 -d 10.20.88.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.20.0.0/16 -d 10.20.88.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE
-A FLANNEL-POSTRTG ! -s 10.20.0.0/16 -d 10.20.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE
COMMIT`,
  },
  {
    title: '--iptables-forward-rules=false',
    network: '10.20.0.0/16',
    subnet: '10.20.83.0/24',
    flags: ['-iptables-forward-rules=false'],
    listing: ``,
  },
  {
    title: '--ip-masq --iptables-forward-rules=false',
    network: '10.20.0.0/16',
    subnet: '10.20.78.0/24',
    flags: ['-ip-masq', '-iptables-forward-rules=false'],
    listing: `*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.78.0/24 -d 10.20.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.0.0/16 -d 10.20.78.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.20.0.0/16 -d 10.20.78.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.20.0.0/16 -d 10.20.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT`,
  },
  {
    title: 'FORWARD policy DROP and other rules present before, --ip-masq',
    network: '10.20.0.0/16',
    subnet: '10.20.97.0/24',
    flags: ['-ip-masq'],
    listing: `*filter
:INPUT ACCEPT [0:0]
:FORWARD DROP [0:0]
:OUTPUT ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -j LOG
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -s 172.17.0.0/16 -j MASQUERADE
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.97.0/24 -d 10.20.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.0.0/16 -d 10.20.97.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.20.0.0/16 -d 10.20.97.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.20.0.0/16 -d 10.20.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT`,
  },
  {
    title: 'dual stack --ip-masq',
    network: '10.20.0.0/16',
    subnet: '10.20.65.0/24',
    flags: ['-ip-masq'],
    listing: `*filter
:INPUT ACCEPT [0:0]
:FORWARD ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.20.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.65.0/24 -d 10.20.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.0.0/16 -d 10.20.65.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.20.0.0/16 -d 10.20.65.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.20.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.20.0.0/16 -d 10.20.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT`,
  },
];

/** `nft list table ip flannel-ipv4`. */
export const NFTABLES: readonly Recorded[] = [
  {
    title: 'EnableNFTables, --ip-masq, fresh',
    network: '10.20.0.0/16',
    subnet: '10.20.99.0/24',
    flags: ['-ip-masq'],
    listing: `table ip flannel-ipv4 {
	comment "rules for flannel-ipv4"
	chain postrtg {
		comment "chain to manage traffic masquerading by flannel"
		type nat hook postrouting priority srcnat; policy accept;
		meta mark 0x00004000 return
		ip saddr 10.20.99.0/24 ip daddr 10.20.0.0/16 return
		ip saddr 10.20.0.0/16 ip daddr 10.20.99.0/24 return
		ip saddr != 10.20.99.0/24 ip daddr 10.20.0.0/16 return
		ip saddr 10.20.0.0/16 ip daddr != 224.0.0.0/4 masquerade fully-random
		ip saddr != 10.20.0.0/16 ip daddr 10.20.0.0/16 masquerade fully-random
	}

	chain forward {
		comment "chain to accept flannel traffic"
		type filter hook forward priority filter; policy accept;
		ip saddr 10.20.0.0/16 accept
		ip daddr 10.20.0.0/16 accept
	}
}
`,
  },
  {
    title: 'EnableNFTables, no --ip-masq',
    network: '10.20.0.0/16',
    subnet: '10.20.26.0/24',
    flags: [],
    listing: `table ip flannel-ipv4 {
	comment "rules for flannel-ipv4"
	chain forward {
		comment "chain to accept flannel traffic"
		type filter hook forward priority filter; policy accept;
		ip saddr 10.20.0.0/16 accept
		ip daddr 10.20.0.0/16 accept
	}
}
`,
  },
  {
    title:
      'EnableNFTables, --ip-masq --ip-masq-fully-random-disable --iptables-forward-rules=false',
    network: '10.20.0.0/16',
    subnet: '10.20.51.0/24',
    flags: ['-ip-masq', '-iptables-forward-rules=false', '-ip-masq-fully-random-disable'],
    listing: `table ip flannel-ipv4 {
	comment "rules for flannel-ipv4"
	chain postrtg {
		comment "chain to manage traffic masquerading by flannel"
		type nat hook postrouting priority srcnat; policy accept;
		meta mark 0x00004000 return
		ip saddr 10.20.51.0/24 ip daddr 10.20.0.0/16 return
		ip saddr 10.20.0.0/16 ip daddr 10.20.51.0/24 return
		ip saddr != 10.20.51.0/24 ip daddr 10.20.0.0/16 return
		ip saddr 10.20.0.0/16 ip daddr != 224.0.0.0/4 masquerade
		ip saddr != 10.20.0.0/16 ip daddr 10.20.0.0/16 masquerade
	}
}
`,
  },
];
