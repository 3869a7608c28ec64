/** What TypeScript repeats of C is the same in both. */
import assert from 'node:assert/strict';
import test from 'node:test';
import * as memory from '../../../src/dataplane/io/memory.js';
import * as native from '../../../src/dataplane/io/native.js';

test('every number that TypeScript repeats of the C headers is the same there', () => {
  const expected: Record<string, number> = { ADDRESS_SIZE: memory.ADDRESS_SIZE };
  for (const [name, value] of Object.entries(native)) {
    if (typeof value === 'number') expected[name] = value;
  }
  for (const [name, row] of Object.entries(memory)) {
    if (!name.endsWith('_ROW') || typeof row !== 'object') continue;
    for (const [word, value] of Object.entries(row)) expected[`${name}.${word}`] = value;
  }
  assert.deepEqual(native.loadNative().constants(), expected);
});

test('the addon exports what the interface says, and no more', () => {
  // The interface is gone at run time; its names, so that both are changed together.
  const calls = [
    ...['attach', 'lastError', 'errnoName', 'constants'],
    ...['tunOpen', 'tunOffload', 'tunRead', 'tunWrite', 'tunSteer'],
    ...['udpOpen', 'udpBind', 'udpBindDevice', 'udpConnect', 'udpName', 'udpDiscard', 'udpSteer'],
    ...['setOption', 'getOption'],
    ...['udpReceive', 'udpSend', 'eventOpen', 'eventSignal', 'eventDrain', 'wait', 'close'],
    ...[
      'linesOpen',
      'linesWrite',
      'linesLost',
      'linesFlush',
      'passOverRealtimeSignals',
      'exitAtOnce',
      'notify',
      'nftGeneration',
    ],
  ] as const satisfies readonly (keyof native.Native)[];
  assert.deepEqual(Object.keys(native.loadNative()).sort(), [...calls].sort());
});
