/**
 * `weft demo -docker` from outside: two real Docker engines on weft's subnets, and nothing of
 * them on this machine afterwards, however it ends.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { cgroupFolders, cgroupOf } from '../../src/lab/cgroups.js';
import { dockerLacks } from '../../src/lab/docker.js';
import { findProgram, LAB_MARK, labLacks } from '../../src/lab/enter.js';
import { WEFT } from '../../src/lab/host.js';

const programs = ['ping', 'traceroute', 'iperf3', 'etcd'];
const lacks = dockerLacks() ?? labLacks({ programs, tun: true });

/**
 * "This machine" is a network and mounts of this test's own, so that what others do meanwhile does not
 * show; processes and control groups are those of the real one.
 */
const OWN = 'WEFT_TEST_OWN_MACHINE';
if (lacks === undefined && process.env[OWN] === undefined) {
  const own = ['--pdeathsig', 'SIGKILL', 'unshare', '--net', '--mount', '--propagation', 'private'];
  const self = [process.execPath, ...process.execArgv, process.argv[1]!];
  const env = { ...process.env, [OWN]: '1' };
  process.exit(spawnSync('setpriv', [...own, ...self], { stdio: 'inherit', env }).status ?? 1);
}

interface Told {
  passed: boolean;
  outside?: string;
  throughput?: { gigabits: number }[];
  steps: { step: string; outcome: string; came?: string }[];
}

interface Demo {
  readonly child: ChildProcess;
  /** The steps as they are told. */
  text(): string;
  /** The exit code, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals>;
  told(): Told;
}

const children: ChildProcess[] = [];
after(() => {
  for (const child of children) child.kill('SIGKILL');
});

function demo(flags: readonly string[], env: Record<string, string> = {}): Demo {
  const child = spawn(process.execPath, [WEFT, 'demo', '-docker', '-json', ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, ...env },
  });
  children.push(child);
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const ended = once(child, 'close').then(([code, signal]) => code ?? signal);
  return { child, text: () => stderr, ended, told: () => JSON.parse(stdout) as Told };
}

async function until(holds: () => boolean, seconds: number, what: () => string): Promise<void> {
  const deadline = Date.now() + seconds * 1000;
  while (!holds()) {
    assert.ok(Date.now() < deadline, `not within ${seconds} s: ${what()}`);
    await sleep(50);
  }
}

/** The processes of a demo: known by the lab's mark, its control group, or its guard's argument. */
function processesOf({ child }: Demo): string[] {
  const group = cgroupOf(String(child.pid));
  const read = (pid: string, name: string): string[] => {
    try {
      return fs.readFileSync(`/proc/${pid}/${name}`, 'utf8').split(/[\0\n/]/);
    } catch {
      return []; // ended meanwhile
    }
  };
  return fs.readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid)) return false;
    if (read(pid, 'environ').includes(`${LAB_MARK}=${child.pid}`)) return true;
    return [...read(pid, 'cgroup'), ...read(pid, 'cmdline')].includes(group);
  });
}

function groupsOf({ child }: Demo): string[] {
  return cgroupFolders(cgroupOf(String(child.pid)));
}

/** What engines would change on this machine if they could. */
function machine(): object {
  const folders = [
    ...['/etc/docker', '/var/lib/docker', '/run/docker', '/run/docker.sock', '/run/docker.pid'],
    ...['/var/lib/containerd', '/run/containerd', '/opt/containerd', '/opt/cni'],
  ];
  const changed = (file: string): number | undefined =>
    fs.statSync(file, { throwIfNoEntry: false })?.mtimeMs;
  const keys = '/proc/sys/kernel/keys';
  const limits = fs.existsSync(keys) ? fs.readdirSync(keys) : [];
  return {
    links: spawnSync('ip', ['-br', 'link'], { encoding: 'utf8' }).stdout,
    mounts: fs.readFileSync('/proc/self/mountinfo', 'utf8'),
    rules: spawnSync('iptables-save', { encoding: 'utf8' }).stdout.replace(/^#.*\n/gm, ''),
    groups: cgroupFolders('docker'),
    folders: folders.map((folder) => [folder, changed(folder)]),
    limits: limits.map((name) => [name, fs.readFileSync(`${keys}/${name}`, 'utf8')]),
  };
}

describe('weft demo -docker', { skip: lacks ?? false, timeout: 600_000 }, () => {
  test('two at once pass in each step, and leave nothing', async () => {
    const before = machine();
    const demos = [demo([]), demo(['-store=file'])];
    for (const one of demos) {
      assert.equal(await one.ended, 0, one.text());
      const { passed, steps, outside, throughput } = one.told();
      assert.ok(passed);
      assert.deepEqual(
        steps.map(({ outcome }) => outcome),
        Array(13).fill('passed'),
      );
      assert.equal(outside, '192.168.56.11');
      assert.ok(throughput!.length === 2 && throughput!.every(({ gigabits }) => gigabits > 0.1));
      const text = one.text();
      assert.match(text, /host1 {2}dockerd --bip=10\.10\.\d+\.1\/24 --ip-masq=false --mtu=1450/);
      assert.match(text, /docker0 .* DROP\n[\s\S]*docker0 .* DROP\n/, 'closed by dockerd');
      assert.match(text, /docker run -itd --name xbox4 busybox/);
      assert.equal(text.match(/^ +\d+: eth0@if\d+: .* mtu 1450 /gm)!.length, 8);
      assert.match(text, /^ +2 {2}10\.10\.\d+\.0 .*\n +3 {2}10\.10\.\d+\.2 /m);
      assert.match(
        text,
        /^ +1 {2}10\.10\.\d+\.1 .*\n +2 {2}192\.168\.56\.1 .*\n +3 {2}203\.0\.113\.9 /m,
      );
      assert.deepEqual([processesOf(one), groupsOf(one)], [[], []]);
    }
    assert.deepEqual(machine(), before);
  });

  for (const [signal, end] of [
    ['SIGKILL', 'SIGKILL'],
    ['SIGINT', 130],
  ] as const) {
    test(`nothing stays after ${signal} half-way`, async () => {
      const before = machine();
      const one = demo(['-store=file']);
      await until(() => /docker run -itd --name xbox3/.test(one.text()), 60, one.text);
      assert.ok(groupsOf(one).length > 0, 'there are control groups to be seen');
      assert.ok(processesOf(one).length > 10, 'and processes');
      one.child.kill(signal);
      assert.equal(await one.ended, end);
      await until(
        () => processesOf(one).length === 0 && groupsOf(one).length === 0,
        15,
        () => [...processesOf(one), ...groupsOf(one)].join(' '),
      );
      assert.deepEqual(machine(), before);
    });
  }

  test('a newer engine is told to let other hosts in; a step that fails makes the exit code 1', async (t) => {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-docker-'));
    t.after(() => fs.rmSync(folder, { recursive: true }));
    const before = (program: string, ...lines: string[]): void => {
      const script = ['#!/bin/sh', ...lines, `exec ${findProgram(program)} "$@"`, ''].join('\n');
      fs.writeFileSync(path.join(folder, program), script, { mode: 0o755 });
    };
    before('docker', '[ "$1" = import ] && { echo broken >&2; exit 3; }');
    // An older engine does not know the option that makes it look like a newer one.
    before(
      'dockerd',
      '[ "$1" = --help ] && { echo --allow-direct-routing; exit; }',
      'for word; do shift; [ "$word" = --allow-direct-routing ] || set -- "$@" "$word"; done',
    );
    const one = demo(['-store=file'], { PATH: `${folder}:${process.env.PATH}` });
    assert.equal(await one.ended, 1, one.text());
    const failed = one.told().steps.filter(({ outcome }) => outcome !== 'passed');
    assert.match(failed[0]!.came!, /docker import .*failed with code 3: broken/);
    assert.ok(failed.slice(1).every(({ outcome }) => outcome === 'not tried'));
    assert.match(one.text(), /--allow-direct-routing; iptables -I DOCKER-USER -i flannel\.1 /);
    assert.match(one.text(), /the end of the log of dockerd on host1:\n/);
  });
});
