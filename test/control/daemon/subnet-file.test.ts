import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { SubnetFile } from '../../../src/control/daemon/subnet-file.js';
import type { HostError } from '../../../src/control/host/errors.js';
import type { Entry } from '../../../src/control/host/journal.js';
import { lineOf } from '../../../src/control/runtime.js';
import { FakeClock } from '../fakes.js';
import { scratch } from '../host/fakes.js';

const ENV = {
  network: { address: 0x0a0a0000, length: 16 },
  subnet: { address: 0x0a0a0100, length: 24 },
  mtu: 1450,
  ipMasq: false,
};
const text = (mtu: number) =>
  `FLANNEL_NETWORK=10.10.0.0/16\nFLANNEL_SUBNET=10.10.1.1/24\nFLANNEL_MTU=${mtu}\nFLANNEL_IPMASQ=false\n`;

const DOCKER = 'DOCKER_OPTS=" --bip=10.10.1.1/24 --mtu=1450"\n';

function made(t: { after(call: () => void): void }) {
  const file = path.join(scratch(t), 'flannel', 'subnet.env');
  const recorded: Entry[] = [];
  const clock = new FakeClock();
  const wanted: number[] = [];
  const subnetFile = new SubnetFile(file, ENV, {
    journal: { record: (entry) => void recorded.push(entry) },
    clock,
    soon: (ms) => void wanted.push(ms),
  });
  /** Looks until what is wrong has stood still. */
  const look = async () => {
    const did = await subnetFile.reconcile();
    return did.length > 0 || subnetFile.written ? did : subnetFile.reconcile();
  };
  return {
    file,
    recorded,
    subnetFile,
    clock,
    wanted,
    look,
    read: () => fs.readFileSync(file, 'utf8'),
  };
}

test('made at first, and again when somebody deletes it or changes what it says of the network', async (t) => {
  const { file, subnetFile, look, read } = made(t);
  fs.mkdirSync(path.dirname(file));
  fs.writeFileSync(file, text(1400), { mode: 0o600 });
  assert.equal(subnetFile.written, false);
  assert.deepEqual(await subnetFile.reconcile(), [`wrote ${file}`]);
  assert.equal(fs.statSync(file).mode & 0o777, 0o644);
  assert.deepEqual(await subnetFile.reconcile(), []);
  for (const [spoil, why] of [
    [() => fs.rmSync(file), 'which was gone'],
    [() => fs.writeFileSync(file, text(1400)), 'whose FLANNEL_MTU was 1400'],
    [() => fs.rmSync(path.dirname(file), { recursive: true }), 'which was gone'],
  ] as const) {
    spoil();
    assert.deepEqual(await look(), [`wrote ${file}, ${why}`]);
    assert.equal(read(), text(1450));
    assert.ok(subnetFile.written);
  }
});

test('one that is right is not touched, at the start neither, but for who may read it', async (t) => {
  const { file, subnetFile, recorded } = made(t);
  fs.mkdirSync(path.dirname(file));
  fs.writeFileSync(file, `${DOCKER}${text(1450)}`, { mode: 0o600 });
  const { ino } = fs.statSync(file);
  assert.deepEqual(await subnetFile.reconcile(), []);
  assert.ok(subnetFile.written);
  const { ino: now, mode } = fs.statSync(file);
  assert.deepEqual([now, mode & 0o777], [ino, 0o644]);
  assert.deepEqual(recorded, [{ kind: 'file', path: file, wrote: text(1450) }]);
  fs.chmodSync(file, 0o600);
  assert.deepEqual(await subnetFile.reconcile(), []);
  assert.equal(fs.statSync(file).mode & 0o777, 0o600, 'whoever does that later may');
  assert.equal(recorded.length, 1);
});

test('lines of others stay, whether they are added or put in the place of ours', async (t) => {
  const { file, recorded, subnetFile, look, read } = made(t);
  await subnetFile.reconcile();
  fs.appendFileSync(file, DOCKER);
  for (let i = 0; i < 3; i += 1) assert.deepEqual(await look(), []);
  assert.equal(read(), `${text(1450)}${DOCKER}`);
  await subnetFile.changeMtu(1350);
  assert.equal(read(), `${text(1350)}${DOCKER}`);
  fs.writeFileSync(file, DOCKER);
  assert.deepEqual(await look(), [`wrote ${file}, which lacked FLANNEL_NETWORK`]);
  assert.equal(read(), `${text(1350)}${DOCKER}`);
  assert.deepEqual(recorded.at(-1), { kind: 'file', path: file, wrote: text(1350) });
});

test('one that is being written in steps is waited for', async (t) => {
  const { file, subnetFile, wanted, read } = made(t);
  await subnetFile.reconcile();
  const steps = ['', text(1450).slice(0, 30), `${text(1450)}${DOCKER}`];
  for (const step of steps) {
    fs.writeFileSync(file, step);
    assert.deepEqual(await subnetFile.reconcile(), []);
  }
  assert.equal(read(), steps.at(-1));
  assert.ok(subnetFile.written);
  assert.equal(wanted.length, 2);
  // The same again is waited for again.
  fs.writeFileSync(file, '');
  assert.deepEqual(await subnetFile.reconcile(), []);
  assert.equal(subnetFile.written, false);
});

test('whoever keeps writing other values is named once, opposed ever less often, and forgotten when he stops', async (t) => {
  const { file, look, subnetFile, clock, read } = made(t);
  await subnetFile.reconcile();
  let repairs = 0;
  const faults = new Set<string>();
  const turn = async (spoil: boolean) => {
    if (spoil) fs.writeFileSync(file, text(1000 + (clock.now() % 400)));
    try {
      repairs += (await look()).length;
    } catch (error) {
      const { message, cure } = error as HostError;
      faults.add(lineOf({ text: message, cure }));
    }
    await clock.pass(3_000);
  };
  let written = 0;
  for (let i = 0; i < 600; i += 1) {
    await turn(true);
    if (read() === text(1450)) written += 1;
  }
  assert.equal(repairs, 3);
  assert.equal(faults.size, 1);
  assert.match(
    [...faults][0]!,
    /another program keeps writing .*subnet\.env, whose FLANNEL_MTU was 1.*; do: stop that program, .* -subnet-file=FILE$/,
  );
  assert.ok(written > 6 && written < 16, `written ${written} times in half an hour`);
  // He wrote while weft let it be, so it is seen that he does so no more.
  for (let i = 0; i < 4; i += 1) await turn(false);
  assert.deepEqual(await look(), []);
  assert.equal(faults.size, 1);
  fs.writeFileSync(file, text(1400));
  assert.deepEqual(await look(), [`wrote ${file}, whose FLANNEL_MTU was 1400`]);
});

test('whoever writes it only after weft has may come back: it stays a fault through the pauses', async (t) => {
  const { file, look, subnetFile, clock, read } = made(t);
  await subnetFile.reconcile();
  let last = '';
  const turn = async (spoil: boolean) => {
    if (spoil && read() === text(1450)) fs.writeFileSync(file, text(1400));
    last = '';
    await look().catch((error: Error) => {
      last = error.message;
    });
    await clock.pass(3_000);
  };
  for (let i = 0; i < 100; i += 1) await turn(true);
  for (let i = 0; i < 100; i += 1) await turn(false);
  assert.match(last, /keeps writing/);
  for (let i = 0; i < 300; i += 1) await turn(false);
  assert.equal(last, '');
});

test('another MTU is written and recorded at once; it is no repair later', async (t) => {
  const { file, recorded, subnetFile, read } = made(t);
  await subnetFile.reconcile();
  await subnetFile.changeMtu(1350);
  assert.equal(read(), text(1350));
  assert.deepEqual(recorded.at(-1), { kind: 'file', path: file, wrote: text(1350) });
  assert.deepEqual(await subnetFile.reconcile(), []);
});

test('the journal has it before the file is there, and before the file is another', async (t) => {
  const file = path.join(scratch(t), 'flannel', 'subnet.env');
  const before: (string | undefined)[] = [];
  const there = () => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : undefined);
  const subnetFile = new SubnetFile(file, ENV, {
    journal: { record: () => void before.push(there()) },
    clock: { now: () => 0 },
    soon: () => {},
  });
  await subnetFile.reconcile();
  await subnetFile.changeMtu(1350);
  assert.deepEqual(before, [undefined, text(1450)]);
  assert.equal(there(), text(1350));
});

test('one that cannot be written says so, and is written when it can be', async (t) => {
  const { file, subnetFile, read } = made(t);
  fs.mkdirSync(file, { recursive: true });
  await assert.rejects(
    subnetFile.reconcile(),
    /cannot write .*subnet\.env: .*Docker and CNI will miss/,
  );
  assert.equal(subnetFile.written, false);
  await subnetFile.changeMtu(1350);
  assert.equal(subnetFile.written, false);
  fs.rmdirSync(file);
  assert.deepEqual(await subnetFile.reconcile(), [`wrote ${file}`]);
  assert.equal(read(), text(1350));
});
