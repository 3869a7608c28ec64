/**
 * The rules of programs that share a host with weft, as those wrote them on real hosts: recorded/,
 * `.txt` by iptables-save, `.nft` by `nft -j`, without what translates addresses. The first line of a
 * `.txt` says by what it was made; the others are of firewalld 1.3.3, 2.3.1 and 2.5.2 and netavark
 * 1.14.0, listed by the nft of the same Debian (1.0.6, 1.1.3, 1.1.7). The bridge is docker0, the
 * underlay's device ens33.
 */
import fs from 'node:fs';

// Compiled tests stand in dist, what they read does not.
const RECORDED = new URL(
  import.meta.url.replace('/dist/test/', '/test/').replace(/[^/]+$/, 'recorded/'),
);

export function recorded(name: string): string {
  return fs.readFileSync(new URL(name, RECORDED), 'utf8');
}

/** As kube-proxy's own tests of its nftables mode have it, shortened: of chains that are alike, one. */
export const KUBE_PROXY_NFT = `table ip kube-proxy {
\tset cluster-ips {
\t\ttype ipv4_addr
\t\telements = { 10.96.0.1, 10.96.0.10 }
\t}
\tmap no-endpoint-services {
\t\ttype ipv4_addr . inet_proto . inet_service : verdict
\t\telements = { 10.96.0.10 . udp . 53 : goto reject-chain }
\t}
\tmap firewall-ips {
\t\ttype ipv4_addr . inet_proto . inet_service : verdict
\t}
\tchain reject-chain {
\t\treject
\t}
\tchain cluster-ips-check {
\t\tip daddr @cluster-ips reject comment "Reject traffic to invalid ports of ClusterIPs"
\t\tip daddr 10.96.0.0/12 drop comment "Drop traffic to unallocated ClusterIPs"
\t}
\tchain firewall-check {
\t\tip daddr . meta l4proto . th dport vmap @firewall-ips
\t}
\tchain service-endpoints-check {
\t\tip daddr . meta l4proto . th dport vmap @no-endpoint-services
\t}
\tchain filter-prerouting {
\t\ttype filter hook prerouting priority -110; policy accept;
\t\tct state new jump firewall-check
\t}
\tchain filter-forward {
\t\ttype filter hook forward priority -110; policy accept;
\t\tct state new jump service-endpoints-check
\t\tct state new jump cluster-ips-check
\t}
\tchain filter-output {
\t\ttype filter hook output priority -110; policy accept;
\t\tct state new jump service-endpoints-check
\t\tct state new jump firewall-check
\t}
}
`;
