/** A pair of the bench between containers of Docker engines: measured as any other, and gone with the lab. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import process from 'node:process';
import { test } from 'node:test';
import { buildLacks, buildPrograms } from '../../bench/build-c.js';
import { CASES } from '../../bench/cases.js';
import { checkCounters, checkTransfer } from '../../bench/integrity.js';
import { openPair, parseSystem } from '../../bench/rig.js';
import { dockerLacks } from '../../src/lab/docker.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';

const lacks =
  buildLacks() ??
  dockerLacks() ??
  labLacks({ programs: ['iperf3', 'ping', 'ethtool', 'bridge'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab(undefined, { docker: true }));

/** Processes of the lab, which has a process namespace of its own. */
function alive(name: string): number {
  return fs.readdirSync('/proc').filter((entry) => {
    try {
      const stat = fs.readFileSync(`/proc/${entry}/stat`, 'utf8');
      return stat.includes(`(${name})`) && !/\) Z /.test(stat);
    } catch {
      return false; // no process, or ended meanwhile
    }
  }).length;
}

test('iperf3 runs in containers of two engines, weft to kernel, and all is right', {
  skip: lacks ?? false,
  timeout: 120_000,
}, async () => {
  const lab = await Lab.open();
  const options = { wire: 'plain', number: 1, docker: true } as const;
  const system = parseSystem('weft>kernel');
  const programs = buildPrograms();
  const pair = await openPair(lab, programs, { system, ...options });
  assert.equal(alive('dockerd'), 2);
  assert.equal((await pair.ends[0].run(['hostname', '-i'])).stdout, `${pair.ends[0].address}\n`);
  assert.notEqual(pair.ends[0].address.split('.')[2], pair.ends[1].address.split('.')[2]);
  assert.equal(await checkTransfer(pair, 5_000_000), undefined);
  for (const name of ['tcp1', 'rr1']) {
    const one = CASES.find((other) => other.name === name)!;
    const figures = await one.measure(pair, { programs, seconds: 1, trialSeconds: 1 });
    assert.ok(figures[one.unit]! > 0.01, JSON.stringify(figures));
  }
  assert.deepEqual(await checkCounters(pair), []);
  await lab.close();
  for (const name of ['dockerd', 'containerd', 'containerd-shim', 'iperf3', 'sh']) {
    assert.equal(alive(name), 0, name);
  }
});
