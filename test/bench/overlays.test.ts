/** The other overlays that the bench can run: each carries packets, and ends with the lab. */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import process from 'node:process';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { buildLacks, buildPrograms } from '../../bench/build-c.js';
import { isOverlay, type Overlay, overlayLacks } from '../../bench/overlays.js';
import { openPair, parseSystem } from '../../bench/rig.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';
import { tcpTransfer } from '../network/overlay.js';

const BENCH = fileURLToPath(new URL('../../bench/bench.js', import.meta.url));
const lacks = buildLacks() ?? labLacks({ programs: ['ping', 'ethtool'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const DAEMONS: readonly [Overlay, string[]][] = [
  ['wireguard-go', ['wireguard-go']],
  ['nebula', ['nebula']],
  ['ovs', ['ovs-vswitchd', 'ovsdb-server']],
];

/** Names of all processes that this lab holds. */
function processes(): string[] {
  return fs.readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      return [fs.readFileSync(`/proc/${entry}/comm`, 'utf8').trim()];
    } catch {
      return []; // ended meanwhile
    }
  });
}

describe('overlays of the bench', { skip: lacks ?? false, timeout: 600_000 }, () => {
  for (const [i, [name, daemons]] of DAEMONS.entries()) {
    test(`${name} carries packets, and ends with the lab`, {
      skip: overlayLacks(name) ?? false,
    }, async () => {
      const lab = await Lab.open();
      const system = parseSystem(name);
      const options = { system, wire: 'plain', number: i, docker: false } as const;
      const pair = await openPair(lab, buildPrograms(), options);
      await tcpTransfer(pair.ends[0], pair.ends[1], 1_000_000);
      for (const daemon of daemons) assert.ok(processes().includes(daemon), daemon);
      await lab.close();
      for (const daemon of daemons) assert.ok(!processes().includes(daemon), daemon);
    });
  }
});

test('what is no overlay is known as none', () => {
  for (const name of ['kernel', 'weft', 'limit', 'weft:sendmmsg', 'constructor']) {
    assert.equal(isOverlay(name), false, name);
  }
});

test('a bench that is none is refused by name, with those that there are', () => {
  const { status, stderr } = spawnSync(process.execPath, [BENCH, 'nothing'], { encoding: 'utf8' });
  assert.equal(status, 2);
  assert.match(stderr, /the bench has no nothing; there are side-by-side, micro, /);
});
