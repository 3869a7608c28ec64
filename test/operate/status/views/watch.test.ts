/** What `weft status -watch` makes of two answers. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Status } from '../../../../src/operate/status/status.js';
import { describeWatch } from '../../../../src/operate/status/views/watch.js';
import { fullStatus } from '../full.js';

const SECONDS = 4;
const grown = (counters: Partial<Status['counters']>, more: Partial<Status> = {}): Status => ({
  ...{ ...fullStatus, uptimeSeconds: fullStatus.uptimeSeconds + SECONDS, ...more },
  counters: { ...fullStatus.counters, ...counters },
});
const textOf = (label: string, now: Status): string => {
  const lines = describeWatch(fullStatus, now);
  return lines.find(([name]) => name === label)![1];
};

test('rates are a second, of what grew between the two', () => {
  const { outbound_out_packets: packets, outbound_out_bytes: bytes } = fullStatus.counters;
  const now = grown({
    ...{ outbound_out_packets: packets + 4_000, outbound_out_bytes: bytes + 4_000_000 },
    sends: 100,
  });
  assert.equal(textOf('out', now), '8.0 Mb/s, 1,000 packets/s; 40.0 packets a send, tier segment');
  assert.match(textOf('in', now), /^0 b\/s, 0 packets\/s; – a receive, – merged a write$/);
});

test('a drop is told while it goes on', () => {
  assert.equal(textOf('drops', grown({})), 'none just now');
  const drops = { ...fullStatus.drops, unknown_sender: fullStatus.drops.unknown_sender! + 40 };
  assert.match(textOf('drops', grown({}, { drops })), /^unknown_sender +10\/s$/);
});

test('the peers with most traffic come first', () => {
  const [first, second] = fullStatus.peers;
  const seen = { ...second!.seen, sentBytes: second!.seen.sentBytes + 1_000_000 };
  const peers = [first!, { ...second!, seen }];
  const lines = describeWatch(fullStatus, grown({}, { peers })).map(([, text]) => text);
  const at = (address: string) => lines.findIndex((line) => line.startsWith(address));
  assert.ok(at(second!.publicIp) < at(first!.publicIp), lines.join('\n'));
  assert.match(lines[at(second!.publicIp)]!, / 2\.0 Mb\/s +0 b\/s /);
});
