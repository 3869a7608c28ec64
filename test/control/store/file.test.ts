import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { FileStore } from '../../../src/control/store/file.js';
import type { Listing } from '../../../src/control/store/store.js';
import { FakeClock, Lines, realClock, until } from '../fakes.js';

const LEASE = { PublicIP: '192.168.64.3', BackendType: 'vxlan' };
const GOOD = { config: { Network: '10.5.0.0/16' }, subnets: { '10.5.52.0-24': LEASE } };

describe('file store', () => {
  let directory: string;
  let file: string;
  let log: Lines;

  beforeEach(() => {
    directory = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-file-'));
    file = path.join(directory, 'routes.json');
    log = new Lines();
    write(GOOD);
  });
  afterEach(() => fs.rmSync(directory, { recursive: true }));

  function write(content: unknown): void {
    const text = typeof content === 'string' ? content : JSON.stringify(content, undefined, 2);
    fs.writeFileSync(file, text);
  }

  test('has the texts that etcd would hold', async () => {
    write({ ...GOOD, subnets: { ...GOOD.subnets, 'subnets/10.5.72.0-24': LEASE } });
    const store = new FileStore({ file, clock: realClock, log });
    assert.equal(await store.readConfig(), '{"Network":"10.5.0.0/16"}');
    const { entries } = await store.list();
    const value = '{"PublicIP":"192.168.64.3","BackendType":"vxlan"}';
    assert.deepEqual(
      entries.map(({ key, value }) => [key, value]),
      [
        ['10.5.52.0-24', value],
        ['10.5.72.0-24', value],
      ],
    );
    assert.equal('leases' in store, false);
  });

  test('names file and position when it cannot be used at start', () => {
    write('{\n  "config": {,}\n}');
    const open = () => new FileStore({ file, clock: realClock, log });
    assert.throws(open, {
      name: 'StoreError',
      message: `${file}: line 2, column 14: unexpected ","`,
    });
    write([]);
    assert.throws(open, { message: `${file}: must hold an object with "config" and "subnets"` });
    write({ subnets: [] });
    assert.throws(open, /"subnets" must be an object/);
    fs.rmSync(file);
    assert.throws(open, /routes.json: there is no such file; write one: /);
  });

  test('follows the file through rewriting, renaming and a broken state', async () => {
    const store = new FileStore({ file, clock: realClock, log });
    const seen: Listing[] = [];
    store.follow({ snapshot: (listing) => seen.push(listing), changes: () => assert.fail() });
    const keys = () =>
      seen
        .at(-1)
        ?.entries.map(({ key }) => key)
        .join();
    await until(() => keys() === '10.5.52.0-24');

    write({ subnets: { '10.5.52.0-24': LEASE, '10.5.72.0-24': LEASE } });
    await until(() => keys() === '10.5.52.0-24,10.5.72.0-24');
    const [one, two] = seen.at(-1)?.entries ?? [];
    assert.ok(one && two && one.revision < two.revision, 'what did not change keeps its revision');

    write('{"subnets": {');
    await until(() => log.matching(/last good state/).length === 1);
    assert.match(log.lines[0] ?? '', /^error: .*routes.json: line 1, column 14: it ends too early/);
    assert.equal((await store.list()).entries.length, 2);

    fs.writeFileSync(`${file}.new`, JSON.stringify({ subnets: { '10.5.1.0-24': LEASE } }));
    fs.renameSync(`${file}.new`, file);
    await until(() => keys() === '10.5.1.0-24');
    assert.deepEqual(log.lines.slice(1), [`info: file ${file}: can be read again`]);

    await store.close();
    const before = seen.length;
    write(GOOD);
    await new Promise((resolve) => setTimeout(resolve, 120));
    assert.equal(seen.length, before, 'nothing comes after close');
  });

  test('looks soon after an event of the directory', async () => {
    const clock = new FakeClock();
    const store = new FileStore({ file, clock, log });
    store.follow({ snapshot: () => {}, changes: () => assert.fail() });
    await clock.pass(0);
    fs.writeFileSync(path.join(directory, 'other.json'), '');
    write({ subnets: {} });
    await until(() => clock.waits.join() === '50,2000');
    await store.close();
  });

  test('looks every 2 s where no event comes, and complains once', async () => {
    const clock = new FakeClock();
    const store = new FileStore({ file, clock, log });
    const seen: Listing[] = [];
    store.follow({ snapshot: (listing) => seen.push(listing), changes: () => assert.fail() });
    await clock.pass(0);
    assert.equal(seen.length, 1);
    await clock.pass(10_000);
    assert.equal(seen.length, 1, 'an unchanged file is no news');
    assert.deepEqual(clock.waits, [2_000]);
    write({ subnets: {} });
    await clock.pass(2_000);
    assert.equal(seen.length, 2);
    fs.rmSync(file);
    await clock.pass(10_000);
    assert.equal(log.lines.length, 1);
    assert.equal(seen.length, 2);
    await store.close();
    assert.deepEqual(clock.waits, []);
  });
});
