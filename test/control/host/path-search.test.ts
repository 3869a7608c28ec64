import assert from 'node:assert/strict';
import test from 'node:test';
import type { EchoResult } from '../../../src/control/host/echo.js';
import {
  beginSearch,
  type Found,
  isFound,
  LEAST,
  SMALL,
  sizeToSend,
  takeResult,
} from '../../../src/control/host/path-search.js';
import { seeded } from '../fakes.js';

const ANSWERED: EchoResult = { kind: 'answered' };
const SILENT: EchoResult = { kind: 'silent' };
const tooBig = (mtu: number): EchoResult => ({ kind: 'too big', mtu, from: '192.168.56.1' });

/** Searches on a path that answers a size so; the sizes that were sent, and what was found. */
function search(full: number, path: (size: number) => EchoResult): { sent: number[] } & Found {
  const sent: number[] = [];
  let state: ReturnType<typeof takeResult> = beginSearch(full);
  while (!isFound(state)) {
    assert.ok(sent.length < 200, `no end: ${sent}`);
    const size = sizeToSend(state);
    sent.push(size);
    state = takeResult(state, path(size));
  }
  return { sent, ...state };
}

test('a path as large as its route takes one packet', () => {
  const { sent, found } = search(1500, () => ANSWERED);
  assert.deepEqual([sent, found], [[1500], 1500]);
});

test('an MTU that is told takes one packet more, and counts when that is answered', () => {
  const path = (size: number) => (size > 1400 ? tooBig(1400) : ANSWERED);
  const { sent, found } = search(1500, path);
  assert.deepEqual([sent, found], [[1500, 1400], 1400]);
});

test('a host that a router does not get to does not answer', () => {
  const gone: EchoResult = { kind: 'unreachable', code: 1, from: '192.168.56.1' };
  const { found, why } = search(1500, () => gone);
  assert.deepEqual([found, why], [undefined, 'it does not answer']);
});

test('two routers that tell, one after the other', () => {
  const path = (size: number) =>
    size > 1460 ? tooBig(1460) : size > 1380 ? tooBig(1380) : ANSWERED;
  const { sent, found } = search(1500, path);
  assert.deepEqual([sent, found], [[1500, 1460, 1380], 1380]);
});

test('an MTU that is told and does not pass is not believed: the true one is found', () => {
  const path = (size: number) => (size === 1500 ? tooBig(1450) : size > 1400 ? SILENT : ANSWERED);
  assert.equal(search(1500, path).found, 1400);
});

test('routers that tell no MTU, or one that is none: found by trying', () => {
  for (const told of [0, 67, 500, 1500, 65_535]) {
    const path = (size: number) => (size > 1400 ? tooBig(told) : ANSWERED);
    assert.equal(search(1500, path).found, 1400, String(told));
  }
});

test('a path that swallows what is too large is found to the byte, whatever it takes', () => {
  for (let mtu = LEAST; mtu <= 1500; mtu += 1) {
    const { sent, found } = search(1500, (size) => (size > mtu ? SILENT : ANSWERED));
    assert.equal(found, mtu);
    assert.ok(sent.length < 100, `${sent.length} packets for ${mtu}`);
  }
  for (const mtu of [576, 1500, 4000, 8999, 9000, 9001, 40_000, 65_534]) {
    assert.equal(search(65_535, (size) => (size > mtu ? SILENT : ANSWERED)).found, mtu);
  }
});

test('a size fails when it had no answer three times and a small packet had each time', () => {
  const { sent } = search(1500, (size) => (size > 1499 ? SILENT : ANSWERED));
  assert.deepEqual(sent.slice(0, 6), [1500, SMALL, 1500, SMALL, 1500, SMALL]);
  for (const lost of [1, 2]) {
    let left = lost;
    const lossy = (size: number) => (size === 1500 && left-- > 0 ? SILENT : ANSWERED);
    assert.equal(search(1500, lossy).found, 1500, `${lost} lost`);
  }
});

test('a path that loses one packet in twenty never shrinks in a thousand searches', () => {
  const random = seeded(11);
  for (let i = 0; i < 1000; i += 1) {
    const { found } = search(1500, () => (random() < 0.05 ? SILENT : ANSWERED));
    assert.equal(found, 1500);
  }
});

test('a peer that answers nothing is given up after four packets', () => {
  const { sent, found, why, soon } = search(1500, () => SILENT);
  assert.deepEqual(sent, [1500, SMALL, SMALL, SMALL]);
  assert.deepEqual([found, why, soon], [undefined, 'it does not answer', false]);
});

test('a peer that answers small echoes alone has no path of a few bytes', () => {
  const { found, why } = search(1500, (size) => (size > 128 ? SILENT : ANSWERED));
  assert.deepEqual([found, why], [undefined, 'it answers small packets alone']);
  assert.equal(search(500, (size) => (size > 128 ? SILENT : ANSWERED)).found, undefined);
});

test('what this host cannot send ends the search, with the reason, for another soon', () => {
  const { found, why, soon } = search(1500, () => ({ kind: 'cannot', why: 'not permitted' }));
  assert.deepEqual([found, why, soon], [undefined, 'not permitted', true]);
});
