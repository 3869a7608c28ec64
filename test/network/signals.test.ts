/** Every signal there is, sent to a weft that forwards: what each does, and what it does not. */
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import process from 'node:process';
import { after, before, describe, test } from 'node:test';
import type { Running } from '../../src/lab/command.js';
import type { Container } from '../../src/lab/container.js';
import { enterLab, labLacks } from '../../src/lab/enter.js';
import type { Etcd } from '../../src/lab/etcd.js';
import type { Host } from '../../src/lab/host.js';
import { Lab } from '../../src/lab/lab.js';
import { openSite, ping, startWeft } from './overlay.js';
import { eventually, ofChildren, statusOf, toldSince } from './spoil.js';

const lacks = labLacks({ programs: ['ping', 'etcd'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

/** What flanneld catches and does nothing at, too. */
const NOTHING = ['USR1', 'USR2', 'ALRM', 'VTALRM', 'PROF', 'IO', 'PWR', 'XCPU'];
/** What does nothing to any Node program, or to any program. */
const NEVER = ['PIPE', 'XFSZ', 'CHLD', 'CONT', 'URG', 'WINCH'];
/** glibc keeps 32 and 33 to itself. */
const REALTIME = Array.from({ length: 31 }, (_, i) => 34 + i);

function numberOf(name: string): number {
  return os.constants.signals[`SIG${name}` as NodeJS.Signals];
}

describe('signals', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let lab: Lab;
  let etcd: Etcd;
  let host: Host;
  let weft: Running;
  let boxes: readonly [Container, Container];

  before(async () => {
    const site = await openSite();
    ({ lab, etcd, host } = site);
    const { network } = site;
    const other = await network.host('host2', { address: '192.168.56.12/24' });
    weft = await startWeft(host, etcd);
    await startWeft(other, etcd);
    boxes = [await host.container('xbox1'), await other.container('xbox2')];
    await ping(...boxes);
  });
  after(() => lab?.close());

  const listening = async () => {
    const { stdout } = await host.run(['cat', '/proc/net/tcp', '/proc/net/tcp6']);
    return stdout.split('\n').filter((line) => / 0A /.test(line));
  };

  test('none of those that mean nothing ends weft or opens a debugger, for any number of times', async () => {
    const before = weft.output.length;
    for (let turn = 0; turn < 3; turn += 1) {
      for (const signal of [...NOTHING, ...NEVER].map(numberOf).concat(REALTIME)) {
        process.kill(weft.pid!, signal);
      }
      await ping(...boxes);
    }
    assert.equal(weft.code, undefined);
    assert.deepEqual(await listening(), []);
    assert.deepEqual((await statusOf(host)).faults, []);
    const said = toldSince(weft, before);
    const names = said.map((line) => /got SIG(\w+), which means nothing to weft/.exec(line)?.[1]);
    assert.deepEqual(names.sort(), [...NOTHING].sort(), said.join('\n'));
  });

  test('a program that weft has started has every signal as it is for any other', async () => {
    const all = ofChildren(weft.pid!, (pid) => fs.readFileSync(`/proc/${pid}/status`, 'utf8'));
    assert.notEqual(all.length, 0, 'ip monitor is one');
    for (const status of all) {
      assert.match(status, /^SigBlk:\s+0{16}$/m, status);
      assert.match(status, /^SigIgn:\s+0{16}$/m, status);
    }
  });

  test('stopped for a while and sent on (TSTP, CONT): it goes on', async () => {
    process.kill(weft.pid!, 'SIGSTOP');
    process.kill(weft.pid!, 'SIGCONT');
    process.kill(weft.pid!, 'SIGTSTP');
    process.kill(weft.pid!, 'SIGCONT');
    await ping(...boxes);
  });

  for (const name of ['HUP', 'QUIT', 'INT', 'TERM'] as const) {
    test(`SIG${name}: ${name === 'HUP' ? 'looks anew and goes on' : 'the end, in order, with a line'}`, async () => {
      if (weft.code !== undefined) weft = await startWeft(host, etcd);
      const before = weft.output.length;
      process.kill(weft.pid!, `SIG${name}`);
      if (name === 'HUP') {
        await eventually(
          async () => /SIGHUP|anew/.test(weft.output.slice(before)),
          () => weft.output,
        );
        assert.equal(weft.code, undefined);
        return;
      }
      assert.equal(await weft.exited, 0);
      assert.match(weft.output, new RegExp(`stopping: got SIG${name}\\n.* stopped\\n$`));
      assert.doesNotMatch((await host.run(['ip', '-br', 'link'])).stdout, /flannel/);
    });
  }
});
