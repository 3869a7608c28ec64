/** What makes a figure count, on real pairs: right ones pass, and each thing that is wrong shows. */
import assert from 'node:assert/strict';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import { buildLacks, buildPrograms } from '../../bench/build-c.js';
import { checkCounters, checkTransfer } from '../../bench/integrity.js';
import { isOverlay, overlayLacks } from '../../bench/overlays.js';
import { openPair, type Pair, parseSystem } from '../../bench/rig.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';

const lacks =
  buildLacks() ?? labLacks({ programs: ['ping', 'ethtool', 'bridge', 'nft'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

test('an overlay that is not installed is named with its packages', () => {
  assert.equal(isOverlay('weft'), false);
  assert.equal(isOverlay('toString'), false);
  for (const overlay of ['wireguard-go', 'nebula', 'ovs'] as const) {
    assert.equal(isOverlay(overlay), true);
    const said = overlayLacks(overlay);
    if (said !== undefined) assert.match(said, /left out: apt-get install/);
  }
});

describe('integrity of a pair', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let number = 0;
  before(async () => {
    lab = await Lab.open();
  });
  after(() => lab?.close());

  const open = (system: string): Promise<Pair> => {
    number += 1;
    return openPair(lab, buildPrograms(), {
      system: parseSystem(system),
      wire: 'plain',
      number,
      docker: false,
    });
  };

  test('weft and kernel: bytes arrive as sent, nothing to complain of', async () => {
    const pair = await open('weft>kernel');
    assert.equal(await checkTransfer(pair, 5_000_000), undefined);
    assert.deepEqual(await checkCounters(pair), []);
  });

  test('a packet that weft dropped shows', async () => {
    const pair = await open('weft');
    const [host] = pair.hosts;
    await host.ip('route add 10.10.177.0/24 dev flannel.1');
    await host.run(['ping', '-c', '1', '-W', '1', '10.10.177.1'], { mayFail: true });
    const wrong = await checkCounters(pair);
    // The other end may have heard this one before it knew of it.
    const own = wrong.filter((line) => !line.startsWith('end 2: dropped {"unknown_sender"'));
    assert.deepEqual(own, ['end 1: dropped {"outbound_no_route":1}']);
  });

  test('a bad checksum that a container saw shows', async () => {
    const pair = await open('kernel');
    const [from, to] = pair.ends;
    // What was merged counts as checked, and nobody would look again.
    await pair.hosts[1].run(['ethtool', '-K', 'ens33', 'gro', 'off']);
    for (const command of [
      'add table inet t',
      'add chain inet t f { type filter hook forward priority 0 ; }',
      'add rule inet t f udp dport 5301 udp checksum set 0x1234',
    ]) {
      await pair.hosts[1].run(['nft', ...command.split(' ')]);
    }
    const { 'udp-flood': flood } = buildPrograms();
    const receiver = to.start([flood, 'receive', '--seconds', '2']);
    await receiver.waitFor(/listening/, 60_000);
    await from.run([flood, 'send', '--host', to.address, '--rate', '100', '--seconds', '0.1']);
    await receiver.stop();
    assert.match((await checkCounters(pair)).join(), /^\d+ bad checksums seen by TCP or UDP$/);
  });

  test('bytes that are not those that were sent show', async () => {
    const pair = await open('kernel');
    const [from] = pair.ends;
    const run = from.run.bind(from);
    from.run = async (argv, options) => {
      const result = await run(argv, options);
      return { ...result, stdout: result.stdout.replace(/[0-9a-f]{64}/, 'f'.repeat(64)) };
    };
    assert.match((await checkTransfer(pair, 100_000))!, /of 100000 bytes sent 100000 arrived/);
  });
});
