/** What `ping` (iputils, and where it differs busybox) prints, and what is read from it. */
import assert from 'node:assert/strict';
import test from 'node:test';
import { Ping, readFailure } from '../../../src/control/host/ping.js';
import type { Runner } from '../../../src/control/host/runner.js';

const HEAD = 'PING 192.168.56.12 (192.168.56.12) from 192.168.56.11 : 56(84) bytes of data.\n';
const TAIL =
  '\n--- 192.168.56.12 ping statistics ---\n1 packets transmitted, 0 received, 100% packet loss, time 0ms\n';

test('each failure is what it says', () => {
  const read = (line: string, stderr = '') => readFailure(`${HEAD}${line}${TAIL}`, stderr);
  assert.deepEqual(read(''), { kind: 'silent' });
  assert.deepEqual(read('From 192.168.56.11 icmp_seq=1 Destination Host Unreachable'), {
    ...{ kind: 'unreachable', code: 1, from: '192.168.56.11' },
  });
  assert.deepEqual(read('From 192.168.56.1 icmp_seq=1 Destination Net Unreachable'), {
    ...{ kind: 'unreachable', code: 0, from: '192.168.56.1' },
  });
  assert.deepEqual(read('From 192.168.56.1 icmp_seq=1 Packet filtered'), {
    ...{ kind: 'unreachable', code: 13, from: '192.168.56.1' },
  });
  assert.deepEqual(read('From 192.168.56.1 icmp_seq=1 Frag needed and DF set (mtu = 1400)'), {
    ...{ kind: 'too big', mtu: 1400, from: '192.168.56.1' },
  });
  assert.deepEqual(read('', 'ping: local error: message too long, mtu=1500\n'), {
    ...{ kind: 'cannot', why: 'larger than the device' },
  });
  assert.deepEqual(read('', 'ping: sendmsg: Operation not permitted\n'), {
    ...{ kind: 'cannot', why: 'Operation not permitted' },
  });
});

test('one echo, of the size, from our address, not to be fragmented', async () => {
  const ran: (readonly string[])[] = [];
  const runner: Pick<Runner, 'run'> = {
    run: async (argv) => {
      ran.push(argv);
      return { code: 0, signal: null, stdout: '', stderr: '' };
    },
  };
  const ping = new Ping(runner as Runner, '192.168.56.11', 'blue');
  assert.deepEqual(await ping.send(0xc0a8380c, 1500, 1_500), { kind: 'answered' });
  assert.equal(
    ran[0]!.join(' '),
    'ping -n -c 1 -W 2 -w 2 -M do -s 1472 -I blue -I 192.168.56.11 192.168.56.12',
  );
  const failing = { run: () => Promise.reject(new Error('cannot run ping: no such program')) };
  const none = new Ping(failing as unknown as Runner, '192.168.56.11');
  assert.deepEqual(await none.send(1, 84, 1_000), {
    ...{ kind: 'cannot', why: 'cannot run ping: no such program' },
  });
});
