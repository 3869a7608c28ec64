/** The addresses behind a name, on a fake clock and a fake resolver. */
import assert from 'node:assert/strict';
import { beforeEach, test } from 'node:test';
import { ResolvedNames } from '../../../src/control/store/names.js';
import { FakeClock, settle } from '../fakes.js';

interface Asked {
  readonly name: string;
  answer(addresses: string[]): void;
  fail(code: string): void;
}

let clock: FakeClock;
let asked: Asked[];
let names: ResolvedNames;

beforeEach(() => {
  clock = new FakeClock();
  asked = [];
  names = new ResolvedNames(
    clock,
    (name) =>
      new Promise((resolve, reject) => {
        const fail = (code: string) => reject(Object.assign(new Error(code), { code }));
        asked.push({ name, answer: resolve, fail });
      }),
  );
});

/** What became of a promise by now. */
async function now<T>(promise: Promise<T>): Promise<T | Error | 'waits'> {
  const waits = settle().then(() => 'waits' as const);
  return Promise.race([promise.catch((error: Error) => error), waits]);
}

async function resolved(name: string, addresses: string[]): Promise<void> {
  const promise = names.addresses(name);
  await settle();
  asked.at(-1)?.answer(addresses);
  assert.deepEqual(await promise, addresses);
}

test('an address is its own, and nobody is asked', async () => {
  assert.deepEqual(await names.addresses('192.168.56.11'), ['192.168.56.11']);
  assert.deepEqual(await names.addresses('fd00::1'), ['fd00::1']);
  assert.equal(asked.length, 0);
});

test('the last addresses outlive the resolver: it refuses, it is silent, it knows the name no more', async () => {
  await resolved('etcd', ['10.0.0.1', '10.0.0.2']);
  for (const end of [
    () => asked.at(-1)?.fail('EAI_AGAIN'),
    () => asked.at(-1)?.fail('ENOTFOUND'),
    () => asked.at(-1)?.answer([]),
  ]) {
    await clock.pass(10_000);
    const promise = names.addresses('etcd');
    await settle();
    end();
    assert.deepEqual(await promise, ['10.0.0.1', '10.0.0.2']);
  }
  await clock.pass(10_000);
  const before = asked.length;
  for (let i = 0; i < 20; i++) {
    const promise = names.addresses('etcd');
    await clock.pass(1_000);
    assert.deepEqual(await now(promise), ['10.0.0.1', '10.0.0.2'], 'known ones are not held back');
  }
  assert.equal(asked.length, before + 1, 'one look-up under way, however long it takes');
});

test('a name that moved is dialled at its new address', async () => {
  await resolved('etcd', ['10.0.0.1']);
  assert.deepEqual(await names.addresses('etcd'), ['10.0.0.1']);
  assert.equal(asked.length, 1, 'not asked again at once');
  await clock.pass(10_000);
  await resolved('etcd', ['10.0.0.9']);
  assert.deepEqual(await names.addresses('etcd'), ['10.0.0.9']);
});

test('a name that was never known: rejects with the reason, and asks once a second at most', async () => {
  for (const [code, reason] of [
    ['ENOTFOUND', 'there is no such name'],
    ['EAI_AGAIN', 'the resolver does not answer'],
  ] as const) {
    const promise = names.addresses('etcd');
    await settle();
    asked.at(-1)?.fail(code);
    await assert.rejects(promise, new RegExp(`cannot resolve etcd: ${reason}`));
    await assert.rejects(names.addresses('etcd'), new RegExp(reason));
    await clock.pass(1_000);
  }
  assert.equal(asked.length, 2);
});

test('one look-up is under way at a time, for all names together', async () => {
  const promises = ['a', 'b', 'c'].map((name) => names.addresses(name));
  await settle();
  assert.deepEqual(
    asked.map(({ name }) => name),
    ['a'],
  );
  asked[0]?.fail('EAI_AGAIN');
  await assert.rejects(promises[0] as Promise<unknown>);
  await settle();
  assert.equal(asked.length, 2);
  asked[1]?.answer(['10.0.0.2']);
  assert.deepEqual(await promises[1], ['10.0.0.2']);
  await settle();
  asked[2]?.answer(['10.0.0.3']);
  assert.deepEqual(await promises[2], ['10.0.0.3']);
});
