/** The journal of a weft that runs: what it has, and in which order, with either kind of rules. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { openSite, PREFIX, startWeft } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'iptables', 'nft'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

describe('the journal of a weft that runs', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;

  before(async () => {
    ({ lab, etcd, host } = await openSite({ forwarding: false }));
  });
  after(() => lab?.close());

  /** What tells the entries apart. */
  function entries(): string[] {
    const root = host.path('/run/weft');
    const files = fs.readdirSync(root, { recursive: true, encoding: 'utf8' });
    const [journal, ...more] = files.filter((name) => name.endsWith('.json'));
    assert.deepEqual(more, []);
    const text = fs.readFileSync(path.join(root, journal!), 'utf8');
    const { entries } = JSON.parse(text) as { entries: Record<string, string>[] };
    return entries.map(({ kind, table, name, path: file }) => `${kind} ${table ?? name ?? file}`);
  }

  for (const [nftables, rules] of [
    [false, ['iptables filter', 'iptables nat', 'iptables mangle']],
    [true, ['nftables ip flannel-ipv4', 'nftables ip weft-guard']],
  ] as const) {
    const kind = nftables ? 'nftables' : 'iptables';
    test(`${kind}: the rules, the device, subnet.env last; no setting of the host`, async () => {
      const Backend = { Type: 'vxlan' };
      const config = { Network: '10.10.0.0/16', EnableNFTables: nftables, Backend };
      await etcd.put(`${PREFIX}/config`, JSON.stringify(config));
      const weft = await startWeft(host, etcd, '-ip-masq');
      assert.deepEqual(entries(), [...rules, 'device flannel.1', 'file /run/flannel/subnet.env']);
      assert.equal(await weft.stop(), 0);
      fs.rmSync(host.path('/run/weft'), { recursive: true });
    });
  }
});
