/** Wefts in other network namespaces whose files lie beside ours, and a folder that fails. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import type { Status } from '../../../src/operate/status/status.js';
import { plant } from '../host/fakes.js';
import { FakeHost } from './fakes/fake-host.js';

/** A weft in another network namespace that wrote `wrote` into a file of that name. */
async function rival(t: TestContext, host: FakeHost, file: string, wrote: string): Promise<void> {
  const folder = path.join(host.runDirectory, 'net-22');
  const entries = [{ kind: 'file', path: file, wrote }];
  const owner = { pid: 1, startTime: '1' };
  const journal = { version: 1, owner, namespace: 'boot net:[22]', entries };
  plant(folder, { 'flannel.1.json': JSON.stringify(journal) });
  const server = net.createServer().listen(path.join(folder, 'flannel.1.sock'));
  await new Promise((resolve) => server.once('listening', resolve));
  t.after(() => server.close());
}

test('a subnet.env that a weft elsewhere writes is left to it, and named with the flag', async (t) => {
  const host = new FakeHost(t);
  const theirs = host.subnetEnv;
  await rival(t, host, host.subnetFile, theirs);
  assert.match(
    await host.refused(host.daemon()),
    /subnet\.env is written by the weft of flannel\.1 in .* net:\[22\]; give .* -subnet-file$/,
  );
  assert.equal(host.subnetEnv, theirs);
  assert.deepEqual(host.take(), ['ip ended', 'close the store'], 'nothing was made');
  assert.deepEqual(fs.readdirSync(host.folder), ['net-22']);
});

test('a file of the same name in another mount namespace is none of theirs', async (t) => {
  const host = new FakeHost(t);
  await rival(t, host, host.subnetFile, 'FLANNEL_SUBNET=10.10.65.1/24\n');
  assert.equal((await host.started()).ready, true);
});

test('one that has ended is no hindrance', async (t) => {
  const host = new FakeHost(t);
  await rival(t, host, host.subnetFile, host.subnetEnv);
  fs.rmSync(path.join(host.runDirectory, 'net-22/flannel.1.sock'));
  assert.equal((await host.started()).ready, true);
});

test('what cannot be written is a fault each, and gone when it can be', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  const status = async () => (await host.status('flannel.1')) as Status;
  assert.deepEqual((await status()).faults, []);
  await host.clock.pass(2_000);
  // What is to become the journal and the saved network cannot be made.
  const [saved] = fs.readdirSync(host.folder).filter((name) => name.endsWith('.saved'));
  const names = ['flannel.1.json', saved ?? 'none'].map((name) => `${host.folder}/${name}.new`);
  for (const name of names) fs.mkdirSync(`${name}/x`, { recursive: true });
  host.runner.delete('flannel.1');
  host.io.takeAway('flannel.1');
  host.peer('10.10.70.0-24', '192.168.56.12');
  await host.clock.pass(7_000);
  const { faults, lanes } = await status();
  assert.equal(lanes[0]!.running, true);
  assert.equal(faults.length, 2, faults.join('\n'));
  assert.match(faults[0]!, /^cannot write the journal .*flannel\.1\.json/);
  assert.match(faults[1]!, /^cannot save the network in .*\.saved/);
  for (const name of names) fs.rmSync(name, { recursive: true });
  await host.clock.pass(7_000);
  assert.deepEqual((await status()).faults, []);
});

test('a socket that somebody removed is there again after a period', async (t) => {
  const host = new FakeHost(t);
  await host.started();
  fs.rmSync(path.join(host.folder, 'flannel.1.sock'));
  await assert.rejects(host.status('flannel.1'), { code: 'ENOENT' });
  await host.clock.pass(3_000);
  assert.equal(((await host.status('flannel.1')) as Status).device.name, 'flannel.1');
});
