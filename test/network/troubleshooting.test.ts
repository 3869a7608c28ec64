/**
 * What docs/troubleshooting.md says is printed is printed: each of its symptoms is made, the page's
 * commands are typed, and their output has the page's lines in the page's order.
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { Running } from '../../src/lab/command.js';
import { enterLab } from '../../src/lab/enter.js';
import { type Host, WEFT } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { missing, typedOf } from '../docs/blocks.js';
import { again, nft, pause, Site, unshut } from './broken/site.js';
import { CONFIG, PREFIX } from './overlay.js';
import { pathsLack } from './paths.js';

const lacks = await pathsLack();
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const PAGE = fileURLToPath(new URL('../../../docs/troubleshooting.md', import.meta.url));
const NOBODY = 'http://192.168.56.99:2379';

/** Makes the symptom, and returns what mends it. */
type Make = (site: Site) => Promise<() => Promise<unknown>>;

interface Symptom {
  readonly make: Make;
  /** Where the page's commands are typed: alpha unless told. */
  readonly on?: (site: Site) => Host;
  readonly env?: (site: Site) => Record<string, string>;
  readonly within?: number;
}

let bare: Host;
let running: Running;
const onBare = { on: () => bare };
const ENDPOINTS = 'FLANNELD_ETCD_ENDPOINTS';
const gateway = (subnet: string) => subnet.replace('.0/', '.1/');
const nothing = async () => async () => {};
const shut =
  (host: (site: Site) => Host, hook: string, rule: string): Make =>
  async (site) => {
    await nft(host(site), hook, rule);
    return () => unshut(host(site));
  };
const stops = async () => running.stop();

/** In the order of the page's pairs of what is typed and what it prints. */
const SYMPTOMS: Readonly<Record<string, readonly Symptom[]>> = {
  'flanneld says: operation not supported': [
    {
      ...onBare,
      make: nothing,
      env: ({ etcd }) => ({ [ENDPOINTS]: etcd.endpoint, FLANNELD_ETCD_PREFIX: PREFIX }),
    },
  ],
  'dial tcp … connection refused; it waits and does not start': [
    {
      ...onBare,
      make: async () => {
        running = bare.weft(`-etcd-endpoints=${NOBODY}`, '-iface=ens33');
        return stops;
      },
    },
  ],
  "Couldn't fetch network config; key not found": [
    {
      ...onBare,
      make: nothing,
      env: ({ etcd }) => ({ [ENDPOINTS]: etcd.endpoint }),
    },
  ],
  'failed to find plugin; subnet.env: no such file or directory': [
    {
      make: async ({ alpha }) => {
        running = again(alpha, 'echo FLANNEL_MTU=9000 >/run/flannel/subnet.env');
        return stops;
      },
    },
  ],
  'lease … already; two hosts with one address': [
    {
      make: async ({ etcd }) => {
        const lease = { subnet: '10.10.178.0/24', publicIp: '192.168.56.12' };
        await etcd.register(PREFIX, { ...lease, mac: '02:00:00:00:00:78' });
        return () => etcd.delete(`${PREFIX}/subnets/10.10.178.0-24`);
      },
    },
  ],
  'error parsing etcd event; all flannelds lost their peers at once': [
    {
      make: async ({ etcd }) => {
        const key = `${PREFIX}/subnets/what-is-this`;
        await etcd.put(key, '{}');
        return () => etcd.delete(key);
      },
    },
  ],
  'the network config was changed': [
    {
      make: async (site) => {
        const put = async (config: string) => {
          await site.etcd.put(`${PREFIX}/config`, config);
          site.reload();
        };
        await put(CONFIG.replace('}}', ',"VNI":2}}'));
        return () => put(CONFIG);
      },
    },
  ],
  'no route to host; nothing passes at all': [
    {
      make: async ({ alpha }) => {
        await alpha.ip('link set ens33 down');
        return () => alpha.ip('link set ens33 up', 'route replace default via 192.168.56.1');
      },
    },
    {
      make: async ({ alpha }) => {
        await alpha.ip(
          'route add 10.0.0.0/8 via 192.168.56.1 table 52',
          'rule add priority 5270 lookup 52',
        );
        return () => alpha.ip('rule del priority 5270', 'route flush table 52');
      },
    },
  ],
  'containers on one host reach each other, not those of another host': [
    { make: shut(({ beta }) => beta, 'input', 'udp dport 8472 drop') },
    { make: shut(({ beta }) => beta, 'input', 'udp dport 8472 drop') },
    {
      make: async (site) => {
        await site.other.stop();
        return () => site.restartOther();
      },
    },
  ],
  'works from the host, not from a container': [
    {
      make: async ({ alpha }) => {
        await alpha.sysctl('net.ipv4.ip_forward=0');
        return () => alpha.sysctl('net.ipv4.ip_forward=1');
      },
    },
    { make: shut(({ alpha }) => alpha, 'forward', 'oifname "flannel.1" reject') },
  ],
  'ping works one way': [
    { make: shut(({ alpha }) => alpha, 'input', 'udp dport 8472 drop') },
    { make: nothing },
  ],
  'small pings pass and TCP hangs': [
    {
      make: shut(({ beta }) => beta, 'prerouting', 'udp dport 8472 meta length > 1000 drop'),
      within: 45_000,
    },
    {
      make: async ({ alpha }) => {
        await alpha.ip('link set veth-xbox1 mtu 1500', 'link set docker0 mtu 1500');
        return () => alpha.ip('link set veth-xbox1 mtu 1450', 'link set docker0 mtu 1450');
      },
    },
  ],
  'it worked until a reboot': [
    {
      make: async ({ alpha, subnet }) => {
        const own = `${gateway(subnet)} dev docker0`;
        await alpha.ip(`addr del ${own}`, 'addr add 172.17.0.1/16 dev docker0');
        return () => alpha.ip('addr del 172.17.0.1/16 dev docker0', `addr add ${own}`);
      },
    },
  ],
  'it breaks again and again': [
    {
      make: async ({ alpha }) => {
        running = again(alpha, 'ip link del flannel.1 2>/dev/null');
        return stops;
      },
    },
  ],
  'slow: a few Mb/s': [{ make: nothing }, { make: nothing }],
};

describe('docs/troubleshooting.md', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let site: Site;
  const pairs = typedOf(PAGE).filter(({ prints }) => prints !== undefined);

  before(async () => {
    site = await Site.open();
    bare = await site.network.host('bare', { address: '192.168.56.14/24' });
  });
  after(() => site?.lab.close());

  test('every symptom of the page is made, and the other way round', () => {
    const counted = new Map<string, number>();
    for (const { block } of pairs) {
      counted.set(block.heading, (counted.get(block.heading) ?? 0) + 1);
    }
    const made = Object.entries(SYMPTOMS).map(([heading, all]) => [heading, all.length]);
    assert.deepEqual(Object.fromEntries(counted), Object.fromEntries(made));
  });

  const seen = new Map<string, number>();
  for (const { block, prints } of pairs) {
    const at = seen.get(block.heading) ?? 0;
    seen.set(block.heading, at + 1);
    const symptom = SYMPTOMS[block.heading]?.[at];
    test(`${block.heading}: ${block.text.trim()}`, async (t) => {
      assert.ok(symptom, `the test has no symptom ${at} below this heading`);
      const host = symptom.on?.(site) ?? site.alpha;
      const type = async () => {
        const line = block.text.trim().replace('OTHER', site.kernel.subnet.replace('.0/24', '.7'));
        const argv = line.split(' ').slice(1);
        const env = symptom.env?.(site) ?? {};
        const { stdout } = await host.run([process.execPath, WEFT, ...argv], {
          mayFail: true,
          env,
        });
        return stdout;
      };
      const mend = await symptom.make(site);
      let output = '';
      try {
        const deadline = performance.now() + (symptom.within ?? 12_000);
        for (;;) {
          output = await type();
          const lack = missing(prints!.text, output);
          if (lack === undefined) break;
          assert.ok(performance.now() < deadline, `${lack}\n\n${output}`);
          await pause(300);
        }
      } finally {
        t.diagnostic(output);
        await mend();
      }
      // The next begins with a host that is well.
      while ((await site.status())?.verdict.text !== '2 peers') await pause(200);
    });
  }
});
