/** Many peers, restless ones and wrong ones: the lanes' table and the kernel's stay in step. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, beforeEach, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Status } from '../../src/operate/status/status.js';
import { PREFIX, startWeft } from './overlay.js';
import { eventually, statusOf } from './spoil.js';

const lacks = labLacks({ programs: ['etcd'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const SUBNETS = `${PREFIX}/subnets`;
/** A large network, our own subnet reserved in it. */
const CONFIG = '{"Network":"10.0.0.0/8","SubnetLen":24,"Backend":{"Type":"vxlan"}}';
const OWN = '10.200.0.0-24';

describe('membership', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;
  let weft: Running;

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    etcd = await network.etcd();
    await etcd.put(`${PREFIX}/config`, CONFIG);
    await etcd.put(`${SUBNETS}/${OWN}`, value(11));
    host = await network.host('host1', { address: '192.168.56.11/24' });
    weft = await startWeft(host, etcd);
  });
  after(() => lab?.close());
  beforeEach(async () => {
    const keys = (await etcd.list(`${SUBNETS}/`)).map(({ key }) => key.slice(SUBNETS.length + 1));
    await writeAll(keys.filter((key) => key !== OWN).map((key) => [key, null]));
    await agree([]);
  });

  /** None of them the broadcast address of the host's own network. */
  const value = (n: number, mac = n) =>
    `{"PublicIP":"192.168.${56 + Math.floor(n / 250)}.${n % 250}","PublicIPv6":null,"BackendType":"vxlan",` +
    `"BackendData":{"VNI":1,"VtepMAC":"02:00:00:00:${hex(mac >> 8)}:${hex(mac & 255)}"}}`;
  const hex = (n: number) => n.toString(16).padStart(2, '0');
  const put = (key: string, text: string) => etcd.put(`${SUBNETS}/${key}`, text);
  const remove = (key: string) => etcd.delete(`${SUBNETS}/${key}`);

  /** One transaction of up to 128 puts (a value) and deletions (null): one batch of events. */
  const transact = async (operations: readonly (readonly [string, string | null])[]) => {
    const encode = (text: string) => Buffer.from(text).toString('base64');
    const success = operations.map(([name, text]) => {
      const key = encode(`${SUBNETS}/${name}`);
      return text === null
        ? { request_delete_range: { key } }
        : { request_put: { key, value: encode(text) } };
    });
    const answer = await fetch(`${etcd.endpoint}/v3/kv/txn`, {
      method: 'POST',
      body: JSON.stringify({ success }),
      signal: AbortSignal.timeout(5_000),
    });
    assert.ok(answer.ok, await answer.text());
  };
  const writeAll = async (operations: readonly (readonly [string, string | null])[]) => {
    for (let at = 0; at < operations.length; at += 125) {
      await transact(operations.slice(at, at + 125));
    }
  };

  const status = async (): Promise<Status> => statusOf(host);
  const kernel = async () =>
    (await host.run(['ip', 'route', 'show', 'dev', 'flannel.1'])).stdout
      .split('\n')
      .map((line) => line.split(' ')[0]!)
      .filter((prefix) => prefix !== '')
      .sort();

  /** Waits until status, kernel and expectation agree. */
  const agree = async (subnets: readonly string[]): Promise<Status> => {
    const wanted = [...subnets].sort();
    for (let tries = 0; ; tries += 1) {
      const now = await status();
      const peers = now.peers.map(({ subnet }) => subnet).sort();
      const routes = await kernel();
      try {
        assert.deepEqual(peers, wanted);
        assert.deepEqual(routes, wanted);
        assert.equal(now.routes.published, wanted.length + 1); // and our own
        assert.deepEqual(now.routes.problems, []);
        return now;
      } catch (error) {
        if (tries === 50) throw error;
        await sleep(100);
      }
    }
  };

  test('a thousand peers at once, and gone at once', async () => {
    const keys = Array.from({ length: 1000 }, (_, n) => `10.${n >> 8}.${n & 255}.0-24`);
    const begun = performance.now();
    await writeAll(keys.map((key, n) => [key, value(n + 20)]));
    await agree(keys.map((key) => key.replace('-', '/')));
    console.log(`# 1000 peers in ${(performance.now() - begun).toFixed(0)} ms`);
    const lines = weft.output.split('\n').filter((line) => /peers? joined/.test(line));
    assert.ok(lines.length <= 40, lines.slice(0, 5).join('\n'));
    await writeAll(keys.map((key) => [key, null]));
    await agree([]);
  });

  test('a thousand peers that are there at the start', async () => {
    const keys = Array.from({ length: 1000 }, (_, n) => `10.${n >> 8}.${n & 255}.0-24`);
    assert.equal(await weft.stop(), 0);
    await writeAll(keys.map((key, n) => [key, value(n + 20)]));
    weft = await startWeft(host, etcd);
    assert.match(weft.output, /1,000 peers joined/);
    assert.match(weft.output, /ready: .*1,000 peers$/m);
    assert.ok(weft.output.split('\n').length < 20, weft.output);
    await agree(keys.map((key) => key.replace('-', '/')));
  });

  test('keys that flap end as the store has them', async () => {
    const keys = Array.from({ length: 20 }, (_, n) => `10.50.${n}.0-24`);
    for (let round = 0; round < 10; round += 1) {
      await transact(keys.map((key, n) => [key, value(30 + n, round)]));
      if (round % 2 === 0) await transact(keys.map((key) => [key, null]));
    }
    // The same subnets were there in each round.
    let macs: string[] = [];
    await eventually(
      async () => {
        const { peers } = await agree(keys.map((key) => key.replace('-', '/')));
        macs = peers.map(({ vtepMac }) => vtepMac);
        return macs.every((mac) => mac === '02:00:00:00:00:09');
      },
      () => macs.join(),
    );
    for (const key of keys.slice(0, 10)) await remove(key);
    await agree(keys.slice(10).map((key) => key.replace('-', '/')));
  });

  test('a subnet that equals, holds or lies in ours is no peer; nor one over the underlay', async () => {
    await put('10.60.0.0-24', value(60));
    for (const [key, why] of [
      ['10.200.0.0-25', /10\.200\.0\.0-25 is not used: it overlaps our subnet 10\.200\.0\.0\/24/],
      ['10.200.0.128-25', /10\.200\.0\.128-25 is not used: it overlaps/],
      ['10.200.0.0-16', /10\.200\.0\.0-16 is not used: it overlaps/],
      ['10.200.0.7-24', /10\.200\.0\.7-24 is not used: the key of that subnet is 10\.200\.0\.0-24/],
      ['192.168.56.0-24', /192\.168\.56\.0-24 is not used: it holds 192\.168\.56\.11, .*underlay/],
      ['192.168.0.0-16', /192\.168\.0\.0-16 is not used/],
    ] as const) {
      await put(key, value(61));
      await weft.waitFor(why, 60_000);
    }
    await agree(['10.60.0.0/24']);
    assert.match((await host.run(['ip', 'route', 'get', '192.168.56.131'])).stdout, /dev ens33/);
  });

  test('one subnet of two peers belongs to one key; nested subnets are two routes', async () => {
    await put('10.70.0.0-24', value(70));
    await put('10.70.0.9-24', value(71));
    await weft.waitFor(/10\.70\.0\.9-24 is not used/, 60_000);
    await put('10.70.0.128-25', value(72));
    const { peers } = await agree(['10.70.0.0/24', '10.70.0.128/25']);
    assert.equal(peers.find(({ subnet }) => subnet === '10.70.0.0/24')?.publicIp, '192.168.56.70');
    await remove('10.70.0.0-24');
    await agree(['10.70.0.128/25']);
  });

  test('the same peer from another host: the route stays, the lanes follow', async () => {
    await put('10.80.0.0-24', value(80));
    await agree(['10.80.0.0/24']);
    const { epoch } = (await status()).routes;
    await put('10.80.0.0-24', value(81));
    await weft.waitFor(/peer changed: 10\.80\.0\.0\/24 at 192\.168\.56\.81/, 60_000);
    const now = await agree(['10.80.0.0/24']);
    assert.equal(now.routes.epoch, epoch + 1);
    assert.equal(now.peers[0]!.publicIp, '192.168.56.81');
  });

  test('a public IP that no other host can have: refused, told in the status, and healed', async () => {
    const at = (publicIp: string) => value(90).replace('192.168.56.90', publicIp);
    await put('10.90.0.0-24', value(90));
    const impossible = {
      '10.91.1.0-24': ['127.0.0.1', /is no address of a host/],
      '10.91.2.0-24': ['192.168.56.255', /is the broadcast address of 192\.168\.56\.0\/24/],
      '10.91.3.0-24': ['10.200.0.0', /is inside the overlay, in 10\.200\.0\.0\/24/],
      '10.91.4.0-24': ['10.91.5.9', /is inside the overlay, in 10\.91\.5\.0\/24/],
      '10.91.5.0-24': ['10.91.4.9', /is inside the overlay, in 10\.91\.4\.0\/24/],
      '10.91.6.0-24': ['192.168.77.1', /is an address of this host, on extra/],
    } as const;
    await host.ip(
      'link add extra type veth peer name extra2',
      'address add 192.168.77.1/24 dev extra',
      'link set extra up',
    );
    for (const [key, [publicIp]] of Object.entries(impossible)) await put(key, at(publicIp));
    for (const [key, [, why]] of Object.entries(impossible)) {
      await weft.waitFor(new RegExp(`${key} is not used: its PublicIP \\S+ ${why.source}`), 60_000);
    }
    // The peer with our address may have been one until the address was seen.
    let faults: readonly string[] = [];
    await eventually(
      async () => {
        ({ faults } = await agree(['10.90.0.0/24']));
        return faults.length === Object.keys(impossible).length;
      },
      () => faults.join('\n'),
    );
    await remove('10.91.5.0-24');
    await host.ip('link del extra');
    const now = await agree(['10.90.0.0/24', '10.91.4.0/24', '10.91.6.0/24']);
    assert.equal(now.faults.length, 3);
  });
});
