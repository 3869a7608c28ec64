/** What others do to the host's links, addresses, routes, rules and settings. */
import type { Host } from '../../../src/lab/host.js';
import { statusOf } from '../site.js';
import { nothing, type Trouble } from './trouble.js';

/** Commands for `ip`, and those that take it back. */
function ip(name: string, loses: boolean, make: string[], mend: string[] = []): Trouble {
  return {
    name,
    loses,
    async make(_site, { host }) {
      await host.ip(...make);
      return async () => {
        if (mend.length > 0) await host.ip(...mend);
      };
    },
  };
}

function run(name: string, loses: boolean, make: string, mend = 'true'): Trouble {
  return {
    name,
    loses,
    async make(_site, { host }) {
      await host.run(['sh', '-c', make]);
      return async () => {
        await host.run(['sh', '-c', mend]);
      };
    },
  };
}

async function subnetOf(host: Host): Promise<string> {
  return (await statusOf(host))?.lease.subnet ?? '';
}

const MANY = Array.from({ length: 500 }, (_, i) => `10.99.${i >> 4}.${(i & 15) << 4}/28`);

export const networkTroubles: readonly Trouble[] = [
  {
    name: 'the address is flushed',
    loses: true,
    async make(_site, { host, address }) {
      await host.run(['ip', 'addr', 'flush', 'dev', 'ens33']);
      return () =>
        host.ip(`addr add ${address}/24 dev ens33`, 'route add default via 192.168.56.1');
    },
  },
  ip(
    'the link is down',
    true,
    ['link set ens33 down'],
    ['link set ens33 up', 'route add default via 192.168.56.1'],
  ),
  ip('a smaller MTU', true, ['link set ens33 mtu 1400'], ['link set ens33 mtu 1500']),
  ip('the TUN is deleted', true, ['link del flannel.1']),
  ip('the TUN is down', true, ['link set flannel.1 down']),
  ip("the TUN's MTU", true, ['link set flannel.1 mtu 1200']),
  ip("the TUN's address", true, ['addr flush dev flannel.1']),
  ip(
    'the default route goes',
    false,
    ['route del default'],
    ['route add default via 192.168.56.1'],
  ),
  ip(
    'a second address and a floating one',
    false,
    ['addr add 192.168.56.77/24 dev ens33', 'addr add 192.168.56.78/32 dev ens33'],
    ['addr del 192.168.56.77/24 dev ens33', 'addr del 192.168.56.78/32 dev ens33'],
  ),
  ip(
    'another interface',
    false,
    [
      'link add eth9 type veth peer name eth10',
      'addr add 172.31.9.2/24 dev eth9',
      'link set eth9 up',
    ],
    ['link del eth9'],
  ),
  ip(
    "others' routes come and go",
    false,
    MANY.map((prefix) => `route add ${prefix} via 192.168.56.1`),
    MANY.map((prefix) => `route del ${prefix} via 192.168.56.1`),
  ),
  {
    name: 'the routes to the peers are flushed',
    loses: true,
    async make(_site, { host }) {
      await host.run(['ip', 'route', 'flush', 'dev', 'flannel.1']);
      return nothing;
    },
  },
  {
    name: 'a route leads half of our own subnet away',
    loses: true,
    async make(_site, { host }) {
      const half = (await subnetOf(host)).replace(/\/\d+$/, '/25');
      await host.ip(`route add ${half} via 192.168.56.1`);
      return () => host.ip(`route del ${half} via 192.168.56.1`);
    },
  },
  run(
    'forwarding is switched off on the TUN',
    true,
    'sysctl -qw net.ipv4.conf.flannel/1.forwarding=0',
  ),
  run(
    'all rules of weft are flushed',
    false,
    'iptables -F; iptables -t mangle -F; iptables -t nat -F',
  ),
  run(
    "others' rules come and go",
    false,
    'for i in $(seq 50); do iptables -A FORWARD -s 10.98.$i.0/24 -j ACCEPT; done',
    'for i in $(seq 50); do iptables -D FORWARD -s 10.98.$i.0/24 -j ACCEPT; done',
  ),
];
