import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Teller } from '../../../src/control/daemon/teller.js';
import type { Finding } from '../../../src/operate/findings/finding.js';
import { FakeClock, Lines } from '../fakes.js';

const finding = (about: string, cure = ''): Finding => ({
  ...{ code: 'x', severity: 'error', scope: 'host', about, text: `${about} is off`, cure },
});

/** Of a peer that is cut off. */
const cut = (code: string): Finding => ({
  ...{ code, severity: 'error', scope: 'peer', about: 'peer 10.0.0.2' },
  ...{ text: 'the peer is away', cure: '' },
});

function make(...found: Finding[]) {
  const [clock, log] = [new FakeClock(), new Lines()];
  const [host, sure] = [{ found }, { is: true }];
  const findings = () => host.found;
  const isSure = () => sure.is;
  const teller = new Teller({ clock, log, findings, isSure, elsewhere: ['own-words'] });
  teller.start();
  return { clock, log, host, sure, teller };
}

test('a finding is said once when it has lasted, with its cure, and once when it is over', async () => {
  const { clock, log, host } = make();
  host.found = [finding('docker0', 'ip link set docker0 up')];
  await clock.pass(4_000);
  assert.deepEqual(log.lines, [], 'found, and not said yet');
  await clock.pass(20_000);
  assert.deepEqual(log.lines, ['warn: docker0 is off; do: ip link set docker0 up']);
  host.found = [];
  await clock.pass(2_000);
  assert.deepEqual(log.lines.slice(1), ['info: over: docker0 is off']);
});

test('a note is no warning', async () => {
  const { clock, log } = make({ ...finding('a'), severity: 'note' });
  await clock.pass(4_000);
  assert.deepEqual(log.lines, ['info: a is off']);
});

test('what is over soon is not said at all', async () => {
  const { clock, log, host } = make(finding('a'));
  await clock.pass(2_000);
  host.found = [];
  await clock.pass(20_000);
  assert.deepEqual(log.lines, []);
});

test('what is not sure is not said, however long it is in the list', async () => {
  const { clock, log, host, sure } = make(finding('a'));
  sure.is = false;
  await clock.pass(60_000);
  assert.deepEqual(log.lines, []);
  sure.is = true;
  await clock.pass(2_000);
  assert.deepEqual(log.lines, ['warn: a is off']);
  sure.is = false;
  host.found = [finding('a'), finding('b')];
  await clock.pass(60_000);
  assert.deepEqual(log.lines, ['warn: a is off'], 'said once, and no other');
});

test('what comes and goes is not said each time, and is said in the end', async () => {
  const { clock, log, host } = make(finding('a'));
  await clock.pass(8_000);
  for (let i = 0; i < 8; i += 1) {
    host.found = i % 2 === 0 ? [] : [finding('a')];
    await clock.pass(8_000);
  }
  assert.deepEqual(log.lines, ['warn: a is off', 'info: over: a is off']);
  await clock.pass(120_000);
  assert.deepEqual(log.lines.slice(2), ['warn: a is off']);
});

test('what comes back with another reason is said; another number is none', async () => {
  const { clock, log, host } = make({ ...finding('a'), text: 'a has lost 1 line: no room' });
  await clock.pass(4_000);
  for (const text of ['a has lost 4,500 lines: no room', 'a has lost 1 line: no right']) {
    host.found = [];
    await clock.pass(2_000);
    host.found = [{ ...finding('a'), text }];
    await clock.pass(6_000);
  }
  const said = ['warn: a has lost 1 line: no room', 'info: over: a has lost 1 line: no room'];
  assert.deepEqual(log.lines, [...said, 'warn: a has lost 1 line: no right']);
});

test('another reason while it lasts is said once it has lasted, and not each time it alternates', async () => {
  const [busy, taken] = ['a is off: busy', 'a is off: taken'].map((text) => {
    return { ...finding('a'), text };
  });
  const { clock, log, host } = make(busy!);
  await clock.pass(4_000);
  host.found = [taken!];
  await clock.pass(4_000);
  assert.deepEqual(log.lines, ['warn: a is off: busy']);
  for (let i = 0; i < 8; i += 1) {
    host.found = [i % 2 === 0 ? taken! : busy!];
    await clock.pass(8_000);
  }
  assert.deepEqual(log.lines, ['warn: a is off: busy', 'warn: a is off: taken']);
  host.found = [];
  await clock.pass(2_000);
  assert.deepEqual(log.lines.slice(2), ['info: over: a is off: taken']);
});

test('what follows from a greater fault is not said; if it stays, it is then', async () => {
  for (const code of ['underlay-down', 'underlay-lost']) {
    const cause: Finding = { ...finding('ens33'), code };
    const follow = [cut('peer-silent'), cut('peer-no-way'), cut('lease')];
    const { clock, log, host } = make(...follow, cause);
    await clock.pass(20_000);
    assert.deepEqual(log.lines, ['warn: ens33 is off'], code);
    host.found = [cut('peer-no-way')];
    await clock.pass(2_000);
    assert.deepEqual(log.lines.slice(1), ['info: over: ens33 is off']);
    await clock.pass(4_000);
    assert.deepEqual(log.lines.slice(2), ['warn: the peer is away']);
    host.found = [];
    await clock.pass(2_000);
    assert.equal(log.lines.at(-1), 'info: over: the peer is away');
  }
});

test('what was said and is explained since is not over, and is not said again', async () => {
  const { clock, log, host } = make(cut('peer-silent'));
  await clock.pass(8_000);
  assert.deepEqual(log.lines, ['warn: the peer is away']);
  host.found = [cut('peer-silent'), { ...finding('own'), code: 'underlay-lost' }];
  await clock.pass(300_000);
  host.found = [cut('peer-silent')];
  await clock.pass(300_000);
  assert.deepEqual(log.matching(/away/).length, 1);
  host.found = [];
  await clock.pass(4_000);
  assert.deepEqual(log.matching(/away/).slice(1), ['info: over: the peer is away']);
});

test('many at once are a number, as are those that are over', async () => {
  const { clock, log, host } = make(...Array.from({ length: 25 }, (_, i) => finding(`d${i}`)));
  await clock.pass(4_000);
  assert.equal(log.lines.length, 11);
  assert.equal(log.lines.at(-1), 'warn: 15 more findings (see: weft status)');
  host.found = [];
  await clock.pass(2_000);
  assert.equal(log.lines.length, 22);
  assert.equal(log.lines.at(-1), 'info: over: 15 more findings');
});

test('what has words of its own is not said twice', async () => {
  const { clock, log } = make({ ...finding('lane 0'), code: 'own-words' });
  await clock.pass(20_000);
  assert.deepEqual(log.lines, []);
});

test('one who cannot wait is told of the host at once; nothing is said after the end', async () => {
  const { clock, log, host, teller } = make();
  host.found = [finding('a'), cut('peer-silent')];
  teller.tellHost();
  assert.deepEqual(log.lines, ['warn: a is off']);
  await clock.pass(20_000);
  assert.deepEqual(log.lines.slice(1), ['warn: the peer is away'], 'and nothing twice');
  teller.stop();
  host.found = [];
  await clock.pass(20_000);
  assert.equal(log.lines.length, 2);
  assert.deepEqual(clock.waits, []);
});
