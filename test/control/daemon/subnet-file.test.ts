import assert from 'node:assert/strict';
import fs from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { SubnetFile } from '../../../src/control/daemon/subnet-file.js';
import type { Entry } from '../../../src/control/host/journal.js';
import { scratch } from '../host/fakes.js';

const ENV = {
  network: { address: 0x0a0a0000, length: 16 },
  subnet: { address: 0x0a0a0100, length: 24 },
  mtu: 1450,
  ipMasq: false,
};
const text = (mtu: number) =>
  `FLANNEL_NETWORK=10.10.0.0/16\nFLANNEL_SUBNET=10.10.1.1/24\nFLANNEL_MTU=${mtu}\nFLANNEL_IPMASQ=false\n`;

function made(t: { after(call: () => void): void }) {
  const file = path.join(scratch(t), 'flannel', 'subnet.env');
  const recorded: Entry[] = [];
  const subnetFile = new SubnetFile(file, ENV, { record: (entry) => void recorded.push(entry) });
  return { file, recorded, subnetFile, read: () => fs.readFileSync(file, 'utf8') };
}

test('written at first whatever there is, and again when somebody deletes or changes it', async (t) => {
  const { file, subnetFile, read } = made(t);
  fs.mkdirSync(path.dirname(file));
  fs.writeFileSync(file, text(1450), { mode: 0o600 });
  assert.equal(subnetFile.written, false);
  assert.deepEqual(await subnetFile.reconcile(), [`wrote ${file}`]);
  assert.equal(fs.statSync(file).mode & 0o777, 0o644);
  assert.deepEqual(await subnetFile.reconcile(), []);
  for (const spoil of [
    () => fs.rmSync(file),
    () => fs.rmSync(path.dirname(file), { recursive: true }),
    () => fs.writeFileSync(file, text(1400)),
    () => fs.truncateSync(file),
  ]) {
    spoil();
    assert.deepEqual(await subnetFile.reconcile(), [`wrote ${file}`]);
    assert.equal(read(), text(1450));
    assert.ok(subnetFile.written);
  }
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
  const subnetFile = new SubnetFile(file, ENV, { record: () => void before.push(there()) });
  await subnetFile.reconcile();
  await subnetFile.changeMtu(1350);
  assert.deepEqual(before, [undefined, text(1450)]);
  assert.equal(there(), text(1350));
});

test('one that cannot be written says so, and is written when it can be', async (t) => {
  const { file, subnetFile, read } = made(t);
  fs.mkdirSync(file, { recursive: true });
  await assert.rejects(subnetFile.reconcile(), /cannot write .*subnet\.env: .*Docker and CNI/);
  assert.equal(subnetFile.written, false);
  await subnetFile.changeMtu(1350);
  assert.equal(subnetFile.written, false);
  fs.rmdirSync(file);
  assert.deepEqual(await subnetFile.reconcile(), [`wrote ${file}`]);
  assert.equal(read(), text(1350));
});
