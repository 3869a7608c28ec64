/**
 * The walk against the kernel: random rules are set in a namespace, packets are sent through them,
 * and where the walk says that a packet surely passes or surely does not, the kernel says the same.
 *
 *   left ─ flannel.1 ─┐
 *   right ─ docker0 ──┼ middle
 *   peer ─ ens33 ─────┘
 */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Runner } from '../../src/control/host/runner.js';
import { run as runHere } from '../../src/lab/command.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import type { Subject } from '../../src/operate/findings/check.js';
import { basesOf, follow } from '../../src/operate/findings/firewall/drops.js';
import { flowsOf, type Kind } from '../../src/operate/findings/firewall/flows.js';
import { readRuleset } from '../../src/operate/findings/firewall/read.js';
import { runnerOf } from './findings-firewall.js';
import { randomRules } from './tools/random-rules.js';

const lacks = labLacks({ programs: ['bash', 'iptables', 'iptables-legacy', 'nft'], tun: false });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const SEEDS = 40;
const KINDS: readonly Kind[] = ['from', 'to', 'in', 'out'];
const PLACE = {
  subject: {
    ...{ backend: 'vxlan', network: '10.5.0.0/16', subnet: '10.5.52.0/24', device: 'flannel.1' },
    underlay: { interface: 'ens33', address: '192.168.56.11', port: 8472 },
  } as Subject,
  bridges: ['docker0'],
  containers: [],
  peers: [{ publicIp: '192.168.56.12', subnet: '10.5.7.0/24', direct: false }],
};

describe("the walk through the firewall's rules", {
  skip: lacks ?? false,
  timeout: 600_000,
}, () => {
  let lab: Lab;
  let middle: Host;
  let ends: Record<'left' | 'right' | 'peer', Host>;
  let runner: Runner;

  before(async () => {
    lab = await Lab.open();
    const network = await lab.network();
    const make = (name: string, last: number) =>
      network.host(name, { address: `192.168.99.${last}/24`, defaultRoute: false });
    middle = await make('middle', 11);
    ends = {
      left: await make('left', 12),
      right: await make('right', 13),
      peer: await make('peer', 14),
    };
    for (const [end, device, subnet, last] of [
      [ends.left, 'flannel.1', '10.5.7', 254],
      [ends.right, 'docker0', '10.5.52', 254],
      [ends.peer, 'under0', '192.168.56', 12],
    ] as const) {
      const pair = `netns ${middle.holder} type veth peer name eth1 netns ${end.holder}`;
      await runHere(['ip', '-batch', '-'], { input: `link add name ${device} ${pair}\n` });
      if (device === 'under0') await middle.ip('link del ens33', 'link set under0 name ens33');
      const own = device === 'under0' ? 'ens33' : device;
      const first = own === 'ens33' ? 11 : 1;
      await middle.ip(`address add ${subnet}.${first}/24 dev ${own}`, `link set ${own} up`);
      await end.ip(
        `address add ${subnet}.${last}/24 dev eth1`,
        'link set eth1 up',
        `route add default via ${subnet}.${first}`,
      );
      await end.sysctl('net.ipv4.icmp_ratemask=6168');
    }
    runner = runnerOf(middle);
  });
  after(() => lab?.close());

  const SENDS: Readonly<Record<string, readonly [() => Host, string, () => Host]>> = {
    from: [() => ends.left, '10.5.52.254/50013', () => ends.right],
    to: [() => ends.right, '10.5.7.254/50013', () => ends.left],
    in: [() => ends.peer, '192.168.56.11/8472', () => middle],
    out: [() => middle, '192.168.56.12/8472', () => ends.peer],
  };

  /** Datagrams that came to a host, where nobody listens. */
  const arrived = async (host: Host): Promise<number> => {
    const { stdout } = await host.run(['cat', '/proc/net/snmp']);
    const [names, numbers] = stdout.split('\n').filter((line) => line.startsWith('Udp:'));
    return Number(numbers!.split(' ')[names!.split(' ').indexOf('NoPorts')]);
  };
  /** Which kinds of packets the kernel lets pass. */
  const tried = async (): Promise<boolean[]> => {
    const counts = () => Promise.all(KINDS.map((kind) => arrived(SENDS[kind]![2]())));
    const earlier = await counts();
    await Promise.all(
      KINDS.map((kind) => {
        const [from, to] = SENDS[kind]!;
        return from().run(['bash', '-c', `echo x > /dev/udp/${to}`], { mayFail: true });
      }),
    );
    await sleep(50);
    const later = await counts();
    return later.map((count, i) => count > earlier[i]!);
  };
  const reset = () =>
    middle.run([
      'sh',
      '-c',
      'nft flush ruleset; for t in raw mangle filter; do iptables-legacy -t $t -F; ' +
        'iptables-legacy -t $t -X; done; for c in INPUT OUTPUT FORWARD; do ' +
        'iptables-legacy -P $c ACCEPT; done',
    ]);

  test(`${SEEDS} random rulesets: what is sure is so`, async () => {
    await reset();
    await tried();
    assert.deepEqual(await tried(), [true, true, true, true], 'without rules all pass');
    let [open, passing, dropping] = [0, 0, 0];
    for (let seed = 1; seed <= SEEDS; seed += 1) {
      const script = randomRules(seed);
      await reset();
      // Some rules are for other hooks, and refused.
      await middle.run(['sh', '-c', script], { mayFail: true });
      const { tables } = await readRuleset(runner, `/proc/${middle.holder}`);
      const bases = basesOf(tables);
      const real = await tried();
      for (const [i, kind] of KINDS.entries()) {
        const flow = flowsOf(PLACE).find(
          (one) => one.kind === kind && one.protocol === 'udp' && one.state === 'new',
        )!;
        const outcomes = follow(flow, bases, 'flannel.1');
        const isDropped = outcomes.some(({ sure }) => sure !== null);
        const mayBe = outcomes.some(({ drops }) => drops.length > 0);
        if (isDropped) dropping += 1;
        else if (mayBe) open += 1;
        else passing += 1;
        if (!isDropped && mayBe) continue;
        const said = isDropped ? 'is dropped' : 'passes';
        assert.equal(
          real[i],
          !isDropped,
          `seed ${seed}: "${kind}" ${said}, says the walk:\n${script}`,
        );
      }
    }
    assert.ok(
      passing > SEEDS && dropping > SEEDS && open < SEEDS,
      `${passing} ${dropping} ${open}`,
    );
  });
});
