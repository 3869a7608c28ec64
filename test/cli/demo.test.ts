/** `weft demo` from outside, as a user calls it. */
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { labLacks } from '../../src/lab/enter.js';
import { WEFT } from '../../src/lab/host.js';

const programs = ['ping', 'traceroute', 'iperf3', 'etcd'];
const skip = labLacks({ programs, tun: true }) ?? false;

interface Told {
  passed: boolean;
  store: string;
  throughput?: { gigabits: number }[];
  steps: { step: string; outcome: string; came?: string }[];
}

function demo(args: string[], env: Record<string, string> = {}) {
  return spawnSync(process.execPath, [WEFT, 'demo', ...args], {
    encoding: 'utf8',
    env: { ...process.env, ...env },
    timeout: 120_000,
  });
}

test('passes with etcd, stays up, can be entered, and ends on SIGINT', {
  skip,
  timeout: 150_000,
}, async (t) => {
  const child = spawn(process.execPath, [WEFT, 'demo', '-keep', '-json'], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const progress: string[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => progress.push(text));
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const told = JSON.parse(String(line)) as Told;
  const text = () => progress.join('');
  assert.ok(told.passed, text());
  assert.equal(told.store, 'etcd');
  assert.equal(told.steps.length, 10);
  assert.ok(told.throughput?.every(({ gigabits }) => gigabits > 0.1));
  assert.match(text(), /new key \/docker-test\/network\/subnets\/10\.10\.\d+\.0-24/);
  assert.ok(!text().includes('\x1b'), 'no colours without a terminal');

  const status = demo(['-enter', `host1@${child.pid}`, 'weft', 'status', '-json']);
  assert.equal(status.status, 0, status.stderr);
  assert.equal(JSON.parse(status.stdout).peers.length, 1);
  assert.equal(demo(['-enter', `xbox3@${child.pid}`, 'uname', '-n']).stdout, 'xbox3\n');
  assert.equal(demo(['-enter', `host2@${child.pid}`, 'sh', '-c', 'exit 7']).status, 7);
  const nobody = demo(['-enter', `host9@${child.pid}`, 'true']);
  assert.equal(nobody.status, 2);
  assert.match(nobody.stderr, /there is no "host9@\d+", only: .*host1.*host2.*xbox1/);

  child.kill('SIGINT');
  assert.deepEqual(await once(child, 'exit'), [0, null]);
  assert.match(text(), /Ctrl-C ends it/);
});

test("a step that fails is told with what came and weft's log, and the exit code is 1", {
  skip,
  timeout: 120_000,
}, (t) => {
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'weft-demo-'));
  t.after(() => fs.rmSync(folder, { recursive: true }));
  fs.writeFileSync(path.join(folder, 'iperf3'), '#!/bin/sh\necho broken >&2\nexit 3\n', {
    mode: 0o755,
  });
  const done = demo(['-store=file', '-json'], { PATH: `${folder}:${process.env.PATH}` });
  assert.equal(done.status, 1, done.stderr);
  const told = JSON.parse(done.stdout) as Told;
  assert.equal(told.passed, false);
  const failed = told.steps.filter(({ outcome }) => outcome === 'failed');
  assert.equal(failed.length, 1, JSON.stringify(failed));
  assert.match(failed[0]!.came!, /iperf3 .*ended with code 3.*broken/);
  assert.match(
    done.stderr,
    /FAILED\n +expected: +no error\n +came: +.*\n +the end of the log of weft/,
  );
  assert.match(done.stderr, /this host has 10\.10\.1\.0\/24/);
});

test('says what is wrong with its flags', () => {
  for (const [flag, message] of [
    ['-store=zk', /-store is etcd or file, not "zk"/],
    ['-backend=x', /-backend is weft or kernel, not "x"/],
    ['-wat', /unknown flag -wat/],
    ['wat', /"wat" is not a flag/],
    ['-docker -backend=kernel', /-docker goes with -backend=weft alone/],
  ] as const) {
    const done = demo(flag.split(' '));
    assert.equal(done.status, 2);
    assert.match(done.stderr, message);
  }
});
