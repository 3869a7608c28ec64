/**
 * The demo leaves a machine as it was: when it runs to its end, when it is interrupted, and
 * when it is killed half-way. The machine is a set of namespaces of this test's own, so that
 * what else happens on this one does not show:
 *
 *   this file ─ unshare ─ this file again, process 1 of "the machine"
 *                           └─ weft demo ─ unshare ─ the demo's supervisor ─ hosts, etcd, …
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import process from 'node:process';
import { before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { enterLab, findProgram, labLacks } from '../../src/lab/enter.js';
import { Lab } from '../../src/lab/lab.js';

const lacks = labLacks({ programs: ['ping', 'traceroute', 'iperf3', 'lsns'], tun: true });
if (lacks === undefined && !Lab.inside()) process.exit(await enterLab());

const WEFT = fileURLToPath(new URL('../../src/cli/weft.js', import.meta.url));

/** Whether "the machine" gets a /tmp of its own: not when what runs is itself in /tmp. */
const ownTmp = ![WEFT, process.execPath].some((file) => file.startsWith('/tmp/'));

/** Each thing that could be left behind, as text that can be compared. */
function machine(): Record<string, string> {
  const said = (program: string, ...args: string[]) => {
    const done = spawnSync(program, args, { encoding: 'utf8', timeout: 10_000 });
    assert.equal(done.status, 0, `${program} ${args.join(' ')}: ${done.stderr}`);
    return done.stdout;
  };
  // A machine may not have it, and a user namespace may not be allowed to read it.
  const read = (file: string) => {
    try {
      return fs.readFileSync(file, 'utf8');
    } catch {
      return '';
    }
  };
  return {
    'network namespaces': said('lsns', '-t', 'net', '-n', '-o', 'NS'),
    'named namespaces': said('ip', 'netns', 'list') + tree('/etc/netns') + tree('/run/netns'),
    links: said('ip', '-br', 'link'),
    addresses: said('ip', '-br', 'address'),
    routes: said('ip', 'route', 'show', 'table', 'all'),
    rules: said('ip', 'rule'),
    firewall: findProgram('nft') === undefined ? '' : said('nft', 'list', 'ruleset'),
    'iptables tables': read('/proc/net/ip_tables_names'),
    forwarding: read('/proc/sys/net/ipv4/ip_forward'),
    sockets: read('/proc/net/unix').replaceAll(/^.*?: /gm, ''),
    mounts: read('/proc/self/mountinfo'),
    processes: processes(),
    'files in /run': tree('/run'),
    'files in /tmp': ownTmp ? tree('/tmp') : '',
  };
}

function tree(folder: string): string {
  if (!fs.existsSync(folder)) return '';
  return fs.readdirSync(folder, { recursive: true }).sort().join('\n');
}

/** Process 1 here is no init and takes no orphans' exit codes: those that ended do not count. */
function processes(): string {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        const command = fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        return command === '' ? [] : [`${pid} ${command}`];
      } catch {
        return [];
      }
    })
    .join('\n');
}

async function becomes(wanted: Record<string, string>): Promise<void> {
  const deadline = Date.now() + 20_000;
  for (;;) {
    try {
      assert.deepEqual(machine(), wanted);
      return;
    } catch (error) {
      if (Date.now() > deadline) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

describe('the demo leaves nothing behind', { skip: lacks ?? false, timeout: 600_000 }, () => {
  let untouched: Record<string, string>;

  before(async () => {
    await Lab.open();
    if (ownTmp) {
      const done = spawnSync('mount', ['-t', 'tmpfs', 'tmp', '/tmp'], { encoding: 'utf8' });
      assert.equal(done.status, 0, done.stderr);
    }
    untouched = machine();
  });

  function demo(): { child: ChildProcess; output: () => string } {
    const child = spawn(process.execPath, [WEFT, 'demo'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
    }
    return { child, output: () => text };
  }

  test('when it runs to its end', async () => {
    const { child, output } = demo();
    const [code] = await once(child, 'close');
    assert.equal(code, 0, output());
    assert.match(output(), /All 10 steps passed/);
    await becomes(untouched);
  });

  for (const [signal, code] of [
    ['SIGKILL', null],
    ['SIGINT', 130],
  ] as const) {
    test(`when it gets ${signal} half-way`, async () => {
      const { child, output } = demo();
      const deadline = Date.now() + 60_000;
      while (!output().includes('[8/10]')) {
        assert.equal(child.exitCode, null, output());
        assert.ok(Date.now() < deadline, output());
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      const during = machine();
      for (const thing of ['network namespaces', 'processes']) {
        assert.notEqual(during[thing], untouched[thing], `the demo shows in its ${thing}`);
      }
      child.kill(signal);
      assert.equal((await once(child, 'exit'))[0], code);
      await becomes(untouched);
    });
  }
});
