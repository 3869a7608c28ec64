/**
 * The documents by task, typed as they stand on fresh Debian machines: an etcd, two hosts, nothing but
 * what the Debian package brings. A document that says what is printed is held to it.
 *
 *   node dist/test/packages/documents.js            each must pass
 *   WEFT_DOCUMENTS_PRINT=1 node …                   and what was printed, to be put into a document
 *   node --test-name-pattern=docker dist/…          one of them
 */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { dockerLacks } from '../../src/lab/docker.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { packImage } from '../../src/lab/image.js';
import { Lab } from '../../src/lab/lab.js';
import type { Network } from '../../src/lab/network.js';
import { missing, type Typed, typedOf } from '../docs/blocks.js';
import { FLANNELD, FLANNELD_IMAGE, FLANNELD_UNIT } from './flanneld.js';
import { MACHINE, Machine } from './machine.js';
import { makeRoot, rootLacks } from './root.js';

// In the lab, which reaches no mirror, it has been asked.
const lacks = Lab.inside() ? undefined : (rootLacks() ?? dockerLacks() ?? labLacks({ tun: true }));
const ROOT = () => makeRoot('trixie', MACHINE);
if (lacks === undefined && !Lab.inside()) {
  ROOT();
  process.exit(await enterLab(process.argv.slice(2), { docker: true }));
}

const ADDRESSES = {
  ...{ etcd: '192.168.56.131', a: '192.168.56.11', b: '192.168.56.12' },
  c: '192.168.56.13', // a host whose kernel has VXLAN
} as const;
type Name = keyof typeof ADDRESSES;
const USUAL: readonly Name[] = ['etcd', 'a', 'b'];

let lab: Lab;
let network: Network;
let made = 0;

/** The three machines, and the package in root's folder on the two hosts. */
class Site {
  readonly machines = new Map<Name, Machine>();

  static async create(names: readonly Name[]): Promise<Site> {
    const site = new Site();
    made += 1;
    for (const name of names) {
      const machine = await Machine.create(network, ROOT(), `${name}${made}`, ADDRESSES[name]);
      site.machines.set(name, machine);
      if (name !== 'etcd')
        await machine.write(`/root/${path.basename(deb())}`, fs.readFileSync(deb()));
    }
    return site;
  }

  on(name: string): Machine {
    const machine = this.machines.get(name as Name);
    assert.ok(machine !== undefined, `there is no machine ${name}`);
    return machine;
  }

  /** Types a block on each of its machines in turn, and looks at what the last one printed. */
  async follow({ block, prints }: Typed): Promise<void> {
    for (const name of block.words) {
      const { code, stdout } = await this.on(name).type(block.text);
      const where = `"${block.heading}", line ${block.line}, on ${name}`;
      if (process.env.WEFT_DOCUMENTS_PRINT) console.log(`=== ${where}\n${stdout}=== end`);
      assert.equal(code, 0, `${where}: ${stdout.slice(-4_000)}`);
      if (prints === undefined || process.env.WEFT_DOCUMENTS_PRINT) continue;
      if (name !== block.words[0]) continue;
      assert.equal(missing(prints.text, stdout), undefined, `${where} printed:\n${stdout}`);
    }
  }

  async close(): Promise<void> {
    for (const machine of [...this.machines.values()].reverse()) await machine.close();
  }
}

function deb(): string {
  const name = fs.readdirSync('dist/packages').find((one) => one.endsWith('_amd64.deb'));
  assert.ok(name !== undefined, 'no Debian package: npm run package');
  return path.resolve('dist/packages', name);
}

const document = (name: string) => typedOf(`docs/${name}`);
const section = (name: string, heading: string) => {
  const all = document(name).filter(({ block }) => block.heading === heading);
  assert.ok(all.length > 0, `docs/${name} has no block below "${heading}"`);
  return all;
};

/** Steps 1 and 2 of the first network, which the others begin with. */
async function joined(site: Site): Promise<void> {
  for (const typed of document('first-network.md')) {
    if (!/^[12]\. /.test(typed.block.heading)) continue;
    for (const name of typed.block.words) {
      const { code, stdout } = await site.on(name).type(typed.block.text);
      assert.equal(code, 0, stdout);
    }
  }
}

/** An image of the lab's own making, in a machine's engine. */
async function image(
  site: Site,
  name: string,
  tar: string,
  init: readonly string[],
): Promise<void> {
  const machine = site.on(name);
  await machine.write('/root/image/image.tar', fs.readFileSync(tar));
  const change = `CMD ${JSON.stringify(init)}`;
  const line = `docker import -c '${change}' image/image.tar ${path.basename(tar, '.tar')}; rm -r image`;
  const { code, stdout } = await machine.type(line);
  assert.equal(code, 0, stdout);
}

async function typed(site: Site, name: string, text: string): Promise<string> {
  const { code, stdout } = await site.on(name).type(text);
  assert.equal(code, 0, `${text}: ${stdout}`);
  return stdout;
}

async function busybox(): Promise<string> {
  return packImage(lab.directory('images', 'busybox'), { programs: ['busybox'] });
}

/** What Debian's image would be: the machine's own root, where apt finds nothing to do. */
async function debian(site: Site): Promise<void> {
  await typed(
    site,
    'a',
    'tar -C / --one-file-system -c bin etc lib lib64 sbin usr tmp var/lib/dpkg var/lib/apt var/cache/apt/archives var/log' +
      " --exclude=usr/bin/docker* --exclude=usr/sbin/dockerd --exclude='usr/bin/containerd*' --exclude=usr/lib/cni" +
      ' --exclude=usr/bin/etcd --exclude=usr/lib/weft | docker import - debian:13-slim >/dev/null',
  );
}

describe('the documents, typed as they stand', { skip: lacks ?? false, timeout: 1_200_000 }, () => {
  let site: Site | undefined;
  before(async () => {
    lab = await Lab.open();
    network = await lab.network();
  });
  after(() => lab?.close());

  const fresh = (title: string, work: (site: Site) => Promise<void>, names = USUAL) =>
    test(title, async () => {
      site = await Site.create(names);
      try {
        await work(site);
      } finally {
        await site.close();
      }
    });
  const follow = async (on: Site, all: readonly Typed[]) => {
    for (const one of all) await on.follow(one);
  };

  fresh('README.md: use it', async (on) => {
    await typed(on, 'etcd', document('first-network.md')[0]!.block.text);
    const all = typedOf('README.md').filter(({ block }) => block.words.length > 0);
    assert.equal(all.length, 1);
    await follow(on, all);
  });

  fresh('first-network.md', (on) => follow(on, document('first-network.md')));

  fresh('cni.md', async (on) => {
    await joined(on);
    await follow(on, document('cni.md'));
  });

  fresh(
    'benchmark.md: the overlay',
    async (on) => {
      for (const name of ['a', 'b']) await typed(on, name, 'apt-get install -y ./weft_*.deb');
      for (const one of section('benchmark.md', 'The overlay')) {
        await on.follow(one);
        const others = one.block.text.startsWith('n=1\n') ? (['b', 'c'] as const) : [];
        for (const name of others) {
          const n = name === 'b' ? 2 : 3;
          await typed(on, name, one.block.text.replace('n=1', `n=${n}`));
        }
      }
    },
    ['a', 'b', 'c'],
  );

  fresh('firewall.md', async (on) => {
    await joined(on);
    // A closed host: what comes by the tunnel is let in by what the document says, and by that alone.
    await typed(on, 'a', 'iptables -P INPUT DROP; iptables -A INPUT -s 192.168.56.131 -j ACCEPT');
    const ping = 'ping -c 1 -W 1 "$(ip route show dev flannel.1 | sed -n \'s|/24 .*||p\')" || true';
    // A status that knows of the closed door ends with 1.
    const inbound = async () =>
      /^inbound +(\d+)/m.exec(await typed(on, 'a', 'weft status || true'))![1];
    const before = await inbound();
    await typed(on, 'b', ping);
    assert.equal(await inbound(), before);
    await follow(on, document('firewall.md'));
    for (let tries = 0; tries < 10 && (await inbound()) === before; tries += 1) {
      await typed(on, 'b', ping);
    }
    assert.notEqual(await inbound(), before);
  });

  fresh('docker.md', async (on) => {
    await joined(on);
    await typed(on, 'a', 'systemctl start docker');
    await typed(on, 'b', 'systemctl start docker');
    const tar = await busybox();
    for (const name of ['a', 'b']) await image(on, name, tar, ['sh']);
    await follow(on, document('docker.md'));
  });

  fresh('upgrade.md', async (on) => {
    await joined(on);
    await typed(
      on,
      'a',
      'dpkg-deb -R weft_*.deb next; rm weft_*.deb; sed -i "s/^Version: .*/Version: 0.1.1/" next/DEBIAN/control;' +
        ' sed -i \'s/"version": ".*"/"version": "0.1.1"/\' next/usr/lib/weft/package.json;' +
        ' dpkg-deb -Znone -b next weft_0.1.1_amd64.deb; rm -r next',
    );
    await follow(on, document('upgrade.md'));
  });

  fresh('remove.md', async (on) => {
    await joined(on);
    await follow(on, document('remove.md'));
    assert.match(await typed(on, 'a', 'ip link; iptables -S; nft list tables'), /eth0/);
    const left = await typed(
      on,
      'a',
      'ip -o link show type tun; iptables-save | grep -i -e weft -e flannel || true',
    );
    assert.equal(left, '');
  });

  fresh('container.md', async (on) => {
    await typed(on, 'etcd', document('first-network.md')[0]!.block.text);
    await typed(on, 'a', 'systemctl start docker');
    await debian(on);
    await follow(on, document('container.md'));
  });

  describe('migration.md', () => {
    /** A host on which flanneld runs from a unit, its flags in ExecStart, the program in /usr/local/bin. */
    async function flannel(on: Site): Promise<void> {
      await typed(on, 'etcd', document('first-network.md')[0]!.block.text);
      await typed(on, 'a', 'apt-get install -y ./weft_*.deb');
      await on.on('a').write('/usr/local/bin/flanneld', FLANNELD, 0o755);
    }
    const lease = (on: Site) =>
      typed(
        on,
        'etcd',
        'ETCDCTL_API=3 etcdctl get --prefix /coreos.com/network/subnets/ --keys-only',
      );
    const flags = (on: Site) => typed(on, 'a', 'cat /run/flannel/flags');

    fresh('two units', async (on) => {
      await flannel(on);
      await on.on('a').write('/etc/systemd/system/flanneld.service', FLANNELD_UNIT);
      await typed(on, 'a', 'systemctl enable --now flanneld');
      const before = [await lease(on), await flags(on)];
      await follow(on, section('migration.md', 'Two units'));
      assert.deepEqual([await lease(on), await flags(on)], before);
    });

    fresh("flanneld's own unit", async (on) => {
      await flannel(on);
      await on.on('a').write('/etc/systemd/system/flanneld.service', FLANNELD_UNIT);
      await typed(on, 'a', 'systemctl enable --now flanneld');
      const before = [await lease(on), await flags(on)];
      const program = await typed(on, 'a', 'sha256sum /usr/local/bin/flanneld');
      const [there, back] = section('migration.md', "flanneld's own unit");
      await on.follow(there!);
      assert.match(
        await typed(on, 'a', `tr '\\0' ' ' < /proc/$(cat /run/units/flanneld.pid)/cmdline`),
        /weft\.js up -etcd-endpoints=http:\/\/192\.168\.56\.131:2379 -iface=eth0 -ip-masq \n?$/,
      );
      await on.follow(there!); // typed twice, it says the same
      await on.follow(back!);
      assert.deepEqual([await lease(on), await flags(on)], before);
      assert.equal(await typed(on, 'a', 'sha256sum /usr/local/bin/flanneld'), program);
    });

    fresh('containers', async (on) => {
      await flannel(on);
      await typed(on, 'a', 'systemctl start docker');
      await debian(on);
      await typed(on, 'a', section('container.md', 'Build the image')[0]!.block.text);
      await on.on('a').write('/root/flannel/Dockerfile', FLANNELD_IMAGE);
      await typed(
        on,
        'a',
        'cp /usr/local/bin/flanneld flannel/; docker build -q -t flannel flannel',
      );
      await typed(
        on,
        'a',
        'docker run -d --name flannel --restart always --network host --cap-add NET_ADMIN -v /run/flannel:/run/flannel' +
          ' flannel -etcd-endpoints=http://192.168.56.131:2379 -iface=eth0; sleep 2',
      );
      const before = [await lease(on), await flags(on)];
      await follow(on, section('migration.md', 'Containers'));
      await typed(on, 'a', 'sleep 2');
      assert.deepEqual([await lease(on), await flags(on)], before);
    });
  });
});
