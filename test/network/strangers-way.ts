/**
 * A stranger behind a second network card of a host, whose way to the underlay leads through that
 * host: there only when the host is a router.
 */
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import type { Network } from '../../src/lab/network.js';
import type { Status } from '../../src/operate/status/status.js';

/** What weft says of a host that does not forward. */
export const WITHOUT_DOCKER =
  /^this host does not forward IPv4 \(\/proc\/sys\/net\/ipv4\/ip_forward is 0.*; do: sysctl -w net\.ipv4\.ip_forward=1; .*sysctl\.d\/50-forward\.conf .*systemctl restart docker/;

/** What it says of forwarding, text and what to type; nothing while it starts. */
export function forwardingIn({ findings = [] }: Partial<Pick<Status, 'findings'>>): string {
  const found = findings.filter(({ code }) => code === 'forwarding');
  return found.map(({ text, cure }) => `${text}; do: ${cure}`).join('\n');
}

/** etcd is what it wants to reach. */
export async function addStranger(network: Network, router: Host, etcd: Etcd): Promise<Host> {
  const stranger = await network.host('stranger', {
    address: '10.99.0.9/24',
    defaultRoute: false,
    forwarding: false,
  });
  await stranger.ip('link delete ens33');
  await router.ip(
    `link add name lan0 type veth peer name eth0 netns ${stranger.holder}`,
    'address add 10.99.0.1/24 dev lan0',
    'link set lan0 up',
  );
  await stranger.ip(
    'address add 10.99.0.9/24 dev eth0',
    'link set eth0 up',
    'route add default via 10.99.0.1',
  );
  await etcd.ip(`route add 10.99.0.0/24 via ${router.address}`);
  return stranger;
}

/** Whether the stranger reaches the underlay. */
export async function isRouted(stranger: Host): Promise<boolean> {
  const ping = ['ping', '-c', '1', '-W', '1', '192.168.56.131'];
  return (await stranger.run(ping, { mayFail: true })).code === 0;
}

/** A setting under net/ipv4: `ip_forward`, `conf/ens33/forwarding`. */
export async function forwards(host: Host, key: string): Promise<string> {
  return (await host.run(['cat', `/proc/sys/net/ipv4/${key}`])).stdout.trim();
}
