/** That a network config which changes while a host runs is told of, and put back, is not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseConfig } from '../../../src/control/overlay/config.js';
import { type ConfigChange, ConfigWatch } from '../../../src/control/overlay/config-watch.js';
import { Overlay } from '../../../src/control/overlay/network.js';
import { StoreError } from '../../../src/control/store/store.js';
import { FakeClock, Lines, seeded, settle } from '../fakes.js';
import { MemoryStore } from './memory-store.js';

const TEXT = '{\n  "Network": "10.5.0.0/16",\n  "Backend": {"Type": "vxlan"}\n}\n';
const IN_FORCE = '{ "Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"} }';
const MINUTE_MS = 60_000;

function watching(besideFlanneld = true, random = () => 0) {
  const [store, clock, log] = [new MemoryStore(), new FakeClock(), new Lines()];
  store.config = TEXT;
  let reads = 0;
  const readConfig = () => {
    reads += 1;
    return store.readConfig();
  };
  const config = parseConfig(TEXT, store.configName);
  const watched = { readConfig, configName: store.configName };
  const watch = new ConfigWatch({
    ...{ store: watched, clock, random, log, config, text: TEXT, besideFlanneld },
  });
  /** After the next look. */
  const now = async (text: string | undefined) => {
    store.config = text;
    await clock.pass(MINUTE_MS);
    return watch.change;
  };
  return { store, clock, watch, now, reads: () => reads };
}

/** As it is now, whatever it was before. */
const changeOf = ({ change }: Pick<ConfigWatch, 'change'>): ConfigChange | undefined => change;
const whyOf = ({ problem }: Pick<ConfigWatch, 'problem'>): string | undefined => problem?.why;

test('read once a minute at most, never after the end', async () => {
  const { clock, watch, reads } = watching(true, () => 1);
  watch.start();
  await clock.pass(10 * MINUTE_MS);
  assert.equal(reads(), 8, 'up to a fifth later');
  const looking = watch.look();
  watch.stop();
  await looking;
  await clock.pass(10 * MINUTE_MS);
  assert.deepEqual([reads(), clock.waits], [9, []]);
});

test('the same in other words is no change, nor is what no host reads', async () => {
  const { watch, now } = watching();
  watch.start();
  for (const same of [
    '{"network":"10.5.7.0/16","Backend":{"Type":"VXLAN","VNI":1,"Port":0,"MTU":0}}',
    TEXT.replace('{', '{"Comment":"ours","SubnetLen":24,"EnableIPv6":false,'),
  ]) {
    assert.equal(await now(same), undefined, same);
  }
});

test('what differs is named, and whether it parts hosts; put back it is over', async () => {
  const { watch, now } = watching();
  watch.start();
  const vxlan = (network: string, more = '') =>
    `{"Network":"${network}","Backend":{"Type":"vxlan"${more}}}`;
  const cases: [string, string[], boolean][] = [
    [vxlan('10.6.0.0/16'), ['Network is 10.6.0.0/16, here 10.5.0.0/16'], true],
    [vxlan('10.5.0.0/16', ',"VNI":2'), ['Backend.VNI is 2, here 1'], true],
    [vxlan('10.5.0.0/16', ',"Port":4789'), ['Backend.Port is 4789, here 8472'], true],
    [vxlan('10.5.0.0/16', ',"MTU":9000'), ["Backend.MTU is 9000, here the interface's"], true],
    [
      '{"Network":"10.5.0.0/16","Backend":{"Type":"host-gw"}}',
      ['Backend.Type is host-gw, here vxlan'],
      true,
    ],
    [
      vxlan('10.5.0.0/16', ',"DirectRouting":true,"GBP":true,"Learning":true'),
      [
        'Backend.DirectRouting is true, here false',
        'Backend.GBP is true, here false',
        'Backend.Learning is true, here false',
      ],
      false,
    ],
    [
      TEXT.replace('{', '{"SubnetLen":25,"EnableNFTables":true,'),
      [
        'SubnetLen is 25, here 24',
        'SubnetMin is 10.5.0.128, here 10.5.1.0',
        'SubnetMax is 10.5.255.128, here 10.5.255.0',
        'EnableNFTables is true, here false',
      ],
      false,
    ],
  ];
  for (const [text, what, parts] of cases) {
    assert.deepEqual(await now(text), { is: 'another', what, parts, inForce: IN_FORCE });
    assert.equal(await now(TEXT), undefined, 'put back');
  }
});

test('one that is gone, one that no start takes', async () => {
  const { watch, now } = watching();
  watch.start();
  const told = { what: [], parts: false, inForce: IN_FORCE };
  assert.deepEqual(await now(undefined), { is: 'gone', ...told });
  const what = ['it is not JSON: line 1, column 1: unexpected "h"'];
  assert.deepEqual(await now('hello'), { ...told, is: 'unusable', what });
  const udp = await now('{"Network":"10.5.0.0/16"}');
  assert.equal(udp?.is, 'unusable');
  assert.match(udp?.what[0] ?? '', /^Backend is absent/);
});

test('while the store is away what was known stays; one that may not be read is of no use', async () => {
  const { store, clock, watch, now } = watching();
  watch.start();
  await now(undefined);
  store.config = TEXT;
  store.away = true;
  await clock.pass(5 * MINUTE_MS);
  assert.equal(changeOf(watch)?.is, 'gone');
  store.away = false;
  await clock.pass(MINUTE_MS);
  assert.equal(changeOf(watch), undefined);
  const { readConfig } = store;
  store.readConfig = async () => {
    throw new StoreError('etcd refuses to read /net/config: permission denied');
  };
  await clock.pass(MINUTE_MS);
  assert.equal(changeOf(watch)?.is, 'unusable');
  assert.match(changeOf(watch)?.what[0] ?? '', /permission denied/);
  store.readConfig = readConfig;
  await clock.pass(MINUTE_MS);
  assert.equal(changeOf(watch), undefined);
});

test('what a flanneld refuses is judged as it is now, where flannelds read it', async () => {
  const bad = TEXT.replace('{', '{"SubnetMin":null,');
  for (const beside of [true, false]) {
    const { watch, now } = watching(beside);
    watch.start();
    assert.equal(whyOf(watch), undefined);
    await now(bad);
    assert.equal(whyOf(watch)?.includes('SubnetMin null'), beside ? true : undefined);
    await now('hello');
    assert.equal(whyOf(watch), undefined, 'no start takes that');
    await now(TEXT);
    assert.equal(whyOf(watch), undefined);
  }
});

test('an overlay reads it by itself, and when it is told to look at the store anew', async () => {
  const [store, clock] = [new MemoryStore(), new FakeClock()];
  store.config = TEXT;
  const overlay = new Overlay({ store, clock, random: seeded(1), log: new Lines() });
  const config = await overlay.waitForConfig();
  await overlay.join(config, { publicIp: 0x0a000001 });
  overlay.follow({ members: () => {}, lost: () => {} });
  assert.equal(changeOf(overlay.config!), undefined);
  store.config = undefined;
  await clock.pass(72_000);
  assert.equal(changeOf(overlay.config!)?.is, 'gone');
  store.config = TEXT;
  overlay.reconnect();
  await settle();
  assert.equal(changeOf(overlay.config!), undefined);
  await overlay.stop();
  assert.deepEqual(clock.waits, []);
});
