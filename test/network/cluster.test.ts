/**
 * Two wefts on an etcd of three members, one fault after the other, while their containers ping
 * each other all the time: no packet is lost, and every change arrives.
 *
 * WEFT_OUTAGE_SECONDS: how long the quorum is lost (10 unless told).
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Running } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { readStatus } from '../../src/operate/status/socket.js';
import type { Status } from '../../src/operate/status/status.js';
import { until } from '../control/fakes.js';
import { CONFIG, PREFIX } from './overlay.js';

const lacks = labLacks({ programs: ['etcd', 'ping'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const OUTAGE = Number(process.env.WEFT_OUTAGE_SECONDS ?? 10) * 1_000;
/** Promised are 2 s after the quorum's return, 15 s with a member gone; a busy machine takes longer. */
const AFTER_QUORUM = 10_000;
const AFTER_MEMBER = 30_000;

describe('an etcd of three members', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let members: Etcd[];
  let hosts: Host[];
  let wefts: Running[];
  let pings: Running;
  let changes = 0;

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    members = await network.etcdCluster();
    await members[0]!.put(`${PREFIX}/config`, CONFIG);
    hosts = [];
    wefts = [];
    const endpoints = members.map(({ endpoint }) => endpoint).join(',');
    for (const n of [1, 2]) {
      const host = await network.host(`host${n}`, { address: `192.168.56.${10 + n}/24` });
      const flags = [`-etcd-endpoints=${endpoints}`, `-etcd-prefix=${PREFIX}`, '-iface=ens33'];
      const weft = host.weft(...flags);
      await weft.waitFor(/ready: flannel/, 60_000);
      hosts.push(host);
      wefts.push(weft);
    }
    const xbox1 = await hosts[0]!.container('xbox1');
    const xbox2 = await hosts[1]!.container('xbox2');
    await agree(members[0]!, 20_000);
    pings = xbox1.start(['ping', '-i', '0.05', xbox2.address]);
    await pings.waitFor(/bytes from/, 60_000);
  });
  after(() => lab?.close());

  const status = async (host: Host): Promise<Status> =>
    (await readStatus(host.path('/run/weft/flannel.1.sock'))) as Status;

  /** The member that the first host talks to. */
  const inUse = async (): Promise<Etcd> => {
    const { storeState } = await status(hosts[0]!);
    const member = members.find(({ endpoint }) => endpoint === storeState.member);
    return member ?? assert.fail(`it talks to ${storeState.member}`);
  };
  const another = (not: Etcd): Etcd => members.find((member) => member !== not) as Etcd;

  /** A new peer, another MAC for an old one, one that goes: each fault is followed by the three. */
  const change = async (via: Etcd): Promise<void> => {
    const n = ++changes;
    const register = (octet: number, mac: number) =>
      insist(() =>
        via.register(PREFIX, {
          subnet: `10.10.${octet}.0/24`,
          publicIp: `192.168.56.${100 + (octet % 100)}`,
          mac: `02:00:00:00:00:${mac.toString(16).padStart(2, '0')}`,
        }),
      );
    await register(220 + n, n);
    await register(220, 0x80 + n);
    if (n > 1) await insist(() => via.delete(`${PREFIX}/subnets/10.10.${219 + n}.0-24`));
  };

  /** Waits until both hosts have the very peers that etcd has; gives the milliseconds. */
  const agree = async (via: Etcd, ms: number): Promise<number> => {
    const begun = performance.now();
    const all = await insist(() => via.peers(PREFIX));
    const told = (peers: readonly { subnet: string; publicIp: string; vtepMac: string }[]) =>
      peers.map(({ subnet, publicIp, vtepMac }) => `${subnet} ${publicIp} ${vtepMac}`).sort();
    for (const host of hosts) {
      const expected = told(
        all
          .filter(({ publicIp }) => publicIp !== host.address)
          .map(({ subnet, publicIp, mac }) => ({ subnet, publicIp, vtepMac: mac })),
      );
      await until(async () => {
        const { peers } = await status(host);
        return JSON.stringify(told(peers)) === JSON.stringify(expected);
      }, ms);
    }
    return performance.now() - begun;
  };

  const report = (t: TestContext, took: number) => t.diagnostic(`applied in ${took.toFixed(0)} ms`);

  /** Tried until the quorum takes it; on a busy machine members elect again and again. */
  const insist = async <T>(call: () => Promise<T>): Promise<T> => {
    const end = performance.now() + 60_000;
    for (;;) {
      try {
        return await call();
      } catch (error) {
        if (performance.now() > end) throw error;
        await sleep(20);
      }
    }
  };
  const firstWrite = (via: Etcd) => insist(() => via.put('/elsewhere', `${changes}`));

  test('with all members a change is there at once', async (t) => {
    await change(members[0]!);
    report(t, await agree(members[0]!, AFTER_QUORUM));
  });

  test('the member in use is killed', async (t) => {
    const victim = await inUse();
    victim.process.kill('SIGKILL');
    await victim.process.exited;
    await firstWrite(another(victim));
    await change(another(victim));
    report(t, await agree(another(victim), AFTER_MEMBER));
    assert.notEqual(await inUse(), victim);
    await victim.launch();
  });

  test('the member in use stops answering (SIGSTOP)', async (t) => {
    const victim = await inUse();
    victim.process.kill('SIGSTOP');
    try {
      await firstWrite(another(victim));
      await change(another(victim));
      report(t, await agree(another(victim), AFTER_MEMBER));
      assert.notEqual(await inUse(), victim);
    } finally {
      victim.process.kill('SIGCONT');
    }
  });

  test('the member in use is cut off from the others', async (t) => {
    const victim = await inUse();
    await victim.cutOff(members, true);
    try {
      await firstWrite(another(victim));
      await change(another(victim));
      report(t, await agree(another(victim), AFTER_MEMBER));
      assert.notEqual(await inUse(), victim);
    } finally {
      await victim.cutOff(members, false);
    }
    await firstWrite(victim);
  });

  for (const [what, lose, regain] of [
    [
      'two members stop answering',
      async (two: Etcd[]) => {
        for (const member of two) member.process.kill('SIGSTOP');
      },
      async (two: Etcd[]) => {
        for (const member of two) member.process.kill('SIGCONT');
      },
    ],
    [
      'two members are killed',
      async (two: Etcd[]) => {
        for (const member of two) member.process.kill('SIGKILL');
        for (const member of two) await member.process.exited;
      },
      async (two: Etcd[]) => {
        await Promise.all(two.map((member) => member.launch()));
      },
    ],
    [
      'all members are cut off from each other',
      async () => {
        for (const member of members) await member.cutOff(members, true);
      },
      async () => {
        for (const member of members) await member.cutOff(members, false);
      },
    ],
  ] as const) {
    test(`the quorum is lost: ${what}`, async (t) => {
      const used = await inUse();
      const rest = another(used);
      const two = [used, rest];
      await lose(two);
      await sleep(OUTAGE);
      const returned = regain(two);
      const third = members.find((member) => !two.includes(member)) as Etcd;
      // Written as soon as a member takes a write again.
      await firstWrite(third);
      await change(third);
      report(t, await agree(third, AFTER_QUORUM));
      await returned;
    });
  }

  test('changes and a compaction while a host is cut off from all members', async (t) => {
    const host = hosts[0]!;
    const route = (verb: string) =>
      Promise.all(members.map((member) => member.ip(`route ${verb} blackhole ${host.address}/32`)));
    await route('add');
    for (let i = 0; i < 3; i++) await change(members[0]!);
    await members[0]!.compact();
    await sleep(OUTAGE);
    await route('del');
    report(t, await agree(members[0]!, AFTER_QUORUM));
  });

  test('no packet was lost in all that time, and no weft ended', async (t) => {
    pings.kill('SIGINT');
    await pings.exited;
    const [line, sent, received] =
      /(\d+) packets transmitted, (\d+) received/.exec(pings.output) ?? [];
    t.diagnostic(`${line}`);
    // The last one may have been on its way.
    assert.ok(Number(sent) - Number(received) <= 1, line);
    assert.ok(Number(sent) > (4 * OUTAGE) / 50 / 2, 'it pinged all the time');
    for (const weft of wefts) {
      assert.equal(weft.code, undefined, weft.tail(5));
      assert.doesNotMatch(weft.output, /cannot be read|two hosts|emptied/);
    }
    // The first host was cut off itself: its watch was silent for that time.
    assert.doesNotMatch(wefts[1]!.output, /missed changes/);
  });
});
