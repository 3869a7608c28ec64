import assert from 'node:assert/strict';
import fs from 'node:fs';
import { test } from 'node:test';
import { HostQueues } from '../../../src/control/daemon/host-queues.js';
import { NOTHING_LOST } from '../../operate/status/full.js';

/** As a kernel of 6.18 prints them, some columns left out. */
const snmp = (reasm: number, discards: number, frag: number, udp: readonly number[]) => `\
Ip: Forwarding DefaultTTL OutDiscards OutNoRoutes ReasmTimeout ReasmFails FragOKs FragFails
Ip: 1 64 ${discards} 90 91 ${reasm} 92 ${frag}
Icmp: InMsgs InCsumErrors
Icmp: 93 94
Tcp: RtoAlgorithm MaxConn InCsumErrors
Tcp: 1 -1 95
Udp: InDatagrams InErrors RcvbufErrors SndbufErrors InCsumErrors IgnoredMulti MemErrors
Udp: 96 97 ${udp.join(' ')}
UdpLite: InDatagrams RcvbufErrors SndbufErrors InCsumErrors MemErrors
UdpLite: 98 99 100 101 102
`;
const dev = (device: string, drops: number) => `\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:  9  9  9  9  9  9  9  9  9  9  9  9  9  9  9  9
${device}:123456789  8  7 6    5    4     3      2    900    800    700 ${drops}    600  500   400      300
`;

function host() {
  const files: Record<string, string> = {
    '/proc/net/snmp': snmp(1, 2, 3, [4, 5, 6, 7, 8]),
    '/proc/net/dev': dev('flannel.1', 0),
  };
  const queues = new HostQueues('/proc', (file) => {
    if (files[file] === undefined) throw new Error('ENOENT');
    return files[file];
  });
  return { files, queues };
}

test('everything is counted from the beginning on', () => {
  const { files, queues } = host();
  assert.deepEqual(queues.counters('flannel.1'), NOTHING_LOST);
  files['/proc/net/snmp'] = snmp(11, 22, 33, [44, 55, 66, 77, 88]);
  files['/proc/net/dev'] = dev('flannel.1', 9);
  assert.deepEqual(queues.counters('flannel.1'), {
    udpSndbufErrors: 50,
    udpMemErrors: 80,
    udpRcvbufErrors: 40,
    udpInCsumErrors: 60,
    ipReasmFails: 10,
    ipOutDiscards: 20,
    ipFragFails: 30,
    tunTxDrops: 9,
  });
});

test('a TUN that is made anew begins at 0, and what the one before it lost stays counted', () => {
  const { files, queues } = host();
  const drops = (text: string) => {
    files['/proc/net/dev'] = text;
    queues.lookAtTun('flannel.1');
    return queues.counters('flannel.1').tunTxDrops;
  };
  assert.equal(drops(dev('flannel.1', 7)), 7);
  assert.equal(drops(dev('flannel.10', 100)), 7, 'another device');
  assert.equal(drops(dev('flannel.1', 2)), 9);
  assert.equal(drops(dev('flannel.1', 2)), 9);
  assert.equal(drops(dev('flannel.1', 0)), 9);
  assert.equal(drops(dev('flannel.1', 1)), 10);
});

test('what cannot be read, or this kernel does not count, is 0', () => {
  const { files, queues } = host();
  files['/proc/net/snmp'] = 'Udp: InDatagrams RcvbufErrors\nUdp: 96 10\n';
  delete files['/proc/net/dev'];
  assert.deepEqual(queues.counters('flannel.1'), { ...NOTHING_LOST, udpRcvbufErrors: 6 });
  delete files['/proc/net/snmp'];
  assert.deepEqual(queues.counters('flannel.1'), NOTHING_LOST);
});

test("this kernel's own files are understood", (t) => {
  if (!fs.existsSync('/proc/net/snmp')) return t.skip('there is no /proc/net/snmp here');
  const seen = new Set<string>();
  const raised = (file: string): string => {
    const text = fs.readFileSync(file, 'utf8');
    // The second look finds each value one million higher.
    if (!seen.has(file)) {
      seen.add(file);
      return text;
    }
    return text.replace(/(?<= )\d+/g, (n) => String(Number(n) + 1_000_000));
  };
  const counters = new HostQueues('/proc', raised).counters('lo');
  for (const [name, value] of Object.entries(counters)) {
    if (name === 'udpMemErrors' && value === 0) continue; // 5.11 has it
    if (name !== 'tunTxDrops') assert.ok(value >= 1_000_000, `${name}: ${value}`);
  }
});
