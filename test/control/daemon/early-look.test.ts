/** The underlay interface, looked at while the network config is waited for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { EarlyLook } from '../../../src/control/daemon/early-look.js';
import type { Runner } from '../../../src/control/host/runner.js';

/** An early look at a host with the named interfaces, whose timers the test lets run. */
function look(names: string[], wanted: string) {
  const lines: string[] = [];
  const timers: { ms: number; call: () => void }[] = [];
  const runner = {
    run: async () => ({
      code: 0,
      stdout: JSON.stringify(
        names.map((ifname, index) => ({
          ...{ ifname, ifindex: index + 1, mtu: 1500, flags: ['UP'] },
          addr_info: [{ family: 'inet', local: `10.0.0.${index + 1}`, prefixlen: 24 }],
        })),
      ),
      stderr: '',
    }),
  } as unknown as Runner;
  const tell = (level: string) => (line: string) => void lines.push(`${level} ${line}`);
  const clock = {
    now: () => 0,
    after: (ms: number, call: () => void) => {
      const timer = { ms, call };
      timers.push(timer);
      return () => void timers.splice(timers.indexOf(timer), 1);
    },
  };
  const log = { error: tell('E'), warn: tell('W'), info: tell('I'), debug: tell('D') };
  const early = new EarlyLook(runner, { iface: [wanted] }, clock, log);
  const turn = async () => {
    timers.shift()?.call();
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { early, turn, lines, timers };
}

test('an interface that is not there is told once, and again when it has come', async () => {
  const names = ['eth0'];
  const { early, turn, lines, timers } = look(names, 'eth9');
  assert.deepEqual([early.problem, timers[0]?.ms], ['', 1_000]);
  await turn();
  assert.match(
    early.problem,
    /^no interface matches -iface eth9; there are: eth0 \(10\.0\.0\.1\)$/,
  );
  await turn();
  assert.equal(lines.length, 1);
  assert.match(lines[0]!, /^W no interface matches -iface eth9; .*; the start ends if it is so/);
  names.push('eth9');
  await turn();
  assert.equal(early.problem, '');
  assert.deepEqual(lines.slice(1), ['I the underlay interface is there now']);
});

test('after the end nothing is looked at, told or left over', async () => {
  const { early, turn, lines, timers } = look(['eth0'], 'eth9');
  await turn();
  early.end();
  assert.deepEqual([early.problem, timers.length], ['', 0]);
  const late = look(['eth0'], 'eth9');
  const looking = late.turn();
  late.early.end();
  await looking;
  assert.deepEqual([late.early.problem, late.lines, late.timers.length], ['', [], 0]);
  assert.equal(lines.length, 1);
});
